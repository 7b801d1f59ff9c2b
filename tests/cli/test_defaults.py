"""The defaults of options are written in the commands, so that --help need not import the library."""

import inspect
from collections.abc import Callable

import pytest

from gpt2xl import GenerationOptions, LoadOptions
from gpt2xl_cli.commands.batch import batch
from gpt2xl_cli.commands.export import export
from gpt2xl_cli.commands.generate import generate
from gpt2xl_export import ExportOptions


@pytest.mark.parametrize("command", [generate, batch, export])
def test_defaults_are_those_of_the_library(command: Callable[..., None]) -> None:
    options = [ExportOptions()] if command is export else [GenerationOptions(), LoadOptions()]
    library = {name: value for found in options for name, value in vars(found).items()}
    stated = {
        name: parameter.default
        for name, parameter in inspect.signature(command).parameters.items()
        if name in library
    }
    assert len(stated) >= 5
    assert {name: value or () for name, value in stated.items()} == {
        name: library[name] or () for name in stated
    }
