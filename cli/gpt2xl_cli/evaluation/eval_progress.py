"""The progress bar of an evaluation: tokens read, their speed, the time left."""

from collections.abc import Sequence
from types import TracebackType
from typing import cast

from gpt2xl import Continuation, Model
from gpt2xl.sessions.cancellation import Cancellation
from gpt2xl.sessions.protocol import Cache, Ids, Session, StepLogits
from gpt2xl_cli.progress import ProgressBars


class EvalProgress:
    """Counts the tokens of continuations, their contexts included.

    The bar moves with each step of the model; where steps feed several continuations, or what they have in common only
    once, it catches up as soon as they are measured.

    Args:
        name: of the task.
        continuations: all of them.
        done: how many an earlier run has measured.
        quiet: whether to show no bar.
    """

    def __init__(
        self, name: str, continuations: Sequence[Continuation], done: int, *, quiet: bool
    ) -> None:
        self._name, self._done = name, done
        self._bars = ProgressBars(quiet=quiet)
        self._lengths = (
            [len(each.context) + len(each.ids) for each in continuations]
            if self._bars.is_shown
            else []
        )
        self._total = sum(self._lengths)
        self._measured = self._fed = sum(self._lengths[:done])
        self._reached = self._measured

    def __enter__(self) -> "EvalProgress":
        self._show()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.clear()

    def counted(self, model: Model) -> Model:
        """``model``, such that its steps move the bar; itself where there is no bar."""
        if not self._bars.is_shown:
            return model
        session = cast("Session", _CountedSession(model.session, self))
        return Model(model.config, model.tokenizer, session, model.bundle, model.defaults)

    def feed(self, tokens: int) -> None:
        """Count tokens of a step."""
        self._fed += tokens
        self._show()

    def measure(self) -> None:
        """Count the next continuation."""
        if self._lengths:
            self._measured += self._lengths[self._done]
            self._done += 1
            self._show()

    def _show(self) -> None:
        if self._lengths:
            begun = min(self._fed, self._total - 1)
            self._reached = max(self._reached, self._measured, begun)
            self._bars.show(self._name, self._reached, self._total, unit="tokens", is_even=True)


class _CountedSession:
    """A session that tells what it is fed."""

    def __init__(self, session: Session, progress: EvalProgress) -> None:
        self._session, self._progress = session, progress

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def forward(
        self, input_ids: Ids, cache: Cache, *, keep: int = 1, cancel: Cancellation | None = None
    ) -> StepLogits:
        """As of ``Session``."""
        logits = self._session.forward(input_ids, cache, keep=keep, cancel=cancel)
        self._progress.feed(input_ids.size)
        return logits
