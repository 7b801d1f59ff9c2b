"""A bundle as a model of lm-evaluation-harness. Importing this registers the model type `gpt2xl`.

Prompts are encoded and cut as by lm-eval's model type `hf`, so both give the same figures.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import lm_eval.models  # noqa: F401  # first: lm-eval does not register its own types where it finds another one
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import handle_stop_sequences, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from onnxruntime import get_available_providers
from tqdm import tqdm

from gpt2xl import Continuation, ContinuationScore, RequestError, __version__, load
from gpt2xl_eval.lm_eval.generation import GenerationRequest, generation_request

TokenRequest = tuple[tuple[str, str], list[int], list[int]]
"""Context and continuation, as texts and as ids."""
AUTOMATIC_ROWS = 16
"""Texts that share a step where the batch size is "auto"."""


@register_model("gpt2xl")
class Gpt2xlLM(TemplateLM):
    """A bundle that lm-eval scores and generates with.

    Args:
        pretrained: bundle folder, the name of a model on the hub (gpt2-xl), or demo.
        batch_size: texts that share each step; "auto" is 16.
        max_batch_size: has no effect.
        device: "cpu", or "cuda", which is the CPU where there is no CUDA; None chooses as `gpt2xl.load` does.
        threads: for one operator; 0 leaves the number to onnxruntime.
        max_length: tokens of context and continuation; None for n_positions.
        max_gen_toks: tokens to generate where a task does not say how many.
        prefix_token_id: what precedes a text without context; None for beginning-of-text, or else end-of-text.
        seed: of the first text that is sampled.

    Raises:
        RequestError: an option out of its range.
        BundleError: the bundle cannot be loaded.
    """

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        device: str | None = None,
        threads: int = 0,
        max_length: int | None = None,
        max_gen_toks: int = 256,
        prefix_token_id: int | None = None,
        seed: int = 1234,
    ) -> None:
        super().__init__()
        self.model = load(str(pretrained), provider=_provider(device), threads=threads)
        self._rows = _rows(batch_size)
        longest = self.model.config.n_positions
        self.max_length = longest if max_length is None else int(max_length)
        if not 1 <= self.max_length <= longest:
            raise RequestError(f"max_length has to be from 1 to {longest}, but is {max_length}.")
        self.max_gen_toks = max_gen_toks
        self._prefix_token_id = prefix_token_id
        self._seed = seed

    @property
    def eot_token_id(self) -> int:
        """End-of-text, or else what an empty prompt starts from."""
        return min(self.model.config.eos_token_ids, default=self.model.prompt_ids("")[0])

    @property
    def prefix_token_id(self) -> int:
        """What precedes a text without context."""
        given = self._prefix_token_id
        return self.model.prompt_ids("")[0] if given is None else given

    @property
    def batch_size(self) -> int:
        """Texts that share each step."""
        return self._rows

    @property
    def tokenizer_name(self) -> str:
        """A name for caches of requests: equal for equal tokenizer.json."""
        assert self.model.bundle is not None
        content = self.model.bundle.tokenizer.read_bytes()
        return f"gpt2xl-{hashlib.sha256(content).hexdigest()[:16]}"

    def get_model_info(self) -> dict[str, str]:
        """What lm-eval writes beside the figures."""
        bundle = self.model.bundle
        manifest = bundle and bundle.manifest
        precision = (manifest and manifest.precision) or "unknown"
        return {"gpt2xl_version": __version__, "model_precision": precision}

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Nothing; RequestError where one is asked for."""
        if chat_template:
            raise _no_chat_template()
        return ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Raise RequestError: GPT-2 has no chat template."""
        raise _no_chat_template()

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: object
    ) -> list[int]:
        """The ids of a text; None adds what the tokenizer adds, unless the text begins with it."""
        if add_special_tokens is None:
            start = self.model.tokenizer.decode([self.prefix_token_id])
            add_special_tokens = not string.startswith(start)
        return self.model.tokenizer.encode(string, add_special_tokens=add_special_tokens)

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-probability of each text, in windows that overlap in one token."""
        texts = [request.args[0] for request in requests]
        windows = [(n, window) for n, text in enumerate(texts) for window in self._windows(text)]
        scores = self._scores([window for _, window in windows], disable_tqdm)
        totals = [0.0] * len(texts)
        for (number, _), score in zip(windows, scores, strict=True):
            totals[number] += float(score.logprobs.sum())
        for text, total in zip(texts, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), total)
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Continue each text, greedily unless its request asks for samples."""
        found = [
            generation_request(request.args[0], request.args[1], self.max_gen_toks)
            for request in requests
        ]
        # Texts with the same options together, and those that begin alike.
        order = sorted(range(len(found)), key=lambda n: (found[n].key, found[n].context))
        texts: dict[int, str] = {}
        with tqdm(total=len(order), disable=disable_tqdm, desc="Generating texts") as bar:
            for _, group in groupby(order, lambda n: found[n].key):
                numbers = list(group)
                for place, text in self._texts([found[n] for n in numbers]):
                    number = numbers[place]
                    texts[number] = text
                    self.cache_hook.add_partial("generate_until", requests[number].args, text)
                    bar.update()
        return [texts[number] for number in range(len(requests))]

    def _loglikelihood_tokens(
        self, requests: list[TokenRequest], disable_tqdm: bool = False, **_: object
    ) -> list[tuple[float, bool]]:
        """Log-probability of each continuation, and whether it is the greedy one."""
        wanted = [self._cut(context, ids) for _, context, ids in requests]
        # Continuations of one context stand side by side: its keys and values are computed once.
        order = sorted(
            range(len(wanted)), key=lambda n: (list(wanted[n].context), list(wanted[n].ids))
        )
        answers: dict[int, tuple[float, bool]] = {}
        scores = self._scores([wanted[number] for number in order], disable_tqdm)
        for number, score in zip(order, scores, strict=True):
            is_greedy = score.top_ids[:, 0].tolist() == list(wanted[number].ids)
            answers[number] = float(score.logprobs.sum()), is_greedy
            self.cache_hook.add_partial("loglikelihood", requests[number][0], answers[number])
        return [answers[number] for number in range(len(requests))]

    def _scores(
        self, continuations: Sequence[Continuation], disable_tqdm: bool
    ) -> Iterator[ContinuationScore]:
        scores = self.model.score_continuations(continuations, rows=self._rows)
        total = len(continuations)
        return iter(tqdm(scores, total=total, disable=disable_tqdm, desc="Scoring texts"))

    def _cut(self, context: list[int], ids: list[int]) -> Continuation:
        """Without what exceeds the context at the left; the last id is not fed."""
        if len(ids) > self.max_length:
            raise RequestError(
                f"a continuation has {len(ids)} tokens, but the model takes {self.max_length}."
            )
        kept = self.max_length + 1 - len(ids)
        return Continuation(context[-kept:], ids)

    def _windows(self, text: str) -> Iterator[Continuation]:
        ids = self.tok_encode(text)
        for window in get_rolling_token_windows(ids, self.prefix_token_id, self.max_length, 1):
            yield Continuation(*make_disjoint_window(window))

    def _texts(self, requests: Sequence[GenerationRequest]) -> Iterator[tuple[int, str]]:
        """The texts of requests with the same options, with the place of each."""
        first = requests[0]
        room = self.max_length - first.max_new_tokens
        if room < 1:
            raise RequestError(
                f"max_gen_toks has to be below {self.max_length}, the model's context, but is"
                f" {first.max_new_tokens}."
            )
        end = self.model.tokenizer.decode([self.eot_token_id])
        until = handle_stop_sequences(list(first.until), eos=end)
        options = first.options(self.model.defaults, self._seed)
        prompts = [self.tok_encode(request.context)[-room:] for request in requests]
        for place, found in self.model.generate_batch(prompts, options, rows=self._rows):
            yield place, postprocess_generated_text(found.text, until, None)


def _provider(device: str | None) -> Any:
    """The provider of a torch device such as "cuda:0".

    lm-eval's command says "cuda:0" where no --device is given, and its type `hf` then takes the CPU if there is no CUDA.
    """
    name = "auto" if device is None else device.partition(":")[0]
    if name == "cuda" and "CUDAExecutionProvider" not in get_available_providers():
        logging.getLogger(__name__).warning("This onnxruntime has no CUDA; running on the CPU.")
        return "cpu"
    return name


def _rows(batch_size: int | str) -> int:
    if str(batch_size).partition(":")[0] == "auto":
        return AUTOMATIC_ROWS
    try:
        return int(batch_size)
    except ValueError:
        raise RequestError(
            f"batch_size has to be a number or auto, but is {batch_size!r}."
        ) from None


def _no_chat_template() -> RequestError:
    return RequestError("GPT-2 has no chat template: run lm-eval without --apply_chat_template.")
