"""What gpt2xl bench makes of the figures: a table, and the bundle to use."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.speed import Speed

NEARLY_AS_FAST = 0.9  # of the fastest bundle's tokens per second


def as_table(speeds: Sequence[Speed]) -> str:
    """One line for each figure."""
    width = max(len(speed.label) for speed in speeds)
    return "\n".join(f"  {s.label:{width}}  {s.value:10.2f} {s.unit}" for s in speeds)


def recommended(results: Mapping[str, Sequence[Speed]]) -> str:
    """Choose the bundle closest to its checkpoint among those that decode (nearly) fastest.

    Args:
        results: the figures of each bundle, by its folder.
    """
    rates = {
        folder: next(speed.value for speed in speeds if speed.name == "decode")
        for folder, speeds in results.items()
    }
    fastest = max(rates.values())
    return min((f for f, rate in rates.items() if rate >= NEARLY_AS_FAST * fastest), key=_mean_kl)


def _mean_kl(folder: str) -> float:
    """The bundle's mean KL divergence from its checkpoint; infinite if the manifest does not say."""
    manifest = open_bundle(Path(folder)).manifest
    parity = manifest.parity if manifest else {}
    figures = parity.get("engine") or parity.get("portable") or {}
    return figures["whole"].mean_kl if "whole" in figures else math.inf
