"""How an export stores weights and KV cache."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.bundle.remedies import HEAD_DIM_MULTIPLE
from gpt2xl.errors import RequestError
from gpt2xl_export.check.difference import Tolerance
from gpt2xl_export.recipes import LOSSES, RECIPES, Recipe
from gpt2xl_export.source.checkpoint import Checkpoint

KV = Literal["auto", "float", "int8"]
Backend = Literal["gpt2xl", "optimum"]
Rounding = Literal["auto", "gptq", "nearest"]
OneFile = Literal["none", "ids", "string"]
SMALLEST_BLOCK = 16
AUTO = "auto"
"""The precision that is chosen for each matrix, within a budget."""
MIXED_BASE = "int4"
"""The precision that a choice refines by keep rules."""
UNITS = {"max_kl": " nats", "max_size": " bytes", "max_perplexity_loss": " %"}


@dataclass(frozen=True)
class Budget:
    """What a mixed precision may cost; exactly one thing is limited."""

    name: str
    """max_kl, max_size or max_perplexity_loss."""
    limit: float
    """Nats, bytes, or percent."""

    def __str__(self) -> str:
        number = f"{self.limit:,.0f}" if self.name == "max_size" else f"{self.limit:.3g}"
        return f"{self.name} {number}{UNITS[self.name]}"


@dataclass(frozen=True)
class ExportOptions:
    """How the weights and the KV cache are stored.

    Raises:
        RequestError: a value is not allowed, or does not go with the others.

    >>> ExportOptions("int4", block_size=32).kv
    'auto'
    """

    precision: str = "fp32"
    """fp32, fp16, int8, int8-weight, int4, fast or int4-fp16; or auto, which chooses the format of each matrix
    within one of the budgets below. The default loses nothing; int8 is what `gpt2xl.load("gpt2-xl")` makes."""
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
    max_kl: float | None = None
    """Budget of auto: mean KL divergence from the checkpoint on held-out text, in nats."""
    max_size: int | None = None
    """Budget of auto: bytes of the bundle."""
    max_perplexity_loss: float | None = None
    """Budget of auto: increase of the perplexity of held-out text, in percent, with its standard error."""

    text: bool = False
    """Whether to add the text graphs, which hold the whole generation."""
    one_file: OneFile = "none"
    """Which text graph holds the weights itself, so that its file alone suffices; below 2 GB."""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("precision", (*RECIPES, AUTO)),
            ("kv", get_args(KV)),
            ("backend", get_args(Backend)),
            ("rounding", get_args(Rounding)),
            ("one_file", get_args(OneFile)),
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
        self._check_budget()
        if self.one_file != "none" and not self.text:
            raise RequestError("one_file is about a text graph: set text as well.")
        if self.recipe.float16 and (self.keep or self.kv == "int8"):
            raise RequestError(
                f"{self.precision} cannot be combined with keep rules or an int8 KV cache."
            )
        if self.recipe.long_steps and (
            self.kv == "float" or self.block_size != ExportOptions.block_size
        ):
            raise RequestError(
                f"{self.precision} has an int8 KV cache and block sizes of its own: leave out kv and block_size,"
                " or take int4."
            )
        if self.backend == "optimum" and self._is_changed():
            raise RequestError("the optimum backend only makes fp32 and takes no other option.")

    def _check_budget(self) -> None:
        budgets = self._budgets()
        if self.precision != AUTO and budgets:
            raise RequestError(f"{budgets[0].name} needs the precision auto, not {self.precision}.")
        if self.precision == AUTO and len(budgets) != 1:
            raise RequestError(
                f"the precision auto needs one of {', '.join(UNITS)}, but got"
                f" {' and '.join(budget.name for budget in budgets) or 'none'}."
            )
        for budget in budgets:
            if not 0 < budget.limit < math.inf:
                raise RequestError(f"{budget.name} has to be above 0, but is {budget.limit}.")
        if self.precision == AUTO and (self.keep or self.block_size != ExportOptions.block_size):
            raise RequestError(
                "auto chooses formats and block sizes: leave out keep and block_size."
            )

    def _budgets(self) -> list[Budget]:
        values = ((name, getattr(self, name)) for name in UNITS)
        return [Budget(name, value) for name, value in values if value is not None]

    @property
    def budget(self) -> Budget | None:
        """What a mixed precision may cost; None where none is chosen."""
        return next(iter(self._budgets()), None)

    def with_formats(self, keep: tuple[str, ...]) -> "ExportOptions":
        """The same with the formats that were chosen within the budget."""
        return replace(
            self, precision=MIXED_BASE, keep=keep,
            max_kl=None, max_size=None, max_perplexity_loss=None,
        )  # fmt: skip

    def described(self) -> dict[str, Any]:
        """What the manifest says of them."""
        return {name: value for name, value in asdict(self).items() if name not in UNITS}

    def _is_changed(self) -> bool:
        """Whether anything but the backend is not the default; optimum's KV cache is "float" in any case."""
        plain = replace(self, backend="gpt2xl", kv="auto" if self.kv == "float" else self.kv)
        return plain != ExportOptions()

    @property
    def recipe(self) -> Recipe:
        """The recipe of the precision."""
        return RECIPES[MIXED_BASE if self.precision == AUTO else self.precision]

    @property
    def is_calibrated(self) -> bool:
        """Whether the export may run the model on calibration text."""
        formats = [self.recipe.blocks, self.kv, *(rule.partition(":")[0] for rule in self.keep)]
        return any(name.startswith("int") for name in formats)

    @property
    def tolerance(self) -> Tolerance:
        """The tolerance of the least exact part."""
        kept = [rule.partition(":")[0] for rule in self.keep]
        losses_of = [LOSSES.get("int4" if form.startswith("int4") else form) for form in kept]
        parts = [self.recipe.tolerance, *losses_of]
        parts.append(LOSSES["int8"] if self.kv == "int8" else None)
        losses = [part.mean_kl for part in parts if part is not None and part.mean_kl is not None]
        return Tolerance(mean_kl=max(losses)) if losses else self.recipe.tolerance

    def resolved(self, checkpoint: Checkpoint) -> "ExportOptions":
        """The same with "auto" decided for ``checkpoint``."""
        quantized = self.recipe.blocks.startswith("int") and not self.recipe.float16
        needs_int8 = self.recipe.long_steps is not None
        kv: KV = "int8" if needs_int8 or (quantized and has_engine(checkpoint.config)) else "float"
        has_own_blocks = self.precision == AUTO or needs_int8
        as_trained = not has_own_blocks and checkpoint.is_trained_for_int4(self.block_size)
        rounding: Rounding = "nearest" if as_trained else "gptq"
        if self.backend == "optimum":
            return replace(self, kv="float")
        return replace(
            self,
            kv=kv if self.kv == "auto" else self.kv,
            rounding=rounding if self.rounding == "auto" else self.rounding,
        )


def has_engine(config: GPT2Config) -> bool:
    """Whether GroupQueryAttention can have the head size."""
    return config.head_dim % HEAD_DIM_MULTIPLE == 0
