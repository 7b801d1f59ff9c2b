"""Options of a text by name: values as they are typed, and as JSON."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any

from gpt2xl import GenerationOptions, Grammar, RequestError
from gpt2xl.files.json_values import parse_json
from gpt2xl.options.keywords import updated

NAMES = tuple(field.name for field in fields(GenerationOptions))
FUNCTIONS = ("sampler", "processors", "stopping")
SWITCHES = {"on": True, "off": False, "true": True, "false": False}
GRAMMARS: Mapping[str, tuple[str, Callable[[str], Grammar]]] = {
    "regex": ("regex", Grammar.regex),
    "json": ("JSON schema", Grammar.json_schema),
    "choice": ("choice", lambda text: Grammar.choice(parse_json(text))),
    "lark": ("Lark grammar", Grammar.lark),
    "gbnf": ("GBNF grammar", Grammar.gbnf),
}
"""By the word before a grammar: `Grammar.kind`, and what makes one."""
TEXTS = ("negative_prompt", "stop_strings", "dry_sequence_breakers")


def with_value(options: GenerationOptions, name: str, text: str) -> GenerationOptions:
    """``options`` with the value that ``text`` writes.

    Numbers, ``on``, ``off``, JSON, or plain text; ``default`` and ``none`` are the option's default.

    >>> with_value(GenerationOptions(), "top-k", "5").top_k
    5
    >>> with_value(GenerationOptions(), "topk", "5")
    Traceback (most recent call last):
    gpt2xl.errors.RequestError: there is no option 'topk'; did you mean 'top_k'?

    Raises:
        RequestError: no such option, or a value out of its range.
    """
    name = name.replace("-", "_")
    if name in FUNCTIONS:
        raise RequestError(f"{name} is a function: it can be given from Python only.")
    return with_values(options, {name: _value(name, text)})


def with_values(options: GenerationOptions, values: Mapping[str, Any]) -> GenerationOptions:
    """``options`` with ``values``; raises RequestError for an unknown name, too."""
    try:
        return updated(options, values)
    except TypeError as reason:
        raise RequestError(str(reason)) from None


def as_text(value: object) -> str:
    """A value as `with_value` reads it."""
    if isinstance(value, Grammar):
        word = next(word for word, (kind, _) in GRAMMARS.items() if kind == value.kind)
        return f"{word} {value.source}"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):  # JSON's keys are texts only
        return json.dumps([[key, item] for key, item in value.items()])
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=repr)


def to_json(options: GenerationOptions) -> dict[str, Any]:
    """The options that have not their default value and can be written."""
    default = GenerationOptions()
    values = {name: getattr(options, name) for name in NAMES if name not in FUNCTIONS}
    changed = {name: value for name, value in values.items() if value != getattr(default, name)}
    return {
        name: as_text(value) if isinstance(value, Grammar) else _plain(value)
        for name, value in changed.items()
    }


def from_json(values: Mapping[str, Any]) -> GenerationOptions:
    """What `to_json` wrote; raises RequestError for anything else."""
    read = {}
    for name, value in values.items():
        if name in FUNCTIONS:
            raise RequestError(f"{name} is a function: it can be given from Python only.")
        is_grammar = name == "grammar" and isinstance(value, str)
        read[name] = _grammar(value) if is_grammar else _restored(name, value)
    return with_values(GenerationOptions(), read)


def _value(name: str, text: str) -> object:
    word = text.lower()
    if word in ("none", "default"):
        return getattr(GenerationOptions(), name, None)
    if name == "grammar":
        return _grammar(text)
    if name in TEXTS:  # where 12 and true are texts
        value = _parsed(text)
        return _restored(name, value) if isinstance(value, str | list) else text
    if word in SWITCHES:
        return SWITCHES[word]
    return _restored(name, _parsed(text))


def _parsed(text: str) -> Any:
    for parse in (parse_json, float):
        with suppress(ValueError):
            return parse(text)
    return text


def _grammar(text: str) -> Grammar:
    word, _, source = text.partition(" ")
    if word not in GRAMMARS:
        raise RequestError(
            f"a grammar begins with its kind, {', '.join(GRAMMARS)}, as in: regex [0-9]+"
        )
    try:
        return GRAMMARS[word][1](source)
    except ValueError as reason:
        if isinstance(reason, RequestError):
            raise
        raise RequestError(f'a choice is a JSON list, such as ["yes", "no"]: {reason}.') from None


def _restored(name: str, value: Any) -> Any:
    """JSON's lists of pairs as mappings, and its lists as tuples."""
    if name == "logit_bias" and isinstance(value, dict):
        value = list(value.items())
    if name == "logit_bias" and isinstance(value, list):
        try:
            return {int(key): item for key, item in value}
        except (TypeError, ValueError):
            return value
    return tuple(value) if isinstance(value, list) and name != "sequence_bias" else value


def _plain(value: Any) -> Any:
    return [[key, item] for key, item in value.items()] if isinstance(value, Mapping) else value
