"""Fetch a checkpoint from the Hugging Face hub into its usual cache, and check what arrived.

`plan` asks which files a conversion needs, `download` gets exactly those at exactly that commit:

    folder = download(plan("gpt2-xl"), show_progress=True)

Where the cache, the endpoint and the token are is said by huggingface_hub's own environment
variables (HF_HOME, HF_ENDPOINT, HF_TOKEN); with HF_HUB_OFFLINE=1 only the cache is read.
"""

import errno
import hashlib
import importlib.util
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from gpt2xl.bundle.hints import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from gpt2xl.errors import CheckpointError, first_line

ALIASES = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
}

_PART = r"\w(?:[\w.-]{0,94}\w)?"
_HUB_NAME = re.compile(rf"(?!.*(?:--|\.\.|\.git$)){_PART}/{_PART}", re.ASCII)
_SMALL_FILE = re.compile(
    r"(?:config|generation_config|tokenizer|tokenizer_config|vocab|special_tokens_map|added_tokens)"
    r"\.json|merges\.txt|chat_template\.jinja|README\.md|(?:LICEN[CS]E|NOTICE)[\w.-]*",
    re.ASCII,
)
_TRIES = 3  # around huggingface_hub's own, which do not cover every kind of broken connection
_TIMEOUT_S = 20.0


class HubFile(NamedTuple):
    """A file to fetch: its size in bytes and, where the hub knows it, its SHA-256 in hex."""

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Plan:
    """What to download: the files of one model at one commit."""

    repo_id: str
    revision: str
    """The commit that `asked` stood for."""
    files: tuple[HubFile, ...]
    asked: str
    """The branch, tag or commit that was asked for."""
    adapter: bool = False
    """Whether it is an adapter, not a whole model."""

    @property
    def total_size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def download_size(self) -> int:
        """Bytes of the files that are not in the cache at this moment."""
        from huggingface_hub import try_to_load_from_cache as cached

        repo, commit = self.repo_id, self.revision
        return sum(f.size for f in self.files if not cached(repo, f.name, revision=commit))


def is_hub_name(source: str) -> bool:
    """Whether `source` is an alias, or `owner/name` in the characters that the hub allows."""
    return source in ALIASES or _HUB_NAME.fullmatch(source) is not None


def plan(source: str, revision: str | None = None, *, adapter: bool = False) -> Plan:
    """Ask the hub, or the cache when offline, which files of `source` a conversion needs.

    Args:
        source: alias or owner/name.
        revision: branch, tag or commit.
        adapter: whether `source` is a PEFT adapter, not a whole model.

    Raises:
        CheckpointError: There is no such model, revision or endpoint, or nothing we can convert.
    """
    _require_hub()
    from huggingface_hub import HfApi, constants

    if not is_hub_name(source):
        raise CheckpointError(f"'{source}' is no 'owner/name' and none of {', '.join(ALIASES)}.")
    repo_id, asked = ALIASES.get(source, source), revision or constants.DEFAULT_REVISION
    if constants.HF_HUB_OFFLINE:
        return _plan_from_cache(repo_id, asked, adapter)
    try:
        info = HfApi().model_info(repo_id, revision=asked, timeout=_TIMEOUT_S, files_metadata=True)
    except _failures() as error:
        raise _explain(error, f"'{repo_id}'", repo_id, asked) from None
    except (
        AttributeError,
        KeyError,
        TypeError,
    ) as reason:  # of huggingface_hub, which checks no types
        raise CheckpointError(
            f"{_endpoint()} answers for '{repo_id}' in an unknown way: {first_line(reason)}"
        ) from None
    siblings = [s for s in info.siblings or () if isinstance(s.rfilename, str)]
    found = {sibling.rfilename: sibling for sibling in siblings}
    files = []
    needed = _needed_of_adapter if adapter else _needed
    for name in needed(found, f"'{repo_id}'", repo_id):
        size, lfs = found[name].size, found[name].lfs
        if type(size) is not int or size < 0 or not _is_hex(info.sha):
            raise CheckpointError(f"{_endpoint()} tells no commit or no size of '{name}'.")
        if lfs and not _is_hex(lfs.sha256):
            raise CheckpointError(f"{_endpoint()} tells no SHA-256 of '{name}'.")
        files.append(HubFile(name, size, lfs.sha256 if lfs else None))
    return Plan(repo_id, info.sha or "", tuple(files), asked, adapter)


