"""The parity check: its figures are right, and it refuses wrong graphs."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2xl import CheckpointError, ParityError
from gpt2xl_export.check.difference import Difference, Tolerance, difference
from gpt2xl_export.check.parity import PAGE, Prompts, check_parity, prompt_runs, prompts
from gpt2xl_export.graph.engine import build_engine
from gpt2xl_export.graph.portable import build_portable
from gpt2xl_export.graph.weights import WeightsFile, externalize
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

BUILDERS = {"portable": build_portable, "engine": build_engine}
EXACT = Tolerance(relative_logit_diff=1e-4)
TEXTS = Prompts([[1, 2, 3], [200]], [5, 7] * 10)
NAN = float("nan")


def rows(*values: list[float]) -> FloatArray:
    return np.array(values, np.float32)


def checked(
    kind: str,
    built_from: Checkpoint,
    checked_with: Checkpoint,
    folder: Path,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """The report of a graph built from one checkpoint and checked with another."""
    model = BUILDERS[kind](built_from.config, built_from.load)
    with WeightsFile(folder / "model.onnx_data") as weights:
        externalize([model], weights)
    return check_parity(checked_with, {kind: model}, folder, TEXTS, EXACT, progress)


def altered(checkpoint: Checkpoint, name: str, change: Callable[[FloatArray], None]) -> Checkpoint:
    """The same checkpoint but for one tensor."""

    def load(wanted: str) -> FloatArray:
        values = checkpoint.load(wanted).copy()
        if wanted == name:
            change(values)
        return values

    return dataclasses.replace(checkpoint, load=load)


@pytest.fixture
def source(checkpoint: Path) -> Checkpoint:
    return open_checkpoint(checkpoint)


def test_equal_logits_have_no_difference() -> None:
    found = difference(rows([1, 2], [3, 4]), rows([1, 2], [3, 4]))
    assert found == Difference(0.0, 0.0, 0.0, 1.0, positions=2)


def test_the_figures_by_hand() -> None:
    # Second row: probabilities (1/4, 3/4) become (1/2, 1/2).
    found = difference(rows([8, 0], [0, np.log(3)]), rows([8, 0], [0.5, 0.5]))
    assert found.max_abs_logit_diff == pytest.approx(np.log(3) - 0.5)
    assert found.relative_logit_diff == pytest.approx((np.log(3) - 0.5) / 8)
    assert found.mean_kl == pytest.approx((0.25 * np.log(0.5) + 0.75 * np.log(1.5)) / 2)
    assert found.top1_agreement == 0.5


def test_logits_below_1_are_compared_absolutely() -> None:
    found = difference(rows([0.1, 0.2]), rows([0.1, 0.3]))
    assert found.relative_logit_diff == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("tolerance", "message"),
    [
        (
            Tolerance(relative_logit_diff=0.1),
            "it: relative_logit_diff is 0.2, the tolerance is 0.1",
        ),
        (Tolerance(mean_kl=0.2), "it: mean_kl is 0.3, the tolerance is 0.2"),
    ],
)
def test_a_figure_over_its_tolerance_is_an_error(tolerance: Tolerance, message: str) -> None:
    with pytest.raises(ParityError, match=message):
        Difference(0.5, 0.2, 0.3, 1.0).check(tolerance, "it")


def test_a_figure_at_its_tolerance_or_without_one_passes() -> None:
    Difference(0.5, 0.2, 0.3, 0.0).check(Tolerance(0.2, 0.3), "it")
    Difference(0.5, 9.0, 0.3, 0.0).check(Tolerance(mean_kl=0.3), "it")


@pytest.mark.parametrize("tolerance", [Tolerance(relative_logit_diff=9), Tolerance(mean_kl=9)])
def test_a_figure_that_is_nan_fails(tolerance: Tolerance) -> None:
    with pytest.raises(ParityError, match="is nan"):
        Difference(NAN, NAN, NAN, 1.0).check(tolerance, "it")


@pytest.mark.parametrize("where", ["expected", "got"])
def test_a_nan_logit_makes_every_figure_nan(where: str) -> None:
    good, bad = rows([1, 2]), rows([1, NAN])
    found = difference(bad, good) if where == "expected" else difference(good, bad)
    assert np.isnan([found.max_abs_logit_diff, found.relative_logit_diff, found.mean_kl]).all()


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_correct_graph_passes_whole_stepwise_and_on_a_page(
    source: Checkpoint, tmp_path: Path, kind: str
) -> None:
    report = checked(kind, source, source, tmp_path)
    assert set(report[kind]) == {"whole", "stepwise", "page"}
    for figures in report[kind].values():
        assert figures["relative_logit_diff"] < 1e-5
        assert figures["max_abs_logit_diff"] > 0, "nothing can have been compared"
        assert figures["top1_agreement"] == 1.0
    assert (report["prompts"], report["positions"]) == (3, 24)


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize(
    "change",
    [
        {"layer_norm_epsilon": 1e-2},
        {"activation_function": "gelu"},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
    ],
    ids=str,
)
def test_a_graph_of_another_config_is_refused(
    source: Checkpoint, tmp_path: Path, kind: str, change: dict[str, object]
) -> None:
    config = dataclasses.replace(source.config, **change)  # type: ignore[arg-type]
    wrong = dataclasses.replace(source, config=config)
    with pytest.raises(ParityError, match=f"the {kind} graph, whole: relative_logit_diff is"):
        checked(kind, wrong, source, tmp_path)


def test_one_wrong_value_in_any_tensor_is_found(source: Checkpoint, tmp_path: Path) -> None:
    # Tokens 1, 2, 3 and 200 at positions 0 to 2 are what TEXTS reads of the embeddings.
    for i, name in enumerate(source.tensor_names):
        folder = tmp_path / str(i)
        folder.mkdir()

        def corrupt(values: FloatArray) -> None:
            values[(1, 0) if values.ndim == 2 else 0] += 0.1

        with pytest.raises(ParityError, match="the portable graph"):
            checked("portable", altered(source, name, corrupt), source, folder)


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("value", [NAN, float("inf")])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_checkpoint_that_computes_nan_is_refused(
    source: Checkpoint, tmp_path: Path, kind: str, value: float
) -> None:
    broken = altered(source, "h.1.mlp.c_fc.weight", lambda values: values.fill(value))
    with pytest.raises(ParityError, match="is nan"):
        checked(kind, broken, broken, tmp_path)


def test_progress_counts_what_graph_and_reference_run_and_the_comparisons(
    source: Checkpoint, tmp_path: Path
) -> None:
    calls: list[tuple[int, int]] = []
    checked("portable", source, source, tmp_path, lambda done, total: calls.append((done, total)))
    size = 4 * sum(source.load(name).size for name in source.tensor_names)
    assert len(calls) == 2 * 4 + 3
    assert calls == sorted(calls)
    assert calls[-1] == (size, size)


def test_prompts_are_sentences_one_token_random_ids_and_a_page_within_the_context() -> None:
    def encode(text: str) -> list[int]:
        return list(text.encode())

    found = prompts(encode, 300, 20)
    assert len(found.short) == 4
    assert bytes(found.short[0]) == b"Once upon a time the"
    assert {len(row) for row in found.short} == {20, 1, 9}
    assert bytes(found.page) == PAGE.read_bytes()[:20]
    assert all(0 <= token < 300 for row in (*found.short, found.page) for token in row)


def test_the_page_has_no_id_that_the_model_lacks() -> None:
    def encode(text: str) -> list[int]:
        return [300 if letter == ord(";") else letter for letter in text.encode()]

    text = PAGE.read_bytes()
    found = prompts(encode, 300, len(text))
    assert b";" in text
    assert bytes(found.page) == text.replace(b";", b"")


def test_the_page_ends_in_single_tokens_and_the_rest_is_one_step() -> None:
    assert [run.steps for run in prompt_runs(TEXTS)["page"]] == [[8] + [1] * 12]
    assert [run.steps for run in prompt_runs(Prompts([], [5]))["page"]] == [[1]]


def test_a_fault_that_only_the_page_reaches_is_named(source: Checkpoint, tmp_path: Path) -> None:
    # The page alone has a token at position 10.
    wrong = altered(source, "wpe.weight", lambda values: values.__setitem__(10, 9))
    with pytest.raises(ParityError, match="the portable graph, page: relative_logit_diff is"):
        checked("portable", wrong, source, tmp_path)


def test_a_tokenizer_that_gives_no_tokens_is_refused() -> None:
    with pytest.raises(CheckpointError, match="gives no tokens"):
        prompts(lambda text: [], 100, 20)


def test_a_tokenizer_of_a_larger_vocabulary_is_refused() -> None:
    with pytest.raises(CheckpointError, match="gives id 122, but the model's vocab_size is 100"):
        prompts(lambda text: list(text.encode()), 100, 20)
