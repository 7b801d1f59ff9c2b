"""Write the features of texts: as an array of numpy, or as JSON lines."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

import numpy as np

from gpt2xl import Model, RequestError
from gpt2xl.features import Features, Pooling
from gpt2xl.files.atomic import locked, written_atomically
from gpt2xl_cli.batches.claim import refuse_existing
from gpt2xl_cli.progress import ProgressBars

ARRAY_SUFFIX = ".npy"


def is_array(out: Path) -> bool:
    """Whether ``out`` is to be an array of numpy and not JSON lines."""
    return out.suffix == ARRAY_SUFFIX


def check_shape(out: Path, texts: Sequence[str], pooling: Pooling) -> None:
    """Raise RequestError where an array cannot hold the features: texts have different numbers of tokens."""
    if is_array(out) and pooling == "none" and len(texts) != 1:
        raise RequestError(
            f"'{out}' can hold the tokens of one text only, but there are {len(texts)} texts: give --pooling mean"
            " or last, or write JSON lines."
        )


def features_of(
    model: Model, texts: Sequence[str], pooling: Pooling, *, parse_special: bool, shown: bool = True
) -> Iterator[Features]:
    """The features of one text after the other, with a progress bar.

    Raises:
        RequestError: a text that the model cannot take, with its number; or the bundle has no features.
    """
    encode = partial(model.prompt_ids, parse_special=parse_special)
    with ProgressBars(enabled=shown) as bars:
        for number, text in enumerate(texts):
            bars.show("texts", number, len(texts))
            try:
                features = model.features(encode(text), pooling=pooling)
            except RequestError as reason:
                where = f"text {number + 1} of {len(texts)}: " if len(texts) > 1 else ""
                raise RequestError(f"{where}{reason}") from None
            yield features


def write_features(
    out: Path, texts: Sequence[str], features: Iterator[Features], *, pooled: bool, force: bool
) -> None:
    """Write ``out`` as a whole or not at all.

    Args:
        out: an array [texts, n_embd], or [tokens, n_embd] of the only text where not ``pooled``; or JSON lines.
        texts: what the features are of.
        features: one array for each text.
        pooled: whether each is one vector.
        force: whether to replace ``out``.

    Raises:
        BusyError: another process is writing ``out``.
        RequestError: it exists, or is no place for a file.
        OSError: it cannot be written.
    """
    refuse_existing(out, force)
    with locked(out), written_atomically(out) as temporary:
        if is_array(out):
            with temporary.open("xb") as file:
                np.save(file, np.stack([*features]) if pooled else next(features))
        else:
            with temporary.open("x", encoding="utf-8", newline="\n") as lines:
                print_features(lines, texts, features)
        refuse_existing(out, force)  # it may have appeared meanwhile


def print_features(file: TextIO, texts: Sequence[str], features: Iterator[Features]) -> None:
    """Write one JSON object for each text: the text and its features."""
    for text, found in zip(texts, features, strict=True):
        file.write(json.dumps({"text": text, "features": found.tolist()}) + "\n")
