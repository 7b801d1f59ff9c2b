"""The options of gpt2xl batch that a cluster has."""

from dataclasses import dataclass, fields
from typing import Annotated

import typer

PANEL = "Cluster (extra ray)"


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Options that begin with --ray; None where one is not given."""

    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run on a Ray cluster: its address, auto for the one of this machine, local to start one here. IN and OUT"
            " may be URIs, OUT is a folder, and the seed of a text is --seed plus the id of its row.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    actors: Annotated[
        str | None,
        typer.Option(
            metavar="MIN:MAX",
            help="Number of processes that generate.",
            show_default="1:1",
            rich_help_panel=PANEL,
        ),
    ] = None
    actor_cpus: Annotated[
        int | None,
        typer.Option(metavar="N", help="CPUs of each.", show_default="1", rich_help_panel=PANEL),
    ] = None
    part_rows: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="About how many rows an actor computes and writes at a time.",
            show_default="by the size of IN, 256 at most",
            rich_help_panel=PANEL,
        ),
    ] = None
    id_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The key or column of ids.",
            show_default="id",
            rich_help_panel=PANEL,
        ),
    ] = None

    def check_needed(self) -> None:
        """Refuse the other options without --ray."""
        given = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        if self.ray is None and given:
            name = given[0].replace("_", "-")
            raise typer.BadParameter("needs --ray ADDRESS.", param_hint=f"--{name}")