def download(plan: Plan, *, show_progress: bool) -> Path:
    """Fetch what is missing of `plan`, check every file, and return the snapshot folder.

    Raises:
        CheckpointError: The disk is too small, the connection fails, or a file arrived damaged.
    """
    _require_hub()
    _check_space(plan)
    path = Path()
    with _progress_bars(show_progress):
        for file in plan.files:
            path = _fetch(plan, file.name)
            _verify(plan, file, path)
    _remember(plan, path.parent)
    return path.parent


def _is_hex(digest: object) -> bool:
    return isinstance(digest, str) and re.fullmatch(r"[0-9a-f]+", digest) is not None


def _require_hub() -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise CheckpointError("downloading needs `pip install 'gpt2xl[hub]'`.")
    try:  # before huggingface_hub 2, which prints what it cannot read, as it is imported
        _ = urlsplit(os.environ.get("HF_ENDPOINT", "")).port
    except ValueError:
        raise CheckpointError(
            "HF_ENDPOINT is not a URL: write special characters of a password as %2F and the like."
        ) from None


def _needed(names: Collection[str], where: str, repo_id: str) -> list[str]:
    """The files to fetch out of `names`: the weights last, so that having them means complete."""
    weights = _weights(names, "model", "safetensors") or _weights(names, "pytorch_model", "bin")
    if "config.json" in names and weights:
        return sorted(name for name in names if _SMALL_FILE.fullmatch(name)) + weights
    if ADAPTER_CONFIG in names and not weights:
        raise CheckpointError(
            f"{where} is an adapter, not a model: export its base model with `--adapter {repo_id}`."
        )
    lacks = "config.json" if weights else "complete model.safetensors or pytorch_model.bin"
    raise _lacking(names, where, lacks)


def _needed_of_adapter(names: Collection[str], where: str, repo_id: str) -> list[str]:
    weights = [name for name in ADAPTER_WEIGHTS if name in names][:1]
    if ADAPTER_CONFIG in names and weights:
        return [ADAPTER_CONFIG, *weights]
    raise _lacking(names, where, " and no ".join((ADAPTER_CONFIG, ADAPTER_WEIGHTS[0])))


def _lacking(names: Collection[str], where: str, lacks: str) -> CheckpointError:
    listed = ", ".join(sorted(names)[:12]) or "nothing"
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return CheckpointError(f"{where} has no {lacks}; found: {listed}{more}.")


def _weights(names: Collection[str], stem: str, suffix: str) -> list[str]:
    """The one weight file, or the index and every shard, or nothing if the set is not whole."""
    one, index = f"{stem}.{suffix}", f"{stem}.{suffix}.index.json"
    if one in names:
        return [one]
    shard = re.compile(rf"{stem}-\d{{5}}-of-(\d{{5}})\.{suffix}", re.ASCII)
    totals = {match[1] for match in map(shard.fullmatch, names) if match}
    shards = {f"{stem}-{i:05}-of-{n}.{suffix}" for n in totals for i in range(1, int(n) + 1)}
    return [index, *sorted(shards)] if shards and {index, *shards} <= set(names) else []


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
    needed = _needed_of_adapter if adapter else _needed
    names = needed(sizes, f"the cached '{repo_id}' (HF_HUB_OFFLINE is set)", repo_id)
    files = tuple(HubFile(name, sizes[name], None) for name in names)
    return Plan(repo_id, Path(folder).name, files, asked, adapter)


def _check_space(plan: Plan) -> None:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE).absolute()
    exists = next(folder for folder in (cache, *cache.parents) if os.path.exists(folder))
    need, free = plan.download_size, shutil.disk_usage(exists).free
    if need > free:
        raise CheckpointError(
            f"'{plan.repo_id}' needs {need / 1e9:.2f} GB in {cache}, where {free / 1e9:.2f} GB are"
            " free: make room, or set HF_HOME to a folder on a larger disk."
        )


def _fetch(plan: Plan, name: str) -> Path:
    # File by file in this thread: snapshot_download holds a Ctrl-C back until its running files
    # are complete, and answers with a half-empty folder when the hub cannot be reached.
    from huggingface_hub import hf_hub_download

    tries = 1
    while True:
        try:
            return Path(hf_hub_download(plan.repo_id, name, revision=plan.revision))
        except _failures() as wrapped:
            error = _root(wrapped)
            if tries == _TRIES or _status(error) or _os_fault(error):  # not a broken connection
                what = f"'{name}' of '{plan.repo_id}'"
                raise _explain(error, what, plan.repo_id, plan.revision) from None
        tries += 1
        time.sleep(1)


