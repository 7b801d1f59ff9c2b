"""Open a Hugging Face GPT-2 folder; tensors are read one at a time, as float32."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpt2xl.bundle.config import GPT2Config, parse_config, resolved
from gpt2xl.bundle.hints import ADAPTER_CONFIG, adapter_hint, is_adapter
from gpt2xl.errors import CheckpointError, counted
from gpt2xl.files.json_values import Value
from gpt2xl_export.source.adapter import Adapter, has_other_tokens, open_adapter
from gpt2xl_export.source.own_files import refuse_link_out
from gpt2xl_export.source.sums import sha256_of_files
from gpt2xl_export.source.tensor_files import (
    FloatArray,
    TensorFile,
    find_weight_files,
    open_tensor_file,
    refuse_pointer,
)
from gpt2xl_export.source.tensors import expected_shapes, is_other_head, match_tensors, tied_copies

# With the weights, these decide the logits and the ids of the bundle.
NEEDED_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
SMALL_FILES = (*NEEDED_FILES, "chat_template.jinja", ADAPTER_CONFIG)
ROWS = 4096  # of two tensors that are compared at a time


@dataclass(frozen=True)
class Checkpoint:
    """A checked checkpoint: every tensor is there once, in the shape that the config asks for."""

    folder: Path
    config: GPT2Config
    load: Callable[[str], FloatArray]
    """Our name of a tensor (`h.0.attn.c_attn.weight`) -> its values."""
    tensor_names: tuple[str, ...]
    """In file order."""
    weight_files: tuple[Path, ...]
    config_json: Mapping[str, Any] = field(default_factory=dict)
    """The content of config.json, with sizes and special ids under their GPT-2 names."""
    adapter: Adapter | None = None
    """What is merged into the weights."""
    notes: Callable[[], Iterator[str]] = lambda: iter(())
    """What is left out of the bundle, a sentence each; may read a tensor that is stored twice."""

    @property
    def int4_rounding(self) -> object:
        """What the weights were trained for, such as {"method": "nearest", "block_size": 64}."""
        return None if self.adapter else self.config_json.get("int4_rounding")

    def is_trained_for_int4(self, block_size: int) -> bool:
        """Whether the model was trained for int4 in such blocks, rounded to nearest.

        The key int4_rounding of config.json, gpt2xl's own, says so.
        """
        return self.int4_rounding == {"method": "nearest", "block_size": block_size}

    def sha256(self, report: Callable[[int, int], None] = lambda *_: None) -> dict[str, str]:
        """Hash of each weight file, by file name; ``report`` is called with (bytes read, bytes in all)."""
        return sha256_of_files(self.weight_files, report)

    def adapter_sha256(self) -> dict[str, str]:
        """Hash of the adapter's config and weights, by file name; empty without an adapter."""
        return sha256_of_files(self.adapter.files) if self.adapter else {}


def open_checkpoint(folder: Path, adapter: Path | None = None) -> Checkpoint:
    """Open the checkpoint in ``folder``; reads configs and the headers of weight files.

    Args:
        folder: of the checkpoint.
        adapter: folder of a PEFT adapter to merge.

    Raises:
        CheckpointError: not a folder, not a GPT-2, no or broken weights, tensors that do not fit
            the config, an adapter that does not fit the model, or a link out of the folder.
    """
    if not folder.is_dir():
        raise CheckpointError(f"'{folder}' is not a folder.")
    for name in SMALL_FILES:
        refuse_pointer(folder / name)
    for name in NEEDED_FILES:
        refuse_link_out(folder / name)
    if is_adapter(folder):
        raise CheckpointError(adapter_hint(folder, CheckpointError))
    config_json = Value.read(folder / "config.json", CheckpointError)
    config = parse_config(config_json)
    files = [open_tensor_file(path) for path in find_weight_files(folder)]
    try:
        stored = _stored(files)
        names = _matched(stored, config)
    except CheckpointError as reason:
        raise CheckpointError(f"'{folder}': {reason}") from None

    def load(name: str) -> FloatArray:
        return stored[names[name]].read(names[name])

    merged = None if adapter is None else open_adapter(adapter, config)
    return Checkpoint(
        folder,
        merged.config if merged else config,
        merged.merge(load) if merged else load,
        tuple(expected_shapes(merged.config if merged else config)),
        tuple(file.path for file in files),
        resolved(config_json).content,
        merged,
        lambda: _notes(folder, stored, names, config, merged),
    )


def _matched(stored: dict[str, TensorFile], config: GPT2Config) -> dict[str, str]:
    """Our name of each tensor -> its name in the files."""
    if config.n_layer > len(stored):  # a typo would make `expected_shapes` run for hours
        raise CheckpointError(
            f"the config asks for {counted(config.n_layer, 'layer')}, but the files have only"
            f" {counted(len(stored), 'tensor')}."
        )
    names = match_tensors({name: file.shapes[name] for name, file in stored.items()}, config)
    for name in names.values():
        stored[name].check_dtype(name)
    return names


def _stored(files: list[TensorFile]) -> dict[str, TensorFile]:
    """Tensor name -> the file that holds it."""
    stored: dict[str, TensorFile] = {}
    for file in files:
        for name in file.shapes:
            if name in stored:
                raise CheckpointError(
                    f"tensor '{name}' is stored twice, in '{stored[name].path.name}' and in"
                    f" '{file.path.name}'."
                )
            stored[name] = file
    return stored


def _notes(
    folder: Path,
    stored: dict[str, TensorFile],
    names: dict[str, str],
    config: GPT2Config,
    adapter: Adapter | None,
) -> Iterator[str]:
    heads = [name for name in stored if is_other_head(name)]
    heads += adapter.left_out if adapter else ()
    if heads:
        more = f" and {len(heads) - 6} more" if len(heads) > 6 else ""
        several = len(heads) > 1
        yield (
            f"left out {', '.join(heads[:6])}{more}: {'they belong' if several else 'it belongs'} to"
            f" another head and {'do' if several else 'does'} not affect the logits."
        )
    for name in tied_copies(stored) if config.tie_word_embeddings else ():
        if not _same(stored, name, names["wte.weight"]):
            yield (
                f"left out {name}, which differs from {names['wte.weight']}:"
                f" '{folder / 'config.json'}' ties them (tie_word_embeddings), as does transformers."
            )
    if adapter and adapter.config.tie_word_embeddings != config.tie_word_embeddings:
        yield (
            "the adapter changes one side of the tied embedding: the bundle unties it, and so computes"
            " what PeftModel does; merge_and_unload of a LoRA would change both sides."
        )
    if adapter and has_other_tokens(adapter.folder, folder):
        yield (
            f"the tokenizer.json in '{adapter.folder}' has other tokens than the base model's; the base"
            " model's is used."
        )
    if adapter is None and (folder / ADAPTER_CONFIG).is_file():
        yield (
            f"left out the adapter that '{folder}' has beside the weights ({ADAPTER_CONFIG}); to merge"
            f" it, add `--adapter {shlex.quote(str(folder))}`."
        )


def _same(stored: dict[str, TensorFile], one: str, other: str) -> bool:
    """Whether two stored tensors have the same values."""
    shape = stored[one].shapes[one]
    if one == other or shape != stored[other].shapes[other]:
        return one == other
    starts = range(0, shape[0], ROWS)
    parts = (slice(start, min(start + ROWS, shape[0])) for start in starts)
    return all(
        np.array_equal(stored[one].read(one, part), stored[other].read(other, part), equal_nan=True)
        for part in parts
    )
