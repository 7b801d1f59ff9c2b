"""What a task of lm-eval asks of a generated text, in our options."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpt2xl import GenerationOptions, RequestError
from gpt2xl.options.keywords import updated

LENGTH_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of the number of tokens to generate, the first one that is given counts; as in lm-eval 0.4.13."""
SAMPLING = {"temperature": 1.0, "top_k": 50, "top_k_keeps_ties": True, "top_p": 1.0}
"""What transformers' generate(do_sample=True) does where a task says nothing."""


@dataclass(frozen=True)
class GenerationRequest:
    """A text to continue."""

    context: str
    max_new_tokens: int
    until: Sequence[str]
    """Strings that end it."""
    choosing: Mapping[str, Any]
    """How tokens are chosen: fields of `GenerationOptions`."""

    @property
    def key(self) -> str:
        """Equal for requests with the same options."""
        return json.dumps([self.max_new_tokens, list(self.until), dict(self.choosing)])

    def options(self, defaults: GenerationOptions, seed: int) -> GenerationOptions:
        """The options of the text.

        Raises:
            RequestError: the request has an option that there is not, or one out of its range.
        """
        limits = {"max_new_tokens": self.max_new_tokens, "seed": seed}
        stops = {"stop_strings": tuple(string for string in self.until if string)}
        try:
            return updated(replace(defaults), {**self.choosing, **limits, **stops})
        except TypeError as reason:
            raise RequestError(f"a generation option of the task: {reason}") from None


def generation_request(
    context: str, given: Mapping[str, Any], max_gen_toks: int
) -> GenerationRequest:
    r"""Read the options of a request.

    >>> generation_request("Once", {"until": "\n", "max_gen_toks": 8, "temperature": 0}, 256)
    GenerationRequest(context='Once', max_new_tokens=8, until=['\n'], choosing={'greedy': True})

    Args:
        context: the text to continue.
        given: lm-eval's ``until``, ``max_gen_toks``, ``do_sample`` and ``temperature``; others are fields of
            `GenerationOptions`. Without ``do_sample`` a temperature above 0 samples.
        max_gen_toks: tokens to generate where ``given`` does not say how many.
    """
    rest = dict(given)
    lengths = [rest.pop(name, None) for name in LENGTH_NAMES]
    length = next((int(value) for value in lengths if value is not None), max_gen_toks)
    until = rest.pop("until", None) or []
    samples, temperature = rest.pop("do_sample", None), rest.pop("temperature", None)
    if samples is None:
        samples = bool(temperature)
    choosing: dict[str, Any] = {"greedy": True}
    if samples and temperature != 0:
        choosing = {**SAMPLING, "greedy": False}
        if temperature is not None:
            choosing["temperature"] = float(temperature)
    return GenerationRequest(
        context, length, [until] if isinstance(until, str) else list(until), choosing | rest
    )
