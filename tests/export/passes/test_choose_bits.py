"""Two sets of weights in one graph: which one a step takes, and that both share a cache."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gpt2xl import CheckpointError, RequestError
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.opening import open_session
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.options import LoadOptions
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.verification.contract import check_ports, read_graph

IDS = np.random.default_rng(0).integers(0, 280, (1, 60))
MakeCheckpoint = Callable[..., Path]


def opened(bundle: Path, *, exact_prompts: bool = False) -> Session:
    return open_session(
        open_bundle(bundle), LoadOptions(provider="cpu", exact_prompts=exact_prompts)
    )


def logits(session: Session, steps: tuple[int, ...], rows: int = 1) -> npt.NDArray[np.float32]:
    """Of every position of a row, one of a cache for ``rows``."""
    cache, at, found = session.new_cache(rows, capacity=64).rows(0, 1), 0, []
    for step in steps:
        found.append(session.forward(IDS[:, at : at + step], cache, keep=step))
        at += step
    return np.asarray(np.concatenate(found, 1)[0])


def error(found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> float:
    return float(np.abs(found - wanted).mean() / np.abs(wanted).mean())


@pytest.fixture
def bundles(make_bundle: Callable[..., Path]) -> Callable[[str], Path]:
    return lambda precision: make_bundle({"n_embd": 64, "n_head": 2}, precision)


def test_single_tokens_take_4_bits_and_prompts_8(bundles: Callable[[str], Path]) -> None:
    wanted = logits(opened(bundles("fp32")), (60,))
    fast = opened(bundles("fast"))
    prompt, singly = logits(fast, (60,)), logits(fast, (1,) * 60)
    assert error(prompt, wanted) < 0.5 * error(singly, wanted) < 0.2


def test_both_sets_of_weights_share_a_cache(bundles: Callable[[str], Path]) -> None:
    wanted = logits(opened(bundles("fp32")), (60,))
    fast = opened(bundles("fast"))
    singly = error(logits(fast, (1,) * 60)[40:], wanted[40:])
    after_a_prompt = error(logits(fast, (40, *(1,) * 20))[40:], wanted[40:])
    after_singles = error(logits(fast, (*(1,) * 40, 20))[40:], wanted[40:])
    assert after_a_prompt < 1.1 * singly
    assert after_singles < singly


def test_in_rows_each_step_takes_8_bits_and_depends_on_no_other_row(
    bundles: Callable[[str], Path],
) -> None:
    session = opened(bundles("fast"))
    in_rows = logits(session, (1,) * 12, rows=2)
    assert np.array_equal(logits(session, (1, 2, 8, 1), rows=5), in_rows)
    assert not np.array_equal(logits(session, (1,) * 12), in_rows)
    cache = session.new_cache(3, capacity=12)
    others = np.random.default_rng(1).integers(0, 280, (3, 12))
    others[1] = IDS[0, :12]
    for at in range(12):
        together = session.forward(others[:, [at]], cache)
    assert np.array_equal(together[1, 0], in_rows[-1])


def test_exact_prompts_take_8_bits_in_each_step(bundles: Callable[[str], Path]) -> None:
    session = opened(bundles("fast"), exact_prompts=True)
    assert not session.has_two_precisions
    singly = logits(session, (1,) * 60)
    assert np.array_equal(logits(session, (60,)), singly)
    assert np.array_equal(logits(session, (1,) * 12, rows=2), singly[:12])


def test_its_graph_has_the_inputs_of_the_contract(bundles: Callable[[str], Path]) -> None:
    found = open_bundle(bundles("fast"))
    assert found.engine
    check_ports(read_graph(found.engine), found.config, "engine")


@pytest.mark.parametrize("options", [{"kv": "float"}, {"block_size": 32}])
def test_fast_takes_no_option_that_it_decides(options: dict[str, object]) -> None:
    with pytest.raises(RequestError, match="block sizes of its own"):
        ExportOptions("fast", **options)  # type: ignore[arg-type] # of either field


def test_fast_needs_an_engine_graph(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="multiple of 8"):
        export(make_checkpoint({"n_embd": 24}), tmp_path / "out", ExportOptions("fast"))
    assert not list(tmp_path.glob("out*"))
