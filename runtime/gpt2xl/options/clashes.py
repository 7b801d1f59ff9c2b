"""Options of a text that exclude each other, or do nothing without another."""

from collections.abc import Iterator, Mapping
from typing import Any

from gpt2xl.errors import RequestError


def check_clashes(values: Mapping[str, Any]) -> None:
    """Raise RequestError for the first clash of the options in ``values``, which are checked one by one already."""
    greedy = values["greedy"] or values["temperature"] == 0 or values["do_sample"] is False
    rules = (
        *_draws(values, greedy=greedy),
        *_beams(values, greedy=greedy),
        *_sequences(values, greedy=greedy),
    )
    for message in (message for clashes, message in rules if clashes):
        raise RequestError(message)


def _draws(values: Mapping[str, Any], *, greedy: bool) -> Iterator[tuple[bool, str]]:
    own = values["sampler"] is not None
    yield (
        own and greedy,
        "greedy (or temperature 0) and a sampler exclude each other: give only one.",
    )
    yield (
        bool(values["greedy"] and values["do_sample"]),
        "greedy and do_sample=True exclude each other: give only one.",
    )
    yield (
        own and values["mirostat_tau"] is not None,
        "mirostat_tau and a sampler exclude each other: give only one.",
    )
    yield (
        values["guidance_scale"] == 1 and values["negative_prompt"] is not None,
        "negative_prompt needs a guidance_scale above 1, such as 1.5.",
    )
    yield (
        values["processed_logprobs"] and values["logprobs"] is None,
        "processed_logprobs needs logprobs: those of a prompt are always the model's own.",
    )
    yield (
        values["grammar"] is not None and values["token_healing"],
        "grammar and token_healing exclude each other: the grammar would read the end of the prompt.",
    )
    yield (
        values["overflow"] == "stop"
        and (values["overflow_keep"] > 0 or values["overflow_window"] is not None),
        "overflow_keep and overflow_window need overflow 'slide'.",
    )


def _beams(values: Mapping[str, Any], *, greedy: bool) -> Iterator[tuple[bool, str]]:
    beams, groups = values["num_beams"], values["num_beam_groups"]
    yield (
        beams == 1 and (groups > 1 or values["early_stopping"] is not False),
        "num_beam_groups and early_stopping are options of beam search: give num_beams as well.",
    )
    yield (
        beams % groups != 0,
        f"num_beams has to be a multiple of num_beam_groups, but they are {beams} and {groups}.",
    )
    yield (
        groups > 1 and not greedy,
        "groups of beams do not sample: give greedy (do_sample=False) as well.",
    )
    yield (
        (groups > 1) != (values["diversity_penalty"] > 0),
        "num_beam_groups and diversity_penalty need each other: give both.",
    )
    yield (
        beams > 1 and values["penalty_alpha"] > 0,
        "penalty_alpha (contrastive search) and num_beams exclude each other: give only one.",
    )
    yield (
        values["penalty_alpha"] > 0 and values["top_k"] == 0,
        "penalty_alpha (contrastive search) needs top_k above 0: the number of candidates.",
    )


def _sequences(values: Mapping[str, Any], *, greedy: bool) -> Iterator[tuple[bool, str]]:
    several, beams = values["num_return_sequences"], values["num_beams"]
    yield (
        1 < beams < several,
        f"num_return_sequences is {several}, but beam search with num_beams {beams} gives {beams} at most.",
    )
    yield (
        beams == 1 and several > 1 and (greedy or values["penalty_alpha"] > 0),
        f"num_return_sequences is {several}, but greedy texts are all alike: sample, or give num_beams.",
    )
