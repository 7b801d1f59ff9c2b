"""The demo's held-out text, and the quality of a bundle on it."""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

import gpt2xl
from gpt2xl.bundle.bundle import Bundle
from gpt2xl.decoding.logprobs import log_softmax
from gpt2xl.sessions.portable import PortableSession
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions
from gpt2xl.text.tokenizer import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

FloatArray = npt.NDArray[np.float32]


def held_out_windows(corpora: Path, tokenizer: Tokenizer, length: int) -> npt.NDArray[np.int64]:
    """The demo's held-out stories as ids, [windows, length]; an incomplete last window is left out."""
    from story_texts import END_OF_TEXT, read

    end = tokenizer.encode(END_OF_TEXT)
    texts = [text for source in read(corpora) for text in source.held_out]
    ids = [i for text in texts for i in tokenizer.encode(text) + end]
    return np.array(ids[: len(ids) // length * length]).reshape(-1, length)


def log_probabilities(bundle: Bundle, windows: npt.NDArray[np.int64]) -> list[FloatArray]:
    """Of all positions of each window, [length, vocab_size], computed by the portable graph."""
    assert bundle.portable is not None
    session = PortableSession(
        open_graph(bundle.portable, "cpu", LoadOptions(threads=0)), bundle.config
    )
    result = []
    for window in windows:
        feed = {
            **session.step_inputs(window[None], np.zeros(1, np.int64)),
            **{name: session.empty_past(1, 0) for name in session.past},
        }
        (logits,) = session.session.run(["logits"], feed)
        result.append(log_softmax(logits[0]).astype(np.float32))
    return result


def engine_log_probabilities(folder: Path, windows: npt.NDArray[np.int64]) -> list[FloatArray]:
    """As `log_probabilities`, by the graph that `gpt2xl.load` takes, with its KV cache."""
    session = gpt2xl.load(folder, provider="cpu").session
    length = windows.shape[1]
    return [
        log_softmax(
            session.forward(window[None], session.new_cache(capacity=length), keep=length)[0]
        ).astype(np.float32)
        for window in windows
    ]


def perplexity(log_probs: list[FloatArray], windows: npt.NDArray[np.int64]) -> float:
    """Exponential of the mean negative log-likelihood of a token."""
    rows = zip(log_probs, windows, strict=True)
    nll = [-lp[np.arange(len(w) - 1), w[1:]].mean(dtype=np.float64) for lp, w in rows]
    return float(np.exp(np.mean(nll)))


def mean_kl(reference: list[FloatArray], other: list[FloatArray]) -> float:
    """Mean KL(reference || other) in nats."""
    pairs = zip(reference, other, strict=True)
    return float(np.mean([(np.exp(p) * (p - q)).sum(-1).mean(dtype=np.float64) for p, q in pairs]))


def top1_agreement(reference: list[FloatArray], other: list[FloatArray]) -> float:
    """Share of positions at which the most likely token is the same."""
    pairs = zip(reference, other, strict=True)
    return float(np.mean([(p.argmax(-1) == q.argmax(-1)).mean() for p, q in pairs]))
