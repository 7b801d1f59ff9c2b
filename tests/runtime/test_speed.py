"""gpt2xl.speed: the figures are those of the calls that users make."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import gpt2xl
from gpt2xl import Gpt2xlWarning
from gpt2xl.speed import Speed, SpeedSizes, measure_speed

NOISE = 3.0  # how much a busy machine may change a figure


@pytest.fixture(scope="module")
def make_wide(make_bundle: Callable[..., Path]) -> Callable[[str], Path]:
    """Call it with a precision for a bundle with a context of 128 tokens."""

    def make(precision: str) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Gpt2xlWarning)  # int4 loses much on random weights
            return make_bundle({"n_positions": 128, "n_embd": 128, "n_head": 2}, precision)

    return make


def rate_of(model: gpt2xl.Model, rows: int, new_tokens: int) -> float:
    """New tokens a second of `generate_batch`; the better of two."""
    prompts = [[number % 200] * 32 for number in range(rows)]
    rates = []
    for _ in range(2):
        start = time.perf_counter()
        options = {"max_new_tokens": new_tokens, "ignore_eos": True, "seed": 1}
        texts = dict(model.generate_batch(prompts, rows=rows, **options))  # type: ignore[arg-type]
        tokens = sum(len(text.new_ids) for text in texts.values())
        rates.append(tokens / (time.perf_counter() - start))
    return max(rates)


@pytest.mark.filterwarnings("ignore:texts are generated one after the other")
@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_batches_are_as_fast_as_generate_batch(
    make_wide: Callable[[str], Path], precision: str
) -> None:
    folder = make_wide(precision)
    sizes = SpeedSizes(prompt_tokens=(32,), rows=(16,), new_tokens=32)
    measured = max(
        speed.value
        for _ in range(2)
        for speed in measure_speed(folder, sizes=sizes)
        if speed.name == "batch"
    )
    own = rate_of(gpt2xl.load(folder), 16, 32)
    assert own / NOISE < measured < own * NOISE


@pytest.mark.filterwarnings("ignore:texts are generated one after the other")
def test_texts_that_do_not_share_steps_gain_nothing_from_rows(
    make_wide: Callable[[str], Path],
) -> None:
    folder = make_wide("int4")
    assert not gpt2xl.load(folder).shares_steps
    sizes = SpeedSizes(prompt_tokens=(32,), rows=(1, 16), new_tokens=32)
    speeds = {(s.name, s.size): s.value for s in measure_speed(folder, sizes=sizes)}
    assert speeds["batch", 16] < NOISE * speeds["batch", 1]


def test_the_figures_are_the_announced_ones(make_bundle: Callable[..., Path]) -> None:
    sizes = SpeedSizes(prompt_tokens=(20, 9, 200), rows=(2, 1), new_tokens=4)
    speeds = list(measure_speed(make_bundle({"n_positions": 64}), sizes=sizes))
    assert [(speed.name, speed.size) for speed in speeds] == sizes.within(64).figures
    assert [speed.label for speed in speeds] == [
        "load", "prefill, 9 tokens", "decode, after 9 tokens", "prefill, 20 tokens",
        "decode, after 20 tokens", "peak memory, 1 text", "batch, 1 text", "batch, 2 texts",
        "peak memory, 2 texts",
    ]  # fmt: skip
    assert all(speed.value > 0 for speed in speeds)


def test_a_context_too_short_to_decode_leaves_load_and_memory(
    make_bundle: Callable[..., Path],
) -> None:
    names = [speed.name for speed in measure_speed(make_bundle({"n_positions": 64}))]
    assert names == ["load", "peak memory"]


@pytest.mark.parametrize(
    ("name", "value"), [("prompt_tokens", (0,)), ("rows", (4, 0)), ("new_tokens", 1)]
)
def test_sizes_out_of_their_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(gpt2xl.RequestError, match=name):
        SpeedSizes(**{name: value})  # type: ignore[arg-type]


def test_memory_grows_with_the_rows(make_bundle: Callable[..., Path]) -> None:
    sizes = SpeedSizes(prompt_tokens=(9,), rows=(4,), new_tokens=2)
    speeds = list(measure_speed(make_bundle(), sizes=sizes))
    memory = [speed for speed in speeds if speed.name == "peak memory"]
    assert [speed.size for speed in memory] == [1, 4]
    assert memory[0].value <= memory[1].value


def test_labels_name_one_row() -> None:
    assert Speed("batch", 1, 5.0, "tokens/s").label == "batch, 1 text"
    assert Speed("load", None, 5.0, "s").label == "load"
