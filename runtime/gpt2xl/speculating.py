"""Which drafter speculates for a text, and what has been learned of it."""

from collections.abc import Callable
from dataclasses import dataclass

from gpt2xl.decoding.drafting import Drafter
from gpt2xl.decoding.speculation import Acceptance, Experience, Speculator
from gpt2xl.options.generation import GenerationOptions


@dataclass(frozen=True)
class Speculation:
    """Makes the speculators of texts that run in one thread."""

    new_drafter: Callable[[], Drafter] | None
    """None where draft tokens cannot be checked exactly."""
    experience: Experience
    tolerance: float
    """`Exactness.tolerance`."""
    is_lookup: bool
    """Whether the drafter is prompt lookup, which an option turns off."""

    @property
    def acceptance(self) -> Acceptance:
        """Draft tokens of all texts, so far."""
        return self.experience.acceptance

    def speculator(self, options: GenerationOptions) -> Speculator | None:
        """A new one for a text with ``options``; None where it is generated without draft tokens."""
        if self.new_drafter is None or (self.is_lookup and not options.prompt_lookup):
            return None
        return Speculator(self.new_drafter(), self.experience, self.tolerance)
