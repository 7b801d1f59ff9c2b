"""Say which exports lose more than their precision should, why, and what helps."""

from collections.abc import Iterator, Mapping
from typing import Any

PROMISED_KL = {
    "fp16": 0.001,
    "int8": 0.01,
    "int8-weight": 0.005,
    "int4": 0.1,
    "fast": 0.1,
    "int4-fp16": 0.1,
}
"""Mean KL to float32 on a page of text, in nats. Several times what it is on the demo with any outliers."""
FINER = {
    "int8": "int8-weight",
    "int8-weight": "fp32",
    "int4": "int8-weight",
    "fast": "int8-weight",
    "int4-fp16": "int8-weight",
}
"""The precision to try next, and the format in which to keep the worst matrices."""
HEADS = ("wte.weight", "lm_head.weight")
NAMED = 3
"""Matrices that a warning names."""


def losses(manifest: Mapping[str, Any]) -> Iterator[str]:
    """A warning for the worst graph of an export, if it loses more than is promised.

    Args:
        manifest: the content of gpt2xl.json.
    """
    precision, parity = manifest["precision"], manifest["parity"]
    promised = PROMISED_KL.get(precision)
    found = {k: parity[k]["page"]["mean_kl"] for k in ("portable", "engine") if k in parity}
    kind = max(found, key=found.__getitem__)
    if promised is None or found[kind] <= promised:
        return
    loss = f"{precision} loses more than usual on this model: KL {found[kind]:.2g} to float32 on a page of text"
    if precision not in FINER or "calibration" not in manifest:
        yield f"{loss}; try `-p fp32`."
        return
    errors = manifest["calibration"]["errors"]
    worst = sorted(errors, key=errors.__getitem__, reverse=True)[:NAMED]
    names = ", ".join(f"{name} ({errors[name]:.1%})" for name in worst)
    finer = FINER[precision]
    remedies = [f"`--keep '{finer}:{worst[0]}'`", f"`-p {finer}`"]
    if worst[0] in HEADS:  # in int8-weight in every recipe, so that another precision does not help
        remedies = [f"`--keep 'fp32:{worst[0]}'`"]
    if precision == "int4-fp16":  # takes no keep rules
        remedies = [f"`-p {finer}`"]
    if manifest["rounding"] == "nearest" and precision.startswith("int4"):
        remedies.insert(0, "`--rounding gptq`")
    yield f"{loss}. The least exact products are those of {names}; try {' or '.join(remedies)}."
