"""NaN in the weights ends a text with one clear error, however tokens are chosen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2xl import BundleError, Model, load
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.device_engine import DeviceEngineSession
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions

TOLD = r"onnx' gives logits that are not numbers: its weights are damaged\. `gpt2xl verify` says"


@pytest.fixture(params=["engine", "portable", "device"])
def damaged(request: pytest.FixtureRequest, make_foreign: Callable[[], Path]) -> Model:
    """A model whose final layer norm has a NaN."""
    folder = make_foreign()
    if request.param == "portable":
        (folder / "onnx" / "engine.onnx").unlink()
    weights = np.fromfile(folder / "onnx" / "model.onnx_data", np.float32)
    weights[-8:] = np.nan
    weights[:8] = np.nan
    weights.tofile(folder / "onnx" / "model.onnx_data")
    model = load(folder)
    if request.param == "device":
        bundle = open_bundle(folder)
        session = DeviceEngineSession(
            open_graph(bundle.graph, "cpu", LoadOptions(threads=1)), bundle.config
        )
        model = Model(model.config, model.tokenizer, session, bundle)
    return model


WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"greedy": True},
    "a few": {"top_k": 3, "seed": 1},
    "all": {"top_k": 0, "seed": 1},
    "without lookup": {"prompt_lookup": False, "seed": 1},
}


@pytest.mark.parametrize("way", WAYS)
def test_one_text(damaged: Model, way: str) -> None:
    with pytest.raises(BundleError, match=TOLD):
        damaged.generate("Once upon a time", **WAYS[way])


@pytest.mark.filterwarnings("ignore:texts are generated one after the other")  # no manifest
@pytest.mark.parametrize("rows", [1, 4])
def test_many_texts(damaged: Model, rows: int) -> None:
    with pytest.raises(BundleError, match=TOLD):
        list(damaged.generate_batch(["Once", "upon"], rows=rows, seed=1))


def test_as_draft_of_a_whole_model(bundle: Path, damaged: Model) -> None:
    with pytest.raises(BundleError, match=TOLD):
        load(bundle).generate("Once upon a time", draft=damaged, greedy=True, max_new_tokens=60)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_nan_or_infinite_are_refused(bundle: Path, value: float) -> None:
    session: Any = load(bundle).session
    logits = np.zeros((2, 1, 9), np.float32)
    logits[0, 0, 4] = -np.inf  # a token of probability 0 is allowed
    session.check_values(logits)
    if value == -np.inf:
        logits[1] = value
    else:
        logits[1, 0, 3] = value
    with pytest.raises(BundleError, match=TOLD):
        session.check_values(logits)
