"""What a terminal shows after a text: speed, why it ended, how to go on; after the demo's first text, other models."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gpt2xl_cli.reporting.amounts import speed_text

if TYPE_CHECKING:
    from gpt2xl import Generation, GenerationOptions

HINT = (
    "That was the built-in demo, a small model. GPT-2 itself, downloaded once:",
    '  gpt2xl generate -m gpt2 "The sea"       0.5 GB',
    '  gpt2xl generate -m gpt2-xl "The sea"    6.4 GB',
)
HUB_MODULES = ("huggingface_hub", "onnx")
"""Of the extras ``hub`` and ``export``."""
HINT_FILE = ".demo-hint-shown"


@dataclass(frozen=True)
class Closing:
    """Makes the last line of a text."""

    options: "GenerationOptions"
    n_positions: int
    """The context of the model, in tokens."""

    def line(self, generation: "Generation") -> str:
        """Number of tokens, speed, why the text ended, and the options with which the same text goes on."""
        from gpt2xl.errors import counted

        count, speed = len(generation.new_ids), generation.timings.tokens_per_second
        parts = [counted(count, "token")]
        if speed:
            parts.append(speed_text(speed, "tokens"))
        is_new = generation.seed is not None and generation.seed != self.options.seed
        is_cut = generation.finish_reason in ("length", "sentence")
        if is_new and not is_cut:
            parts.append(f"seed {generation.seed}")
        more = self._more(generation, f"-s {generation.seed} " if is_new else "") if is_cut else ""
        return f"{', '.join(parts)}. {self._reason(generation)}{more}"

    def _reason(self, generation: "Generation") -> str:
        if generation.stop_string is not None:
            return f"Ended at the stop string {generation.stop_string!r}"
        if generation.finish_reason == "stop" and self.options.grammar:
            return "The text is complete"
        if generation.finish_reason == "length" and self._room(generation) <= 0:
            return f"The context of {self.n_positions} tokens is full"
        reasons = {
            "stop": "The model ended the text",
            "length": "Cut at the length limit",
            "sentence": "Ended with a sentence",
            "time": "Ended by --max-time",
            "repetition": "Ended since it repeats itself",
        }
        return reasons.get(generation.finish_reason, "")

    def _more(self, generation: "Generation", seed: str) -> str:
        if (room := self._room(generation)) <= 0:
            return f"; for more: {seed}--overflow slide -n {2 * len(generation.new_ids)}"
        count = len(generation.new_ids)
        return f"; for more: {seed}-n {count + min(count, room)}"

    def _room(self, generation: "Generation") -> int:
        """New tokens that the context has room for; the last token of a text is not fed back."""
        if self.options.overflow == "slide":
            return len(generation.new_ids)
        used = len(generation.prompt_ids) + len(generation.new_ids)
        return self.n_positions + 1 - used


def hint_lines() -> Iterator[str]:
    """The commands that run other models, and what to install before."""
    yield from HINT
    if not all(map(find_spec, HUB_MODULES)):
        yield "They need: pip install 'gpt2xl[cli,export,hub]'"


def is_first_demo() -> bool:
    """Whether no process has asked this before on this machine; also where the cache does not keep it."""
    from gpt2xl import Gpt2xlError
    from gpt2xl_export.places import cache_folder

    with suppress(OSError, Gpt2xlError):
        file = cache_folder() / HINT_FILE
        if file.exists():
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            file.open("x").close()
        except FileExistsError:  # another process was faster
            return False
    return True
