"""Ask the Hugging Face hub which files of a model a conversion needs.

    folder = download(plan("gpt2-xl"), print)

`gpt2xl_export.source.hub_download` then gets exactly these files at exactly this commit. huggingface_hub
reads the cache, the endpoint and the token from its environment variables (HF_HOME, HF_ENDPOINT,
HF_TOKEN); with HF_HUB_OFFLINE=1 it only uses the cache.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from gpt2xl.errors import CheckpointError, first_line
from gpt2xl_export.source.hub_errors import endpoint, explain, failures, require_hub
from gpt2xl_export.source.hub_files import HubFile, needed_adapter_files, needed_files

ALIASES = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
}

_PART = r"\w(?:[\w.-]{0,94}\w)?"
_HUB_NAME = re.compile(rf"(?!.*(?:--|\.\.|\.git$)){_PART}/{_PART}", re.ASCII)
TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Plan:
    """What to download: the files of one model at one commit."""

    repo_id: str
    revision: str
    """The commit that ``asked`` is at."""
    files: tuple[HubFile, ...]
    asked: str
    """Branch, tag or commit."""
    adapter: bool = False
    """Whether it is an adapter, not a whole model."""

    @property
    def total_size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def download_size(self) -> int:
        """Bytes that are not in the cache now."""
        from huggingface_hub import try_to_load_from_cache as cached

        repo, commit = self.repo_id, self.revision
        missing = [f for f in self.files if not cached(repo, f.name, revision=commit)]
        return sum(max(0, f.size - self._partial_size(f)) for f in missing)

    def _partial_size(self, file: HubFile) -> int:
        """Bytes that an interrupted download has left of ``file``."""
        from huggingface_hub import constants

        repo = Path(constants.HF_HUB_CACHE, f"models--{self.repo_id.replace('/', '--')}")
        partial = repo / "blobs" / f"{file.sha256}.incomplete"
        return partial.stat().st_size if partial.is_file() else 0


def short_name(source: str) -> str:
    """The alias of a model on the hub; ``source`` itself where there is none.

    >>> short_name("openai-community/gpt2-xl"), short_name("owner/name")
    ('gpt2-xl', 'owner/name')
    """
    return {repo_id: alias for alias, repo_id in ALIASES.items()}.get(source, source)


def is_hub_name(source: str) -> bool:
    """Whether ``source`` is an alias, or owner/name in the characters that the hub allows."""
    return source in ALIASES or _HUB_NAME.fullmatch(source) is not None


def plan(source: str, revision: str | None = None, *, adapter: bool = False) -> Plan:
    """Ask the hub, or its cache when offline, which files of ``source`` a conversion needs.

    Args:
        source: an alias such as gpt2-xl, or owner/name.
        revision: branch, tag or commit; None means main.
        adapter: whether ``source`` is a PEFT adapter, not a whole model.

    Raises:
        CheckpointError: there is no such model, revision or endpoint, or nothing that can be
            converted.
    """
    require_hub()
    from huggingface_hub import HfApi, constants

    if not is_hub_name(source):
        raise CheckpointError(f"'{source}' is neither owner/name nor one of {', '.join(ALIASES)}.")
    repo_id, asked = ALIASES.get(source, source), revision or constants.DEFAULT_REVISION
    if constants.HF_HUB_OFFLINE:
        return _plan_from_cache(repo_id, asked, adapter)
    try:
        info = HfApi().model_info(repo_id, revision=asked, timeout=TIMEOUT_S, files_metadata=True)
    except failures() as error:
        raise explain(error, f"'{repo_id}'", repo_id, asked) from None
    except (AttributeError, KeyError, TypeError) as reason:  # huggingface_hub checks no types
        raise CheckpointError(
            f"{endpoint()} gives an unexpected answer for '{repo_id}': {first_line(reason)}"
        ) from None
    siblings = [s for s in info.siblings or () if isinstance(s.rfilename, str)]
    found = {sibling.rfilename: sibling for sibling in siblings}
    files = []
    needed = needed_adapter_files if adapter else needed_files
    for name in needed(found, f"'{repo_id}'", repo_id):
        size, lfs = found[name].size, found[name].lfs
        if type(size) is not int or size < 0 or not _is_hex(info.sha):
            raise CheckpointError(
                f"{endpoint()} does not tell the commit, or the size of '{name}'."
            )
        if lfs and not _is_hex(lfs.sha256):
            raise CheckpointError(f"{endpoint()} does not tell the SHA-256 of '{name}'.")
        files.append(HubFile(name, size, lfs.sha256 if lfs else None))
    return Plan(repo_id, info.sha or "", tuple(files), asked, adapter)


def _is_hex(digest: object) -> bool:
    return isinstance(digest, str) and re.fullmatch(r"[0-9a-f]+", digest) is not None


def _plan_from_cache(repo_id: str, asked: str, adapter: bool) -> Plan:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repo_id, revision=asked, local_files_only=True, allow_patterns=["*config.json"]
        )
    except LocalEntryNotFoundError:
        raise CheckpointError(
            f"'{repo_id}' at '{asked}' is not in the cache {constants.HF_HUB_CACHE} and"
            " HF_HUB_OFFLINE is set: unset it, or set HF_HOME to the cache that has the model."
        ) from None
    sizes = {path.name: path.stat().st_size for path in Path(folder).iterdir() if path.is_file()}
    needed = needed_adapter_files if adapter else needed_files
    names = needed(sizes, f"the cached '{repo_id}' (HF_HUB_OFFLINE is set)", repo_id)
    files = tuple(HubFile(name, sizes[name], None) for name in names)
    return Plan(repo_id, Path(folder).name, files, asked, adapter)
