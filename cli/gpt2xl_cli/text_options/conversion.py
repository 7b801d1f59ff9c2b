"""From options as the command line has them to those of the library."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gpt2xl_cli.text_input import read_text_file
from gpt2xl_cli.text_options.limiting import Constrained
from gpt2xl_cli.text_options.text_options import TextOptions

if TYPE_CHECKING:
    from gpt2xl import Grammar

Keywords = dict[str, Any]
"""Fields of `gpt2xl.GenerationOptions`."""


def option_name(field: str) -> str:
    """As it is spelled at the command line and in the config file.

    >>> option_name("top_p"), option_name("parse_special")
    ('top-p', 'special')
    """
    return {"parse_special": "special"}.get(field, field.replace("_", "-"))


def keywords_of(text: TextOptions) -> Keywords:
    """The options that are given, but for the preset, in the library's types.

    Raises:
        RequestError: a value that is malformed, two grammars, or a file that cannot be read.
    """
    grammars = {field.name for field in fields(Constrained)}
    given = {
        field.name: value
        for field in fields(text)
        if (value := getattr(text, field.name)) is not None and field.name != "preset"
    }
    found = {
        name: CONVERTERS[name](name, value) if name in CONVERTERS else value
        for name, value in given.items()
        if name not in grammars
    }
    if grammar := _grammar(text):
        found["grammar"] = grammar
    return found


def _grammar(text: TextOptions) -> "Grammar | None":
    from gpt2xl import Grammar, RequestError

    makers: Mapping[str, Callable[[Any], Grammar]] = {
        "regex": Grammar.regex,
        "json_schema": lambda value: Grammar.json_schema(_text_or_file(value)),
        "choice": Grammar.choice,
        "lark": lambda path: Grammar.lark(read_text_file(path)),
        "gbnf": lambda path: Grammar.gbnf(read_text_file(path)),
    }
    given = [name for name in makers if getattr(text, name) is not None]
    if len(given) > 1:
        first, second = map(option_name, given[:2])
        raise RequestError(f"--{first} and --{second} exclude each other: give only one.")
    return makers[given[0]](getattr(text, given[0])) if given else None


def _text_or_file(value: str) -> str:
    from pathlib import Path

    return value if value.lstrip().startswith("{") else read_text_file(Path(value))


def _ids(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise _malformed(name, "ids with commas between, such as 11,13", text) from None


def _biases(name: str, items: list[str]) -> dict[tuple[int, ...], float]:
    found = {}
    for item in items:
        ids, _, number = item.partition("=")
        try:
            found[_ids(name, ids)] = float(number)
        except ValueError:
            example = "11=-1.5" if name == "logit_bias" else "11,13=-1.5"
            raise _malformed(name, f"ID=NUMBER, such as {example}", item) from None
    return found


def _id_biases(name: str, items: list[str]) -> dict[int, float]:
    found = _biases(name, items)
    if several := [ids for ids in found if len(ids) > 1]:
        raise _malformed(name, "ID=NUMBER, such as 11=-1.5", ",".join(map(str, several[0])))
    return {ids[0]: number for ids, number in found.items()}


def _malformed(name: str, wanted: str, value: str) -> Exception:
    from gpt2xl import RequestError

    return RequestError(f"--{option_name(name)} has to be {wanted}, but is {value!r}.")


def _order(_: str, value: str) -> str | tuple[str, ...]:
    return tuple(filter(None, map(str.strip, value.split(",")))) if "," in value else value


CONVERTERS: Mapping[str, Callable[[str, Any], Any]] = {
    "bad_words_ids": lambda name, items: [_ids(name, item) for item in items],
    "sequence_bias": _biases,
    "logit_bias": _id_biases,
    "sampler_order": _order,
    "early_stopping": lambda _, value: {"true": True, "false": False}.get(value, value),
}
"""By option: what makes the library's value of it, from the name and the value; others stay as they are."""
