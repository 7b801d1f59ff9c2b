"""What decides the output of a job. It is kept with the output, so that only the same job goes on with it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from gpt2xl import BatchUdf, GenerationOptions, Grammar, RequestError
from gpt2xl_ray.bundles import bundle_key
from gpt2xl_ray.jobs.plan import Input
from gpt2xl_ray.storage import Place

NAME = "_gpt2xl.json"  # other readers of a folder leave out what begins with _
FORMAT = 1
Record = dict[str, Any]


def record_of(given: Input, udf: BatchUdf, part_size: int) -> Record:
    """Describe a job.

    Args:
        given: its input.
        udf: its model and options; ``udf.seed`` is left to `resumed`.
        part_size: of its parts.
    """
    return {
        "gpt2xl batch on a cluster": FORMAT,
        "input": given.sizes,
        "model": bundle_key(str(udf.bundle)),
        "columns": [udf.id_column, udf.prompt_column],
        "part_size": part_size,
        "seed": udf.seed,
        "options": _option_values(udf.given_options),
    }


def kept_record(out: Place) -> Record | None:
    """The record of the job that has written ``out``; None where there is none, or one that is damaged."""
    if not out.child(NAME).info().is_file:
        return None
    try:
        found = json.loads(out.child(NAME).read())
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def agreed(wanted: Record, kept: Record, out: Place, *, seed_is_given: bool) -> Record:
    """The record to go on with: parts are as they were, and a seed that nobody has given is the one drawn then.

    Raises:
        RequestError: ``kept`` is of another job.
    """
    taken = {"part_size": kept.get("part_size")}
    if not seed_is_given:
        taken["seed"] = kept.get("seed")
    wanted = wanted | taken
    if different := [key for key in {**wanted, **kept} if wanted.get(key) != kept.get(key)]:
        raise RequestError(
            f"'{out.name}' holds the output of another run: {', '.join(different)} differ. Choose another folder, or"
            " replace it with --force."
        )
    return wanted


def write_record(out: Place, record: Record) -> None:
    """Keep a record."""
    out.child(NAME).write(json.dumps(record, indent=1).encode())


def _option_values(options: GenerationOptions) -> dict[str, Any]:
    """The fields that are not their defaults, as JSON gives them back; the seed has a place of its own."""
    options, defaults = replace(options, seed=None), GenerationOptions()
    values = {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if getattr(options, field.name) != getattr(defaults, field.name)
    }
    found: dict[str, Any] = json.loads(json.dumps(values | _as_pairs(values), default=_as_json))
    return found


def _as_pairs(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no ids as keys."""
    return {key: [*value.items()] for key, value in values.items() if isinstance(value, Mapping)}


def _as_json(value: object) -> object:
    return (
        asdict(value) if isinstance(value, Grammar) else getattr(value, "__qualname__", repr(value))
    )
