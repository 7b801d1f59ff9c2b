"""Panels of --help, which make the options that stand in them."""

from dataclasses import dataclass
from typing import Any

import typer


@dataclass(frozen=True)
class Panel:
    """A panel of --help."""

    title: str

    def __call__(
        self, *names: str, help: str, default: str = "", metavar: str | None = None
    ) -> Any:
        """An option of this panel.

        Args:
            names: its spellings; without any, the name of the field.
            help: what it does.
            default: what holds where nobody gives it, in words; the value itself is None.
            metavar: what stands for its value.
        """
        return typer.Option(
            *names,
            help=help,
            metavar=metavar,
            show_default=default or False,
            rich_help_panel=self.title,
        )


LENGTH = Panel("Length")
SAMPLING = Panel("Sampling")
REPETITION = Panel("Repetition")
BIASES = Panel("Bans and biases")
ENDING = Panel("Ending")
SEARCH = Panel("Search")
CONSTRAINED = Panel("Constrained output")
PROMPT = Panel("Prompt")
REPORT = Panel("Report")
MODEL = Panel("Model")
