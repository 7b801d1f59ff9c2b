"""The keys of a PEFT adapter_config.json that decide how the adapter changes weights."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gpt2xl.bundle.hints import ADAPTER_CONFIG
from gpt2xl.errors import CheckpointError
from gpt2xl.files.json_values import read_json
from gpt2xl_export.source.tensor_files import refuse_pointer

Number = TypeVar("Number", int, float)
ELSEWHERE = "merge it with PEFT's merge_and_unload and export the saved model"

# Options that do not change that PEFT 0.21 computes W + scaling * B A. Others that are switched on
# (use_dora, lora_bias, alora_invocation_tokens, options of a later PEFT) may change it.
_KNOWN = {
    "alpha_pattern", "auto_mapping", "corda_config", "ensure_weight_tying", "eva_config",
    "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_ga_config", "megatron_config", "modules_to_save",
    "r", "rank_pattern", "runtime_config", "target_modules", "use_rslora",
}  # fmt: skip
# Initializations that do not change the weights of the base model, as PiSSA and others do.
_INITS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
# A module name or a simple pattern; nothing that could backtrack for long.
_PATTERN = re.compile(r"[\^\w.\\$-]+(?:[*+][\^\w.\\$-]*){0,3}", re.ASCII)


@dataclass(frozen=True)
class LoraConfig:
    """What is needed to merge, under PEFT's names."""

    path: Path
    base_model_name_or_path: str
    r: int
    lora_alpha: float
    use_rslora: bool
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]
    modules_to_save: tuple[str, ...]
    ensure_weight_tying: bool

    def rank(self, module: str) -> int:
        """The rank of A and B of ``module``, such as `transformer.h.0.attn.c_attn`."""
        return _matching(self.rank_pattern, module, self.r)

    def scaling(self, module: str) -> float:
        """The factor of B A: alpha / r, or alpha / sqrt(r) in rank-stabilized LoRA."""
        alpha, rank = _matching(self.alpha_pattern, module, self.lora_alpha), self.rank(module)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)

    def is_saved_whole(self, module: str) -> bool:
        """Whether the adapter has its own copy of ``module``, as modules_to_save says."""
        return module.endswith(self.modules_to_save)


def read_lora_config(folder: Path) -> LoraConfig:
    """Read the config of the adapter in ``folder``.

    Raises:
        CheckpointError: there is none, it is not LoRA's, or an option is not supported.
    """
    path = folder / ADAPTER_CONFIG
    refuse_pointer(path)
    content = read_json(path, CheckpointError)
    if (kind := content.get("peft_type")) != "LORA":
        raise CheckpointError(
            f"'{path}' has peft_type {kind!r}; only 'LORA' is supported: {ELSEWHERE}."
        )
    for key, value in content.items():
        if value and isinstance(value, bool | dict | list) and key not in _KNOWN:
            raise CheckpointError(f"'{path}' has {key}, which is not supported: {ELSEWHERE}.")
    init = content.get("init_lora_weights")
    if init not in _INITS:
        raise CheckpointError(
            f"'{path}' has init_lora_weights {init!r}, which changes the base model: {ELSEWHERE}."
        )
    try:
        return _parsed(path, content)
    except (TypeError, ValueError) as reason:
        raise CheckpointError(f"'{path}': {reason}") from None


def _parsed(path: Path, content: dict[str, Any]) -> LoraConfig:
    base, saved = content.get("base_model_name_or_path"), content.get("modules_to_save") or []
    if not isinstance(saved, list) or not all(isinstance(name, str) and name for name in saved):
        raise ValueError(f"modules_to_save cannot be {saved!r}.")
    ranks, alphas = (_patterns(content, key) for key in ("rank_pattern", "alpha_pattern"))
    return LoraConfig(
        path,
        base_model_name_or_path=base if isinstance(base, str) else "",
        r=_rank("r", content.get("r", 8)),
        lora_alpha=_number("lora_alpha", content.get("lora_alpha", 8)),
        use_rslora=_flag(content, "use_rslora"),
        rank_pattern={key: _rank("rank_pattern", value) for key, value in ranks.items()},
        alpha_pattern={key: _number("alpha_pattern", value) for key, value in alphas.items()},
        modules_to_save=tuple(saved),
        ensure_weight_tying=_flag(content, "ensure_weight_tying"),
    )


def _rank(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} has to be a positive integer, but is {value!r}.")
    return value


def _number(name: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9:
        return float(value)
    raise ValueError(f"{name} has to be a number, but is {value!r}.")  # NaN, too


def _flag(content: dict[str, Any], name: str) -> bool:
    value = content.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name} has to be true or false, but is {value!r}.")
    return value


def _patterns(content: dict[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{name} has to be an object, but is {found!r}.")
    for key in found:
        try:
            if len(key) > 200 or not _PATTERN.fullmatch(key):
                raise re.error("not a plain pattern")
            re.compile(key)
        except re.error:
            raise ValueError(f"the {name} {key!r} is not supported: {ELSEWHERE}.") from None
    return found


def _matching(patterns: Mapping[str, Number], module: str, default: Number) -> Number:
    """The value of the first pattern that matches ``module`` or its end, as in PEFT's get_pattern_key."""
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default