def _verify(plan: Plan, file: HubFile, path: Path) -> None:
    size = path.stat().st_size
    if size != file.size:
        fault = f"{size} bytes instead of {file.size}"
    elif file.sha256 is not None and (digest := _sha256(path)) != file.sha256:
        fault = f"SHA-256 {digest} instead of {file.sha256}"
    else:
        return
    with suppress(OSError):  # a read-only cache
        _delete_with_blob(path)
    then = f"delete {path} and" if path.exists() else "it was deleted from the cache,"
    raise CheckpointError(
        f"'{file.name}' of '{plan.repo_id}' is damaged ({fault}): {then} run again to fetch it anew."
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _delete_with_blob(path: Path) -> None:
    while path.is_symlink():
        target = path.parent / path.readlink()
        path.unlink()
        path = target
    path.unlink(missing_ok=True)


def _remember(plan: Plan, folder: Path) -> None:
    """Note in the cache which commit the branch or tag stood for, as offline mode looks it up."""
    ref = folder.parents[1] / "refs" / plan.asked
    if plan.asked == plan.revision or (ref.is_file() and ref.read_text() == plan.revision):
        return
    with suppress(OSError):  # a read-only cache
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(plan.revision)


@contextmanager
def _progress_bars(show: bool) -> Iterator[None]:
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    if show or constants.HF_HUB_DISABLE_PROGRESS_BARS is not None:  # the variable goes first
        yield
        return
    disable_progress_bars("huggingface_hub")
    try:
        yield
    finally:
        enable_progress_bars("huggingface_hub")


def _failures() -> tuple[type[Exception], ...]:
    """What huggingface_hub lets through: the base errors of its HTTP library and of Xet, too."""
    from huggingface_hub.errors import HfHubHTTPError

    http = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
    return (OSError, ValueError, RuntimeError, *http)


def _root(error: Exception) -> Exception:
    """The failed request, which huggingface_hub may report as a file that is not in the cache."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else None
    return cause if isinstance(cause, Exception) else error


def _status(error: Exception) -> int:
    return getattr(getattr(error, "response", None), "status_code", 0)


def _os_fault(error: Exception) -> int:
    """The errno, if the operating system would not read or write; Xet only tells it in words."""
    told = errno.ENOSPC if "No space left" in str(error) else 0
    return (error.errno if isinstance(error, OSError) else 0) or told


def _endpoint() -> str:
    """HF_ENDPOINT as it may be shown: without a user's name and password."""
    from huggingface_hub import constants

    return re.sub(r"(?<=//).*@", "", constants.ENDPOINT)


def _explain(error: Exception, what: str, repo_id: str, revision: str) -> CheckpointError:
    """One line on why `what` could not be had, and what to do."""
    from huggingface_hub import constants, errors

    hub, cache = _endpoint(), constants.HF_HUB_CACHE
    status, fault = _status(error), _os_fault(error)
    if isinstance(error, errors.GatedRepoError):
        text = f"'{repo_id}' is gated: ask for access at {hub}/{repo_id}, then set HF_TOKEN."
    elif isinstance(error, errors.RepositoryNotFoundError):
        text = f"{hub} shows no model '{repo_id}' (HTTP {status}): check the name, or set HF_TOKEN"
        text += " to a token that may read it if it is private or gated."
    elif isinstance(error, errors.RevisionNotFoundError):
        text = f"'{repo_id}' has no branch, tag or commit '{revision}'."
    elif status in (401, 403):
        text = f"{hub} refuses the token for {what} (HTTP {status}): renew or unset HF_TOKEN."
    elif fault == errno.ENOSPC:
        text = f"The disk is full and {what} incomplete in {cache}: make room, or set HF_HOME to a"
        text += " folder on a larger disk."
    elif fault:
        text = f"Cannot write {what} to {cache} ({os.strerror(fault)}): set HF_HOME elsewhere."
    else:
        reason = f"HTTP {status}" if status else type(error).__name__
        text = f"Cannot get {what} from {hub} ({reason}): check the connection and HF_ENDPOINT and"
        text += " run again, or set HF_HUB_OFFLINE=1 to use what is in the cache."
    return CheckpointError(text)
