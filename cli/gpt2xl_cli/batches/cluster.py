"""gpt2xl batch --ray: the same work on the machines of a Ray cluster."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from gpt2xl import ExportError, LoadOptions, RequestError, batch_udf
from gpt2xl.errors import counted, first_line
from gpt2xl.options.keywords import REPLACED
from gpt2xl_cli.batches.cluster_options import ClusterOptions
from gpt2xl_cli.models import model_folder, model_name
from gpt2xl_cli.progress import ProgressBars
from gpt2xl_cli.reporting.amounts import speed_text
from gpt2xl_cli.signals import with_detail
from gpt2xl_cli.text_options.layers import Layer

try:
    import ray

    import gpt2xl_ray
except ModuleNotFoundError as missing:
    raise ExportError(
        f"--ray needs `pip install 'gpt2xl[ray]'` ({missing.name} is not installed)."
    ) from None


def run_on_cluster(
    source: str,
    out: str,
    cluster: ClusterOptions,
    model: str | None,
    load: LoadOptions,
    layers: Sequence[Layer],
    rows: int,
    *,
    force: bool,
    quiet: bool,
) -> "gpt2xl_ray.JobSummary":
    """Run or resume the batch; arguments are as of `gpt2xl_cli.batches.run.read_batch`.

    Raises:
        Gpt2xlError: input, output or model cannot be used, or the cluster lacks what is needed.
    """
    actors = gpt2xl_ray.Actors.parse(cluster.actors or "1:1", cluster.actor_cpus or 1)
    if cluster.part_rows is not None and cluster.part_rows < 1:
        raise RequestError(f"part_rows has to be >= 1, but is {cluster.part_rows}.")
    udf = batch_udf(
        _bundle(model, quiet=quiet),
        id_column=cluster.id_column or "id",
        rows=rows,
        load=_with_threads(load, actors.cpus),
        **merged(layers),
    )
    settings = gpt2xl_ray.JobSettings(source, out, udf, actors, cluster.part_rows, force)
    bars = ProgressBars(quiet=quiet)
    with connected(str(cluster.ray)), with_detail(lambda: "the same command resumes."), bars:
        bars.say(f"Continuing '{source}' with {model_name(model)} on {cluster.ray}")
        return gpt2xl_ray.run_job(settings, lambda progress: _show(bars, progress))


def summary_line(summary: "gpt2xl_ray.JobSummary") -> str:
    """For people."""
    parts = [
        counted(summary.rows, "text"),
        f"{summary.errors} of them with an error" if summary.errors else "",
        counted(summary.new_tokens, "new token"),
        speed_text(summary.tokens_per_second or 0.0, "tokens"),
        f"{summary.done_before} of {summary.parts} parts were done before"
        if summary.done_before
        else counted(summary.parts, "part"),
    ]
    return f"Wrote {summary.out}: {', '.join(filter(None, parts))}."


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """The options of all layers as one; a later layer takes back what an earlier one has said under another name."""
    found = dict[str, Any]()
    for layer in layers:
        replaced = {name for key in layer.keywords for name in REPLACED.get(key, ())}
        found = {key: value for key, value in found.items() if key not in replaced}
        found |= layer.keywords
    return found


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to a cluster: that of an address, of this machine ("auto"), or one that ends with the block ("local").

    Raises:
        RequestError: there is none.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of it
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == "local":
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as reason:
        raise RequestError(
            f"there is no Ray cluster at '{address}': {first_line(reason)}"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _bundle(model: str | None, *, quiet: bool) -> str:
    """A URI as it is; else a folder, which every machine has to have at the same place."""
    if model is not None and "://" in model:
        return model
    return str(Path(model_folder(model, quiet=quiet)).resolve())


def _with_threads(load: LoadOptions, cpus: int) -> LoadOptions:
    return replace(load, threads=load.threads or cpus)


def _show(bars: ProgressBars, progress: "gpt2xl_ray.JobProgress") -> None:
    note = ", ".join(
        filter(
            None,
            (
                speed_text(progress.tokens_per_second, "tokens"),
                counted(progress.rows, "text"),
                counted(progress.actors, "actor"),
            ),
        )
    )
    unit = "B" if progress.unit == "B" else ""
    bars.show("texts", progress.done, progress.total, note, unit=unit)


def refuse_local_only(source: str, out: str, *, lines: bool) -> None:
    """Refuse what only a run on one machine can do."""
    if lines:
        raise typer.BadParameter(
            "cannot be combined with --ray: rows need ids.", param_hint="--lines"
        )
    for name, value in (("IN", source), ("OUT", out)):
        if value == "-":
            raise typer.BadParameter(f"cannot be combined with {name} '-'.", param_hint="--ray")
