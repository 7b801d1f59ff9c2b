"""Names and defaults are written in the commands, so that --help need not import the library."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from gpt2xl import GenerationOptions, LoadOptions
from gpt2xl.bundle.demo import DEMO
from gpt2xl.preparing import NEW_TOKENS
from gpt2xl_cli.batches.lines import PYTHON_ONLY
from gpt2xl_cli.commands.batch import batch
from gpt2xl_cli.commands.eval import evaluate
from gpt2xl_cli.commands.export import export
from gpt2xl_cli.commands.generate import generate
from gpt2xl_cli.options import NAMED_MODELS, Precision
from gpt2xl_cli.text_options.limiting import Constrained
from gpt2xl_cli.text_options.text_options import TextOptions
from gpt2xl_eval.options import EvalOptions
from gpt2xl_export import ExportOptions
from gpt2xl_export.options import AUTO
from gpt2xl_export.recipes import RECIPES
from gpt2xl_export.source.hub import ALIASES

TEXT_FIELDS = {field.name for field in fields(TextOptions)}
GRAMMARS = {field.name for field in fields(Constrained)}


@pytest.mark.parametrize("command", [generate, batch, export])
def test_defaults_are_those_of_the_library(command: Callable[..., None]) -> None:
    library = vars(ExportOptions() if command is export else LoadOptions())
    stated = {
        name: parameter.default
        for name, parameter in inspect.signature(command).parameters.items()
        if name in library
    }
    assert len(stated) >= 3
    assert {name: value or () for name, value in stated.items()} == {
        name: library[name] or () for name in stated
    }


def test_the_options_of_an_evaluation_are_those_of_the_library() -> None:
    stated, library = get_type_hints(evaluate), get_type_hints(EvalOptions)
    assert stated.keys() >= library.keys()
    assert {name: set(_values(stated[name])) for name in library} == {
        name: set(_values(kind)) for name, kind in library.items()
    }
    defaults = {name: p.default for name, p in inspect.signature(evaluate).parameters.items()}
    assert {name: defaults[name] for name in library} == vars(EvalOptions())


def _values(kind: object) -> Iterator[object]:
    """What a union of literals allows; else the types themselves."""
    parts = get_args(kind)
    for part in parts:
        yield from _values(part) if get_args(part) else (part,)
    if not parts:
        yield kind


def test_every_option_of_a_text_is_at_the_command_line() -> None:
    library = {field.name for field in fields(GenerationOptions)}
    assert TEXT_FIELDS - GRAMMARS - {"preset"} == library - {*PYTHON_ONLY, "grammar"}
    for command in (generate, batch):
        assert inspect.signature(command).parameters.keys() >= TEXT_FIELDS


def stated_default(name: str) -> str | None:
    """The default that the help of an option states."""
    option = get_args(get_type_hints(TextOptions, include_extras=True)[name])[1]
    return option.show_default or None


WORDS = {
    "seed": "random",
    "do_sample": "yes",
    "parse_special": "special",
    "prompt_lookup": "yes",
    "overflow_window": "half the context",
    "negative_prompt": "the prompt's last token",
    "dry_sequence_breakers": 'newline, :, " and *',
    "early_stopping": "false",
    "max_new_tokens": str(NEW_TOKENS),
    "sampler_order": "transformers",
    "overflow": "stop",
}
"""Defaults that the help says in other words than numbers."""


def test_the_help_says_the_default_of_every_option_that_has_one() -> None:
    for name, default in vars(GenerationOptions()).items():
        if name in PYTHON_ONLY or name == "grammar":
            continue
        stated = stated_default(name)
        if name in WORDS:
            assert stated == WORDS[name], name
        elif isinstance(default, bool) or default in (None, ()):
            assert stated is None, name
        else:
            assert stated is not None, name
            assert float(stated.partition(" (")[0]) == default, name


def test_names_that_a_shell_completes_are_those_of_the_exporter() -> None:
    assert {*NAMED_MODELS} == {DEMO, *ALIASES}
    assert {*get_args(Precision)} == {*RECIPES, AUTO}
