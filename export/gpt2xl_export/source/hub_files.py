"""Which files of a repository on the hub a conversion needs."""

import re
from collections.abc import Collection
from typing import NamedTuple

from gpt2xl.bundle.hints import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from gpt2xl.errors import CheckpointError

_SMALL_FILE = re.compile(
    r"(?:config|generation_config|tokenizer|tokenizer_config|vocab|special_tokens_map|added_tokens)"
    r"\.json|merges\.txt|chat_template\.jinja|README\.md|(?:LICEN[CS]E|NOTICE)[\w.-]*",
    re.ASCII,
)


class HubFile(NamedTuple):
    """A file to fetch."""

    name: str
    size: int
    """Bytes."""
    sha256: str | None
    """In hex; None if the hub does not tell it."""


def needed_files(names: Collection[str], where: str, repo_id: str) -> list[str]:
    """Choose the files of a model to fetch, the weights last: if they are there, all is.

    Args:
        names: all files of the repository.
        where: the repository, for the message.
        repo_id: owner/name.

    Raises:
        CheckpointError: config.json or weights are missing, or it is an adapter.
    """
    weights = _weights(names, "model", "safetensors") or _weights(names, "pytorch_model", "bin")
    if "config.json" in names and weights:
        return sorted(name for name in names if _SMALL_FILE.fullmatch(name)) + weights
    if ADAPTER_CONFIG in names and not weights:
        raise CheckpointError(
            f"{where} is an adapter, not a model: export its base model with `--adapter {repo_id}`."
        )
    lacks = "config.json" if weights else "complete model.safetensors or pytorch_model.bin"
    raise _lacking(names, where, lacks)


def needed_adapter_files(names: Collection[str], where: str, repo_id: str) -> list[str]:
    """The files that a PEFT adapter needs; errors as of `needed_files`."""
    weights = [name for name in ADAPTER_WEIGHTS if name in names][:1]
    if ADAPTER_CONFIG in names and weights:
        return [ADAPTER_CONFIG, *weights]
    raise _lacking(names, where, " and no ".join((ADAPTER_CONFIG, ADAPTER_WEIGHTS[0])))


def _lacking(names: Collection[str], where: str, lacks: str) -> CheckpointError:
    listed = ", ".join(sorted(names)[:12]) or "nothing"
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return CheckpointError(f"{where} has no {lacks}; found: {listed}{more}.")


def _weights(names: Collection[str], stem: str, suffix: str) -> list[str]:
    """The only weight file, or the index and all shards; empty if one of them is missing."""
    one, index = f"{stem}.{suffix}", f"{stem}.{suffix}.index.json"
    if one in names:
        return [one]
    shard = re.compile(rf"{stem}-\d{{5}}-of-(\d{{5}})\.{suffix}", re.ASCII)
    totals = {match[1] for match in map(shard.fullmatch, names) if match}
    shards = {f"{stem}-{i:05}-of-{n}.{suffix}" for n in totals for i in range(1, int(n) + 1)}
    return [index, *sorted(shards)] if shards and {index, *shards} <= set(names) else []
