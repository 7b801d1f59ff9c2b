"""ExportOptions: what is refused, and what follows from the options."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2xl import RequestError
from gpt2xl_export.check.difference import Tolerance
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.recipes import RECIPES
from gpt2xl_export.source.checkpoint import open_checkpoint


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExportOptions("int3"), "precision has to be one of fp32, fp16, .* but is 'int3'"),
        (
            lambda: ExportOptions(kv="int4"),  # type: ignore[arg-type]
            "kv has to be one of auto, float, int8, but is 'int4'",
        ),
        (
            lambda: ExportOptions(backend="torch"),  # type: ignore[arg-type]
            "backend has to be one of gpt2xl, optimum",
        ),
        (
            lambda: ExportOptions(rounding="up"),  # type: ignore[arg-type]
            "rounding has to be one of auto, gptq, nearest",
        ),
        (lambda: ExportOptions("int4", block_size=48), "block_size .* but is 48"),
        (lambda: ExportOptions("int4", block_size=8), "block_size .* but is 8"),
        (lambda: ExportOptions("fp16", kv="int8"), "fp16 cannot be combined with"),
        (lambda: ExportOptions("fp16", keep=("fp32:*",)), "fp16 cannot be combined with"),
        (lambda: ExportOptions("auto"), "auto needs one of max_kl, .* but got none"),
        (lambda: ExportOptions("auto", max_kl=0.1, max_size=9), "but got max_kl and max_size"),
        (lambda: ExportOptions("int4", max_size=9), "max_size needs the precision auto, not int4"),
        (lambda: ExportOptions("auto", max_kl=0), "max_kl has to be above 0, but is 0"),
        (lambda: ExportOptions("auto", max_kl=0.1, block_size=32), "leave out keep and block_size"),
        (lambda: ExportOptions("auto", max_kl=0.1, keep=("fp32:*",)), "leave out keep"),
        (
            lambda: ExportOptions("auto", max_kl=0.1, backend="optimum"),
            "optimum backend only makes",
        ),
        (lambda: ExportOptions("int8", backend="optimum"), "optimum backend only makes fp32"),
        (lambda: ExportOptions(rounding="gptq", backend="optimum"), "takes no other option"),
    ],
)
def test_a_value_out_of_range_is_refused(make: Callable[[], ExportOptions], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        (ExportOptions(), Tolerance(relative_logit_diff=1e-4)),
        (ExportOptions(kv="int8"), Tolerance(mean_kl=0.1)),
        (ExportOptions(keep=("int4:h.0.*",)), Tolerance(mean_kl=0.5)),
        (ExportOptions("int4", keep=("fp32:*",)), Tolerance(mean_kl=0.5)),
        (ExportOptions("int8", keep=("int4-32:h.0.*",)), Tolerance(mean_kl=0.5)),
        (ExportOptions("auto", max_kl=0.1), Tolerance(mean_kl=0.5)),
    ],
)
def test_the_tolerance_is_that_of_the_lossiest_part(
    options: ExportOptions, tolerance: Tolerance
) -> None:
    assert options.tolerance == tolerance


@pytest.mark.parametrize(
    ("config", "options", "kv", "rounding"),
    [
        ({}, ExportOptions(), "float", "gptq"),
        ({}, ExportOptions("int8"), "int8", "gptq"),
        ({}, ExportOptions("int4-fp16"), "float", "gptq"),
        ({}, ExportOptions("int8", kv="float", rounding="nearest"), "float", "nearest"),
        ({"n_embd": 24}, ExportOptions("int8"), "float", "gptq"),  # a head size without an engine
        (
            {"int4_rounding": {"method": "nearest", "block_size": 64}},
            ExportOptions("int4"),
            "int8",
            "nearest",
        ),
    ],
)
def test_auto_is_decided_for_the_checkpoint(
    make_checkpoint: Callable[..., Path],
    config: dict[str, object],
    options: ExportOptions,
    kv: str,
    rounding: str,
) -> None:
    resolved = options.resolved(open_checkpoint(make_checkpoint(config)))
    assert (resolved.kv, resolved.rounding) == (kv, rounding)


@pytest.mark.parametrize(
    "options", [ExportOptions(backend="optimum"), *map(ExportOptions, RECIPES)], ids=str
)
def test_resolved_options_are_options_that_are_allowed(
    options: ExportOptions, checkpoint: Path
) -> None:
    resolved = options.resolved(open_checkpoint(checkpoint))
    assert resolved.kv in ("float", "int8")
    assert resolved.resolved(open_checkpoint(checkpoint)) == resolved
