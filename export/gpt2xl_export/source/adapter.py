"""Merge a PEFT LoRA adapter into its base model, tensor by tensor: W + scaling * B A.

Formula and files are those of PEFT 0.21 (peft/tuners/lora/layer.py, peft/utils/save_and_load.py). An
adapter that changes one side of a tied embedding unties it: in training and in a PeftModel the other
side keeps the values of the base.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.bundle.hints import ADAPTER_WEIGHTS
from gpt2xl.errors import CheckpointError
from gpt2xl.files.json_values import read_json
from gpt2xl.files.reading import MAX_BYTES
from gpt2xl_export.source.adapter_config import ELSEWHERE, LoraConfig, read_lora_config
from gpt2xl_export.source.tensor_files import FloatArray, TensorFile, open_tensor_file
from gpt2xl_export.source.tensors import MASK_BUFFERS, Shape, expected_shapes, is_other_head

EMBEDDINGS = ("wte", "wpe")
TIED = ("wte.weight", "lm_head.weight")
Load = Callable[[str], FloatArray]
_PREFIX = "base_model.model."
_PAIRS = {".lora_A.weight": ".lora_B.weight", ".lora_embedding_A": ".lora_embedding_B"}


@dataclass(frozen=True)
class Adapter:
    """An adapter that fits the config of its base."""

    folder: Path
    files: tuple[Path, Path]
    """Config and weights."""
    base: str
    """The model that its config names as its base."""
    config: GPT2Config
    """The base's, with untied embeddings if the adapter unties them."""
    left_out: tuple[str, ...]
    """Tensors of other heads."""
    merge: Callable[[Load], Load]
    """The base's function that loads a tensor by our name -> that of the merged model."""


@dataclass(frozen=True)
class _Delta:
    """scaling * B A, in the layout of the weight."""

    file: TensorFile
    a: str
    b: str
    scaling: float
    transposed: bool

    def added_to(self, weight: FloatArray) -> FloatArray:
        a, b = self.file.read(self.a), self.file.read(self.b)
        product: FloatArray = a.T @ b.T if self.transposed else b @ a
        product *= np.float32(self.scaling)
        product += weight
        return product


def open_adapter(folder: Path, config: GPT2Config) -> Adapter:
    """Open the adapter in ``folder`` for a base model; reads its config and headers.

    Args:
        folder: of the adapter.
        config: of the base.

    Raises:
        CheckpointError: it is not an adapter, cannot be merged, or belongs to another model.
    """
    if not folder.is_dir():
        raise CheckpointError(f"'{folder}' is not a folder.")
    lora, file = read_lora_config(folder), _weight_file(folder)
    plan = _Plan(file, lora, config)
    try:
        for name in file.shapes:
            plan.add(name)
        plan.check()
    except CheckpointError as reason:
        raise CheckpointError(f"adapter '{folder}': {reason}") from None
    if plan.unties:
        config = replace(config, tie_word_embeddings=False)
    files, base = (lora.path, file.path), lora.base_model_name_or_path
    return Adapter(folder, files, base, config, tuple(plan.left_out), plan.merged)


def has_other_tokens(adapter: Path, base: Path) -> bool:
    """Whether both folders have a tokenizer.json, but with different tokens.

    If the adapter's cannot be read, its tokens count as different: it is not used.

    Raises:
        CheckpointError: the base's is not a JSON object.
    """
    paths = [folder / "tokenizer.json" for folder in (adapter, base)]
    if not all(path.is_file() for path in paths):
        return False
    wanted = _tokens(read_json(paths[1], CheckpointError, MAX_BYTES))
    try:
        return _tokens(read_json(paths[0], CheckpointError, MAX_BYTES)) != wanted
    except CheckpointError:
        return True


def _tokens(tokenizer: dict[str, Any]) -> dict[str, int]:
    """Token -> id, of all valid entries; other checks find invalid ones."""
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    pairs = [*vocab.items()] if isinstance(vocab, dict) else []
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict):
            pairs.append((token.get("content"), token.get("id")))
    return {t: i for t, i in pairs if isinstance(t, str) and isinstance(i, int)}


def _weight_file(folder: Path) -> TensorFile:
    for name in ADAPTER_WEIGHTS:
        if (folder / name).is_file():
            return open_tensor_file(folder / name)
    raise CheckpointError(f"'{folder}' has neither {' nor '.join(ADAPTER_WEIGHTS)}.")


