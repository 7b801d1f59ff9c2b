"""gpt2xl verify."""

import json
import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gpt2xl_cli.exporting import missing_extra_explained
from gpt2xl_cli.models import given_model, model_folder, model_name
from gpt2xl_cli.options import Json, Model, ModelArgument, Quiet
from gpt2xl_cli.progress import ProgressBars
from gpt2xl_cli.reporting.verdicts import of_checks
from gpt2xl_cli.terminal import echo_line


def verify(
    bundle: ModelArgument = None,
    *,
    model: Model = None,
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Checkpoint folder of the bundle; its hashes and logits are compared, too.",
            show_default=False,
        ),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the adapter that was merged into the source.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a bundle: file hashes, tokenization, graphs, parity, and published outputs of its model."""
    from gpt2xl import BundleError

    if adapter and not source:
        raise typer.BadParameter("an adapter needs --source, the checkpoint it was merged into.")
    given = given_model(bundle, model)
    what = f"{model_name(given)} and {source}" if source else model_name(given)
    ProgressBars(quiet=quiet).say(f"Verifying {what}")
    with missing_extra_explained("verify"):
        from gpt2xl_export import verify as checks_of

    folder = model_folder(given, quiet=quiet)
    logging.getLogger("onnx_ir").setLevel(logging.CRITICAL)  # the checks report what is wrong
    checks = []
    with warnings.catch_warnings(), ProgressBars(quiet=quiet) as bars:
        warnings.simplefilter("ignore", RuntimeWarning)  # a check reports overflows
        for check in checks_of(folder, source, adapter, progress=bars.show_export):
            bars.clear()
            checks.append(check)
            if not as_json:
                echo_line(f"{check.status:7}  {check.name}: {check.detail}", indent=9)
    failed = [check for check in checks if check.status == "failed"]
    if as_json:
        content = {"bundle": str(folder), "ok": not failed, "checks": [asdict(c) for c in checks]}
        typer.echo(json.dumps(content))
    else:
        echo_line(of_checks(checks), indent=0)
    if failed:
        raise BundleError(f"{failed[0].name}: {failed[0].detail}")
