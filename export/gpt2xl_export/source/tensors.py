"""The tensors of a GPT-2: names, shapes, and the variants that checkpoints have."""

import re
from collections.abc import Iterable, Mapping

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.errors import CheckpointError

Shape = tuple[int, ...]

# Causal-mask buffers that transformers before 4.31 saved with the weights.
MASK_BUFFERS = (".attn.bias", ".attn.masked_bias")

# Names of a stored tied head: GPT2LMHeadModel's and DialoGPT's.
TIED_HEADS = ("lm_head.weight", "lm_head.decoder.weight")

# Other heads, which read the last hidden state and change no logit: TRL's
# v_head, GPT2DoubleHeadsModel's multiple_choice_head, and those of GPT2ForSequenceClassification,
# GPT2ForTokenClassification and GPT2ForQuestionAnswering.
_OTHER_HEAD = re.compile(r"(?!lm_head)(\w+_head|score|classifier|qa_outputs)\.", re.ASCII)

# Tensors of models that are not supported: the pattern of their names, what they are, what to do.
_FOREIGN = (
    (
        re.compile(r"lora_|\.base_layer\.|\.modules_to_save\."),
        "part of a LoRA adapter that is not merged: save the result of PEFT's merge_and_unload, or"
        " export the base model with `--adapter`",
    ),
    (
        re.compile(
            r"\.(SCB|weight_format|absmax|quant_map|quant_state\..*)$|\.(qweight|qzeros|g_idx)$"
        ),
        "part of a quantized checkpoint: export the checkpoint that it was made from",
    ),
    (
        re.compile(r"\.(crossattention|ln_cross_attn)\."),
        "for cross-attention to an encoder: only models without one are supported",
    ),
)


def expected_shapes(config: GPT2Config) -> dict[str, Shape]:
    """Name -> shape of every tensor, in file order; matrices are [in, out], as in Conv1D."""
    width, inner = config.n_embd, config.inner_dim
    shapes: dict[str, Shape] = {
        "wte.weight": (config.vocab_size, width),
        "wpe.weight": (config.n_positions, width),
    }
    for i in range(config.n_layer):
        shapes |= _norm(f"h.{i}.ln_1", width)
        shapes |= _linear(f"h.{i}.attn.c_attn", width, 3 * width)
        shapes |= _linear(f"h.{i}.attn.c_proj", width, width)
        shapes |= _norm(f"h.{i}.ln_2", width)
        shapes |= _linear(f"h.{i}.mlp.c_fc", width, inner)
        shapes |= _linear(f"h.{i}.mlp.c_proj", inner, width)
    shapes |= _norm("ln_f", width)
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, width)
    return shapes


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(name: str, n_in: int, n_out: int) -> dict[str, Shape]:
    return {f"{name}.weight": (n_in, n_out), f"{name}.bias": (n_out,)}


def matrix_names(config: GPT2Config) -> list[str]:
    """The matrices that can be quantized: all that are multiplied with, so all but wpe."""
    shapes = expected_shapes(config)
    return [name for name, shape in shapes.items() if len(shape) == 2 and name != "wpe.weight"]


def is_other_head(name: str) -> bool:
    """Whether the tensor belongs to a head that does not change the logits."""
    return _OTHER_HEAD.match(name.removeprefix("transformer.")) is not None


def match_tensors(found: Mapping[str, Shape], config: GPT2Config) -> dict[str, str]:
    """Our name of each tensor -> its name in the checkpoint.

    A prefix ``transformer.`` is ignored; mask buffers and other heads are dropped. So is a copy of a
    tied head, as transformers ties it again when it loads the file. If only the head is stored, as by
    safetensors' save_model, it is also the embedding.

    Raises:
        CheckpointError: a tensor is missing, unknown, or has the wrong shape.
    """
    expected = expected_shapes(config)
    names = _stored(found)
    if config.tie_word_embeddings:
        heads = [names.pop(name) for name in TIED_HEADS if name in names]
        if heads and "wte.weight" not in names:
            names["wte.weight"] = heads[0]
    extra = [name for name in names if name not in expected]
    for name in extra:
        for pattern, what in _FOREIGN:
            if pattern.search(name):
                raise CheckpointError(f"tensor '{names[name]}' is {what}.")
    missing = [name for name in expected if name not in names]
    if missing:
        raise CheckpointError(_missing(missing, found))
    if extra:
        raise CheckpointError(
            f"tensor '{names[extra[0]]}' does not belong to a GPT-2 of this config{_more(extra)}."
        )
    for name, shape in expected.items():
        if found[names[name]] != shape:
            raise CheckpointError(
                f"tensor '{names[name]}' has shape {list(found[names[name]])}, the config asks for"
                f" {list(shape)}."
            )
    return {name: names[name] for name in expected}


def tied_copies(found: Iterable[str]) -> list[str]:
    """The names under which ``found`` stores a tied head."""
    return [name for name in found if name.removeprefix("transformer.") in TIED_HEADS]


def _stored(found: Iterable[str]) -> dict[str, str]:
    """Name without prefix -> stored name, without mask buffers and other heads."""
    names: dict[str, str] = {}
    for original in found:
        name = original.removeprefix("transformer.")
        if name in names:
            raise CheckpointError(f"tensor '{original}' is stored twice, also as '{names[name]}'.")
        if not name.endswith(MASK_BUFFERS) and not is_other_head(name):
            names[name] = original
    return names


def _missing(missing: list[str], found: Iterable[str]) -> str:
    said = f"tensor '{missing[0]}' is missing{_more(missing)}"
    for name in found:
        if name.endswith(
            f".{missing[0]}"
        ):  # DataParallel, torch.compile or a trainer has wrapped the model
            said += f"; there is '{name}': save the model inside with save_pretrained"
            break
    return f"{said}."


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
