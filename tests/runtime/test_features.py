"""Features of a text: the last hidden state, by the exporter's forward pass in numpy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpt2xl import Model, RequestError, load
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.opening import open_session
from gpt2xl_export.reference.forward import Reference, layer_norm
from gpt2xl_export.source.checkpoint import open_checkpoint

TEXT = "Once upon a time there was a king"


def test_features_are_the_last_hidden_state(bundle: Path, checkpoint: Path) -> None:
    model, opened = load(bundle), open_checkpoint(checkpoint)
    reference, ids = Reference(opened), model.prompt_ids(TEXT)
    states = reference.embed([ids])
    for layer in range(opened.config.n_layer):
        states = reference.block(layer, states)
    norm = opened.load("ln_f.weight"), opened.load("ln_f.bias")
    wanted = layer_norm(states[0], *norm, opened.config.layer_norm_epsilon)
    found = model.features(TEXT)
    assert found.shape == (len(ids), 32)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert np.array_equal(model.features(ids), found)
    mean, last = model.features(TEXT, pooling="mean"), model.features(TEXT, pooling="last")
    np.testing.assert_allclose(mean, wanted.mean(0), atol=2e-5)
    np.testing.assert_allclose(last, wanted[-1], atol=2e-5)
    assert mean.dtype == last.dtype == np.float32


def test_features_are_causal_and_of_any_length(demo: Callable[[str], Model]) -> None:
    for precision in ("fp32", "int8"):
        model = demo(precision)
        length, width = model.config.n_positions, model.config.n_embd
        ids = model.tokenizer.encode(TEXT * length)[:length]
        whole, part = model.features(ids), model.features(ids[:300])
        assert whole.shape == (length, width)
        np.testing.assert_allclose(whole[:300], part, atol=1e-4 if precision == "fp32" else 0.2)
        assert model.features("", pooling="last").shape == (width,)


def test_features_do_not_disturb_texts(bundle: Path) -> None:
    model = load(bundle)
    stream = model.stream("Once", greedy=True, max_new_tokens=9)
    next(stream)
    model.features(TEXT)
    model.score(TEXT)
    again = model.generate("Once", greedy=True, max_new_tokens=9)
    assert stream.result().new_ids == again.new_ids


def test_what_has_no_features_is_refused(bundle: Path) -> None:
    model = load(bundle)
    with pytest.raises(
        RequestError, match="pooling has to be one of none, mean, last, but is 'max'"
    ):
        model.features(TEXT, pooling="max")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="the model's context is 96"):
        model.features([5] * 97)
    opened = replace(open_bundle(bundle), engine=None)
    portable = Model(opened.config, model.tokenizer, open_session(opened), opened)
    with pytest.raises(RequestError, match="no output 'last_hidden_state': the engine graph"):
        portable.features(TEXT)
