"""All options of a text at the command line."""

from dataclasses import dataclass
from typing import Annotated

import typer

from gpt2xl_cli.config.file import preset_names
from gpt2xl_cli.text_options.choosing import Length, Repetition, Sampling
from gpt2xl_cli.text_options.limiting import (
    Biases,
    Constrained,
    Ending,
    PromptOptions,
    Reports,
    Search,
)


# A dataclass has the fields of its last base first.
@dataclass(frozen=True, kw_only=True)
class TextOptions(
    Reports, PromptOptions, Constrained, Search, Ending, Biases, Repetition, Sampling, Length
):
    """The options of a text; None where one is not given.

    Fields have the names of `gpt2xl.GenerationOptions`. Those of `Constrained` make its ``grammar``.
    """

    preset: Annotated[
        str | None,
        typer.Option(
            help="Options of this name, from `gpt2xl config presets`; others replace them.",
            metavar="NAME",
            show_default=False,
            autocompletion=preset_names,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class OneText(TextOptions):
    """The same for commands that make one text of a prompt: they refuse several, and do not offer them."""

    num_return_sequences: Annotated[
        int | None, typer.Option("--num-return-sequences", "-r", hidden=True)
    ] = None
