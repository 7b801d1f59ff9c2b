"""Which bundle gpt2xl bench recommends, and the reasons that it gives."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.speed import Speed
from gpt2xl_cli.benchmark.measured import Measured
from gpt2xl_cli.benchmark.recommendation import recommend

Make = Callable[..., Measured]


@pytest.fixture
def make_measured(make_bundle: Callable[..., Path]) -> Make:
    """Call it with a precision, decode speeds, batch speed and memory."""

    def make(
        precision: str, decode: list[float], batch: float = 50, memory: float = 100
    ) -> Measured:
        measured = Measured(precision, open_bundle(make_bundle({"n_embd": 64}, precision)))
        for rate in decode:
            measured.add(Speed("decode", 64, rate, "tokens/s"))
        measured.add(Speed("peak memory", 1, memory, "MB"))
        measured.add(Speed("batch", 8, batch, "tokens/s"))
        return measured

    return make


@pytest.mark.parametrize(
    ("exact", "rounded", "chosen"), [(95, 100, "fp32"), (50, 100, "int8"), (100, 50, "fp32")]
)
def test_the_fastest_unless_a_more_exact_one_is_nearly_as_fast(
    make_measured: Make, exact: float, rounded: float, chosen: str
) -> None:
    found = recommend([make_measured("fp32", [exact]), make_measured("int8", [rounded])])
    assert found is not None
    assert found.chosen.name == chosen


def test_the_reasons_name_speed_memory_loss_and_what_is_better_for_batches(
    make_measured: Make,
) -> None:
    exact = make_measured("fp32", [20, 21, 22], batch=90, memory=400)
    found = recommend([exact, make_measured("int8", [30, 31, 32], batch=40, memory=200)])
    assert found is not None
    speed, memory, loss, batches = found.reasons
    assert speed == "It decodes 31 tokens/s, the fastest for a single text (fp32 21 tokens/s)."
    assert memory == "It takes 200 MB of memory with one text (fp32 400 MB)."
    assert "checkpoint's at" in loss
    assert batches == "For batches use fp32: batch, 8 texts: 90.0 tokens/s (int8 40.0 tokens/s)."


def test_a_nearly_as_fast_bundle_says_why_it_is_chosen(make_measured: Make) -> None:
    found = recommend(
        [make_measured("fp32", [95, 95.5], memory=90), make_measured("int8", [100, 100.5])]
    )
    assert found is not None
    assert "at least 90% of the fastest, and closer to its checkpoint" in found.reasons[0]


@pytest.mark.parametrize("exact", [[80, 95, 97], [85, 99, 104], [99, 101, 103]])
def test_of_bundles_whose_rounds_overlap_the_more_exact_one_is_chosen(
    exact: list[float], make_measured: Make
) -> None:
    found = recommend([make_measured("int4", [96, 100, 102]), make_measured("int8", exact)])
    assert found is not None
    assert found.chosen.name == "int8"
    assert found.reasons[1] == (
        "Its rounds overlap with those of int4, so which is faster is open; it is chosen because it is closer to its"
        " checkpoint. More --repeats make this surer."
    )
    told = "not clearly slower than the fastest"
    assert (told in found.reasons[0]) == (exact[1] < 100)


def test_of_equally_exact_bundles_the_smaller_one_is_chosen(make_measured: Make) -> None:
    large, small = make_measured("int8", [96, 100, 102]), make_measured("int8", [95, 99, 101])
    large.name, small.name = "large", "small"
    large.bundle = replace(large.bundle, folder=shutil.copytree(large.bundle.folder, Path("large")))
    Path("large/more").write_bytes(bytes(9))
    found = recommend([large, small])
    assert found is not None
    assert found.chosen is small
    assert "because it is the smallest of the most exact." in found.reasons[1]


def test_one_round_is_said_to_show_no_spread(make_measured: Make) -> None:
    found = recommend([make_measured("fp32", [50]), make_measured("int8", [99])])
    assert found is not None
    assert found.reasons[1] == "One round does not show how sure that is: more --repeats do."


def test_the_loss_is_explained(make_measured: Make) -> None:
    found = recommend([make_measured("fp32", [20, 21]), make_measured("int8", [30, 31])])
    assert found is not None
    assert "nats apart (mean KL divergence; 0 is equal): " in found.reasons[2]


def test_without_decoding_nothing_is_recommended(make_measured: Make) -> None:
    assert recommend([make_measured("fp32", []), make_measured("int8", [])]) is None


def test_different_models_are_said_to_be_different(
    make_measured: Make, make_bundle: Callable[..., Path]
) -> None:
    one = make_measured("fp32", [50])
    same = recommend([one, make_measured("int8", [40])])
    other = Measured("other", open_bundle(make_bundle({"n_embd": 32}, "fp32")))
    other.add(Speed("decode", 64, 90, "tokens/s"))
    different = recommend([one, other])
    assert same and different
    assert "different models" in different.reasons[-1]
    assert not any("different models" in reason for reason in same.reasons)
