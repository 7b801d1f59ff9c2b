"""The keys that gpt2xl batch adds to a line, and how they are read back from a file."""

from dataclasses import asdict
from typing import Any, NotRequired, TypedDict, cast, get_args

from gpt2xl import Generation
from gpt2xl.decoding.loop import FinishReason
from gpt2xl_cli.resuming.line_file import json_object


class Result(TypedDict):
    """What the output adds to each line."""

    text: str
    finish_reason: FinishReason
    new_tokens: int
    seed: int | None
    logprobs: NotRequired[list[Any]]
    """As in `Generation.to_dict`."""
    prompt_logprobs: NotRequired[list[Any]]


_TYPES = {"text": str, "finish_reason": str, "new_tokens": int, "seed": int | None}
_OPTIONAL = ("logprobs", "prompt_logprobs")
ADDED_KEYS = (*_TYPES, *_OPTIONAL)


def result_of(generation: Generation) -> Result:
    """Take the values to add from a finished text."""
    result = Result(
        text=generation.text,
        finish_reason=generation.finish_reason,
        new_tokens=len(generation.new_ids),
        seed=generation.seed,
    )
    if generation.logprobs is not None:
        result["logprobs"] = [asdict(found) for found in generation.logprobs]
    if generation.prompt_logprobs is not None:
        result["prompt_logprobs"] = [
            found and asdict(found) for found in generation.prompt_logprobs
        ]
    return result


def indexed_result(line: bytes) -> tuple[int, Result] | None:
    """Read a line of a resume file: the index ("row") of an input line, and its result; else None."""
    values = json_object(line) or {}
    index, result = values.pop("row", None), _as_result(values)
    if result is None or not isinstance(index, int) or isinstance(index, bool):
        return None
    return index, result


def _as_result(values: dict[str, Any]) -> Result | None:
    optional = [values[key] for key in _OPTIONAL if key in values]
    is_whole = {*values} - {*_OPTIONAL} == {*_TYPES} and all(
        isinstance(values[key], kind) and not isinstance(values[key], bool)
        for key, kind in _TYPES.items()
    )
    is_whole = is_whole and all(isinstance(value, list) for value in optional)
    if is_whole and values["finish_reason"] in get_args(FinishReason):
        return cast("Result", values)
    return None