class _Plan:
    """How the adapter changes each weight of the base."""

    def __init__(self, file: TensorFile, lora: LoraConfig, config: GPT2Config) -> None:
        self._file, self._lora, self._tied = file, lora, config.tie_word_embeddings
        self._expected = expected_shapes(replace(config, tie_word_embeddings=False))
        self._wholes: dict[str, str] = {}  # our name -> the tensor of the adapter that replaces it
        self._deltas: dict[str, _Delta] = {}
        self._seen: dict[str, str] = {}  # name without prefixes -> stored name
        self.left_out: list[str] = []
        self.unties = False
        """Whether only one side of a tied embedding is changed."""

    def add(self, name: str) -> None:
        """Decide what the tensor ``name`` of the adapter changes."""
        path = name.removeprefix(_PREFIX).replace(".base_layer.", ".")
        ours = path.removeprefix("transformer.")
        if (other := self._seen.setdefault(ours, name)) != name:
            raise CheckpointError(f"tensor '{name}' is stored twice, also as '{other}'.")
        for a_end, b_end in _PAIRS.items():
            if path.endswith(a_end):
                self._add_delta(path.removesuffix(a_end), name, name.removesuffix(a_end) + b_end)
                return
            if path.endswith(b_end) and name.removesuffix(b_end) + a_end in self._file.shapes:
                return
        if is_other_head(ours):
            self.left_out.append(name)
        elif ours in self._expected:
            self._add_whole(path, ours, name)
        elif not ours.endswith(MASK_BUFFERS):
            raise CheckpointError(f"tensor '{name}' cannot be merged into a GPT-2: {ELSEWHERE}.")

    def _add_delta(self, module: str, a: str, b: str) -> None:
        ours = module.removeprefix("transformer.")
        weight, embeds = f"{ours}.weight", ours in EMBEDDINGS
        shape = self._expected.get(weight, ())
        if len(shape) != 2 or embeds != a.endswith(".lora_embedding_A"):
            raise CheckpointError(f"tensor '{a}' cannot be merged into a GPT-2: {ELSEWHERE}.")
        # Conv1D and embeddings are [in, out], lm_head is [out, in]. Like PEFT, this goes by the layer,
        # whatever fan_in_fan_out says.
        transposed = ours != "lm_head"
        n_in, n_out = shape if transposed else shape[::-1]
        rank = self._lora.rank(module)
        self._check_shape(a, (rank, n_in))
        self._check_shape(b, (n_out, rank))
        self._deltas[weight] = _Delta(self._file, a, b, self._lora.scaling(module), transposed)
        self.unties |= self._tied and weight in TIED

    def _add_whole(self, path: str, ours: str, name: str) -> None:
        self._check_shape(name, self._expected[ours])
        own = self._lora.is_saved_whole(path.rpartition(".")[0])
        self.unties |= self._tied and ours in TIED and own
        # Without a copy of its own the adapter changes the parameter, which a tied head shares.
        shared = TIED if self._tied and ours in TIED and not own else (ours,)
        for each in shared:
            self._wholes.setdefault(each, name)
        if own:
            self._wholes[ours] = name

    def _check_shape(self, name: str, wanted: Shape) -> None:
        if name not in self._file.shapes:
            raise CheckpointError(f"tensor '{name}' is missing.")
        self._file.check_dtype(name)
        if (found := self._file.shapes[name]) != wanted:
            resized = len(found) == 2 and wanted[0] == self._expected["wte.weight"][0]
            raise CheckpointError(
                f"tensor '{name}' has shape {list(found)}, the base asks for {list(wanted)}"
                f"{f' (was its vocabulary resized? {ELSEWHERE})' if resized else ''}."
            )

    def check(self) -> None:
        """Raise CheckpointError if nothing is changed, or a tied embedding would have to be."""
        if not self._deltas and not self._wholes:
            raise CheckpointError("it changes no tensor of a GPT-2.")
        if self.unties and self._lora.ensure_weight_tying:
            raise CheckpointError(
                f"ensure_weight_tying with a changed embedding is not supported: {ELSEWHERE}."
            )

    def merged(self, load: Load) -> Load:
        """``load`` with all changes applied."""

        def load_merged(name: str) -> FloatArray:
            if name in self._wholes:
                values = self._file.read(self._wholes[name])
            else:
                values = load("wte.weight" if self._tied and name in TIED else name)
            return self._deltas[name].added_to(values) if name in self._deltas else values

        return load_merged
