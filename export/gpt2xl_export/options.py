"""How an export stores weights and KV cache."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.bundle.remedies import HEAD_DIM_MULTIPLE
from gpt2xl.errors import RequestError
from gpt2xl_export.check.difference import Tolerance
from gpt2xl_export.recipes import LOSSES, RECIPES, Recipe
from gpt2xl_export.source.checkpoint import Checkpoint

KV = Literal["auto", "float", "int8"]
Backend = Literal["gpt2xl", "optimum"]
Rounding = Literal["auto", "gptq", "nearest"]
SMALLEST_BLOCK = 16


@dataclass(frozen=True)
class ExportOptions:
    """How the weights and the KV cache are stored.

    Raises:
        RequestError: a value is not allowed, or does not go with the others.

    >>> ExportOptions("int4", block_size=32).kv
    'auto'
    """

    precision: str = "fp32"
    """fp32, fp16, int8, int8-weight, int4 or int4-fp16."""
    block_size: int = 64
    """Inputs that share a scale in int4: a power of 2, 16 or more."""
    kv: KV = "auto"
    """Type of the engine graph's KV cache; auto: int8 for int8, int8-weight and int4
    where there is an engine graph, otherwise float."""
    keep: tuple[str, ...] = ()
    """Rules FORMAT:PATTERN for single weights, such as fp32:h.0.*; the last match wins."""
    backend: Backend = "gpt2xl"
    """Who builds the graph; optimum only makes a portable one."""
    rounding: Rounding = "auto"
    """How int4 codes are chosen; auto: GPTQ, or as the checkpoint was trained for."""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("precision", tuple(RECIPES)),
            ("kv", get_args(KV)),
            ("backend", get_args(Backend)),
            ("rounding", get_args(Rounding)),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise RequestError(
                    f"{name} has to be one of {', '.join(allowed)}, but is {value!r}."
                )
        if self.block_size < SMALLEST_BLOCK or self.block_size & (self.block_size - 1):
            raise RequestError(
                f"block_size has to be a power of 2, at least {SMALLEST_BLOCK}, but is"
                f" {self.block_size}."
            )
        if self.recipe.float16 and (self.keep or self.kv == "int8"):
            raise RequestError(
                f"{self.precision} cannot be combined with keep rules or an int8 KV cache."
            )
        if self.backend == "optimum" and self._is_changed():
            raise RequestError("the optimum backend only makes fp32 and takes no other option.")

    def _is_changed(self) -> bool:
        """Whether anything but the backend is not the default; optimum's KV cache is "float" in any case."""
        plain = replace(self, backend="gpt2xl", kv="auto" if self.kv == "float" else self.kv)
        return plain != ExportOptions()

    @property
    def recipe(self) -> Recipe:
        """The recipe of the precision."""
        return RECIPES[self.precision]

    @property
    def is_calibrated(self) -> bool:
        """Whether the export may run the model on calibration text."""
        formats = [self.precision, self.kv, *(rule.partition(":")[0] for rule in self.keep)]
        return any(name.startswith("int") for name in formats)

    @property
    def tolerance(self) -> Tolerance:
        """The tolerance of the least exact part."""
        parts = [self.recipe.tolerance, *(LOSSES.get(k.partition(":")[0]) for k in self.keep)]
        parts.append(LOSSES["int8"] if self.kv == "int8" else None)
        losses = [part.mean_kl for part in parts if part is not None and part.mean_kl is not None]
        return Tolerance(mean_kl=max(losses)) if losses else self.recipe.tolerance

    def resolved(self, checkpoint: Checkpoint) -> "ExportOptions":
        """The same with "auto" decided for ``checkpoint``."""
        quantized = self.precision.startswith("int") and not self.recipe.float16
        kv: KV = "int8" if quantized and has_engine(checkpoint.config) else "float"
        rounding: Rounding = "nearest" if self.is_trained_for(checkpoint) else "gptq"
        if self.backend == "optimum":
            return replace(self, kv="float")
        return replace(
            self,
            kv=kv if self.kv == "auto" else self.kv,
            rounding=rounding if self.rounding == "auto" else self.rounding,
        )

    def is_trained_for(self, checkpoint: Checkpoint) -> bool:
        """Whether the model was trained for int4 in these blocks, rounded to nearest.

        The key int4_rounding of config.json, gpt2xl's own, says so.
        """
        trained = {"method": "nearest", "block_size": self.block_size}
        return checkpoint.int4_rounding == trained


def has_engine(config: GPT2Config) -> bool:
    """Whether GroupQueryAttention can have the head size."""
    return config.head_dim % HEAD_DIM_MULTIPLE == 0
