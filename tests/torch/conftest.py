"""Random models of transformers, saved by it, and the comparison of a bundle with one.

Transformers runs with eager attention: its sdpa path ignores scale_attn_weights and
scale_attn_by_inverse_layer_idx (seen in 4.57).
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.engine import EngineSession
from gpt2xl.sessions.portable import PortableSession
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions

AnySession = EngineSession | PortableSession
Logits = npt.NDArray[np.float32]
CONTEXT, NEW = 256, 200


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One thread: in models this small more of them only wait for each other."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    """Call it with config overrides (and a seed) for a random model."""
    return random_model


@pytest.fixture(scope="session")
def save(checkpoint: Path) -> Callable[..., Path]:
    """Call it with a model and a folder, to save the model by transformers, with a tokenizer."""

    def save_pretrained(model: Any, folder: Path, **options: Any) -> Path:
        model.save_pretrained(folder, **options)
        shutil.copy(checkpoint / "tokenizer.json", folder)
        return folder

    return save_pretrained


@pytest.fixture(scope="session")
def logits_of() -> Callable[[Any, list[int]], Logits]:
    """Call it with a model and ids for logits [n, vocab_size]."""
    return transformers_logits


@pytest.fixture(scope="session")
def check_bundle() -> Callable[[Path, Any, list[int]], None]:
    """Call it with a bundle, a model of transformers and prompt ids."""
    return same_text


def random_model(config: dict[str, Any], seed: int = 0) -> Any:
    """A random model in which every parameter matters: norms are not 1, biases are not 0.

    Its weights are as large as they can be with activations still around 1: with larger ones
    float32 itself is off by more than 1e-4, in transformers as in ours.
    """
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(seed)
    heads, size = config.get("n_head", 2), config.get("head_dim", 16)
    width = heads * size
    values = {"vocab_size": 289, "n_layer": 2, "n_head": heads, "n_embd": width}
    values |= {"n_positions": CONTEXT, "initializer_range": 1.2 / width**0.5}
    values |= {"attn_implementation": "eager", "bos_token_id": 286, "eos_token_id": 286} | config
    values.pop("head_dim", None)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**values)).eval()
    with torch.no_grad():
        model.transformer.wpe.weight *= 3  # else a tied head says the last token again and again
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return model


def transformers_logits(model: Any, ids: list[int]) -> Logits:
    """[n, vocab_size], by one run without a cache."""
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        return np.asarray(model(torch.tensor([ids]), use_cache=False).logits[0].numpy())


def sessions(folder: Path) -> dict[str, AnySession]:
    """Each graph of a bundle."""
    bundle = open_bundle(folder)
    found: dict[str, AnySession] = {}
    if bundle.engine is not None:
        found["engine"] = EngineSession(
            open_graph(bundle.engine, "cpu", LoadOptions(threads=1)), bundle.config
        )
    if bundle.portable is not None:
        found["portable"] = PortableSession(
            open_graph(bundle.portable, "cpu", LoadOptions(threads=1)), bundle.config
        )
    return found


def stepwise(session: AnySession, ids: list[int], size: int) -> Logits:
    """Logits, fed in steps of ``size`` tokens."""
    cache = session.new_cache()
    pieces = [ids[start : start + size] for start in range(0, len(ids), size)]
    return np.concatenate([session.forward(np.array([piece]), cache)[:, -1] for piece in pieces])


def greedy(session: AnySession, prompt: list[int]) -> tuple[list[int], Logits]:
    """NEW tokens, and the logits that each was chosen from."""
    cache = session.new_cache()
    rows = [session.forward(np.array([prompt]), cache)[:, -1]]
    ids = [int(rows[0].argmax())]
    while len(ids) < NEW:
        rows.append(session.forward(np.array([ids[-1:]]), cache)[:, -1])
        ids.append(int(rows[-1].argmax()))
    return ids, np.concatenate(rows)


def same_text(folder: Path, model: Any, prompt: list[int]) -> None:
    """Every graph generates the tokens of ``model``, whatever the size of its steps."""
    texts = set()
    for kind, session in sessions(folder).items():
        ids, logits = greedy(session, prompt)
        assert len(set(ids)) > 8, "the text is too dull to show anything"
        # Each token is the most probable one after those before it: this is greedy decoding.
        fed = prompt + ids[:-1]
        wanted = transformers_logits(model, fed)
        after = wanted[len(prompt) - 1 :]
        np.testing.assert_allclose(logits, after, rtol=0, atol=1e-4, err_msg=kind)
        assert ids == after.argmax(-1).tolist(), kind
        for size in (7, len(fed)):
            ends = [*range(size, len(fed), size), len(fed)]
            chunked = stepwise(session, fed, size)
            np.testing.assert_allclose(
                chunked, wanted[[end - 1 for end in ends]], rtol=0, atol=1e-4, err_msg=kind
            )
        texts.add(tuple(ids))
    assert len(texts) == 1
