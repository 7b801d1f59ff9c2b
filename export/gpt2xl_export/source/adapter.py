"""A PEFT LoRA adapter, merged into its base tensor by tensor: W + scaling * B A.

The formula and the files are those of PEFT 0.21 (peft/tuners/lora/layer.py, peft/utils/
save_and_load.py). What an adapter changes on one side of a tied embedding unties it: while PEFT
trains, and in its PeftModel, the other side keeps the base's values.
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
    """The adapter in one folder, checked against the config of its base."""

    folder: Path
    files: tuple[Path, Path]
    """Its config and its weights."""
    base: str
    """The model that it says it was trained on."""
    config: GPT2Config
    """The base's, without tied embeddings where the adapter unties them."""
    left_out: tuple[str, ...]
    """Its tensors that belong to other heads."""
    merge: Callable[[Load], Load]
    """How the base loads its tensors -> how the merged model does, under our names."""


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
    """Open the adapter in ``folder`` for a base of ``config``, reading headers only.

    Raises:
        CheckpointError: no adapter, one of a kind that cannot be merged, or of another model; what
            does not fit is named.
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
    """Whether both folders hold a tokenizer.json, and they do not name the same tokens.

    An adapter's that cannot be read counts as other tokens: it is not used.

    Raises:
        CheckpointError: the base's is no JSON object.
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
    """Token -> id, as far as a tokenizer.json is one; what is wrong with it is found elsewhere."""
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
    raise CheckpointError(f"'{folder}' holds neither {' nor '.join(ADAPTER_WEIGHTS)}.")


class _Plan:
    """What becomes of each weight of the base."""

    def __init__(self, file: TensorFile, lora: LoraConfig, config: GPT2Config) -> None:
        self._file, self._lora, self._tied = file, lora, config.tie_word_embeddings
        self._expected = expected_shapes(replace(config, tie_word_embeddings=False))
        self._wholes: dict[str, str] = {}  # our name -> the tensor that replaces it
        self._deltas: dict[str, _Delta] = {}
        self._seen: dict[str, str] = {}  # name without prefixes -> as stored
        self.left_out: list[str] = []
        self.unties = False
        """Whether one side of a tied embedding is changed and the other is not."""

    def add(self, name: str) -> None:
        """Find the place of the tensor ``name``."""
        path = name.removeprefix(_PREFIX).replace(".base_layer.", ".")
        ours = path.removeprefix("transformer.")
        if (other := self._seen.setdefault(ours, name)) != name:
            raise CheckpointError(f"tensor '{name}' is there twice, also as '{other}'.")
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
        # Conv1D and embeddings are [in, out], lm_head is [out, in]; PEFT, too, goes by the layer
        # where fan_in_fan_out says otherwise.
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
        # What is no copy of the adapter's own is the parameter itself, which a tied head shares.
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
        """Raise CheckpointError where the whole makes no sense, or more than can be merged."""
        if not self._deltas and not self._wholes:
            raise CheckpointError("it changes no tensor of a GPT-2.")
        if self.unties and self._lora.ensure_weight_tying:
            raise CheckpointError(
                f"ensure_weight_tying with a changed embedding is not supported: {ELSEWHERE}."
            )

    def merged(self, load: Load) -> Load:
        """``load`` with every change applied."""

        def load_merged(name: str) -> FloatArray:
            if name in self._wholes:
                values = self._file.read(self._wholes[name])
            else:
                values = load("wte.weight" if self._tied and name in TIED else name)
            return self._deltas[name].added_to(values) if name in self._deltas else values

        return load_merged
