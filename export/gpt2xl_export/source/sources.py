"""Where a checkpoint comes from: a local folder or the hub."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpt2xl.bundle.hints import did_you_mean, most_alike
from gpt2xl.errors import CheckpointError
from gpt2xl_export.progress import Progress
from gpt2xl_export.source.hub import ALIASES, Plan, is_hub_name, plan
from gpt2xl_export.source.hub_download import download


@dataclass(frozen=True)
class Source:
    """A checkpoint folder on this machine."""

    folder: Path
    name: str
    """owner/name on the hub, or the folder's own name."""
    revision: str | None = None
    """The hub's commit."""


def resolve(
    source: str,
    revision: str | None = None,
    *,
    adapter: bool = False,
    announce: Callable[[Plan], None] = lambda _: None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Source:
    """Find the local folder ``source``, or download the model of that name from the hub.

    Args:
        source: a folder, which has precedence, an alias such as gpt2-xl, or owner/name.
        revision: branch, tag or commit on the hub.
        adapter: whether it has to be a PEFT adapter, not a whole model.
        announce: called before a download with what it will fetch.
        progress: called during a download, from a thread of its own, and while what arrived is hashed.

    Raises:
        CheckpointError: it is neither, or the download fails.
    """
    if os.path.isdir(source):
        if revision is not None:
            raise CheckpointError(f"'{source}' is a local folder: it has no revision {revision!r}.")
        return Source(Path(source), Path(source).resolve().name)
    if not is_hub_name(source) or os.path.exists(source):
        what = "an adapter's" if adapter else "a model's"
        hint = did_you_mean(source, () if adapter else ALIASES)
        raise CheckpointError(f"'{source}' is not a folder, nor {what} name on the hub{hint}")
    wanted = planned(source, revision, adapter=adapter)
    announce(wanted)
    return Source(download(wanted, progress), wanted.repo_id, wanted.revision)


def planned(source: str, revision: str | None = None, *, adapter: bool = False) -> Plan:
    """Do what `plan` does; the error for a name that may be a mistyped folder says so."""
    try:
        return plan(source, revision, adapter=adapter)
    except CheckpointError as reason:
        if (folder := most_alike(source)) is None:
            raise
        raise CheckpointError(f"{reason} Or did you mean the folder '{folder}'?") from None
