"""The demo in float32, here and in transformers, and prompts for both."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.processors.penalties import no_repeat_ngram, repetition_penalty
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.searches.settings import Hypothesis
from gpt2xl.sessions.opening import open_session
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.options import LoadOptions
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl_export.exporting import export

DEMO = Path(__file__).parents[2] / "models" / "demo"
TALE = (
    "Once upon a time there was a king who had a fair daughter and the old witch came to the castle and"
    " said give me the child or thou shalt lose thy kingdom but the youngest brother went out into the"
    " wide world to seek his fortune"
)
COMMA = Tokenizer.from_file(DEMO / "tokenizer.json").encode(",")
"""A frequent id, for the end of a text."""
Processing = tuple[dict[str, Any], list[LogitsProcessor]]
PROCESSING: list[Processing] = [
    ({}, []),
    ({"repetition_penalty": 1.3}, [repetition_penalty(1.3)]),
    ({"no_repeat_ngram_size": 2}, [no_repeat_ngram(2)]),
    (
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
        [repetition_penalty(1.3), no_repeat_ngram(2)],
    ),
]
"""Options of transformers, and processors that do the same."""


def prompts() -> list[list[int]]:
    """30 prompts of 1 to 47 words."""
    words, tokenizer = TALE.split(), Tokenizer.from_file(DEMO / "tokenizer.json")
    texts = (" ".join(words[number % 7 :][: 1 + number * 7 % 47]) for number in range(30))
    return [tokenizer.encode(text) for text in texts]


def exported(folder: Path) -> Session:
    """Our session."""
    export(DEMO, folder)
    return open_session(open_bundle(folder), LoadOptions(provider="cpu", threads=1))


class Peer:
    """The demo in transformers."""

    def __init__(self) -> None:
        import torch
        import transformers

        transformers.logging.set_verbosity_error()  # of what moves to the hub
        torch.set_num_threads(1)
        self._torch = torch
        model = transformers.GPT2LMHeadModel.from_pretrained(DEMO, attn_implementation="eager")
        self.model = model.float().eval()

    def generate(
        self, ids: list[int], **options: Any
    ) -> tuple[list[list[int]], npt.NDArray[np.float32]]:
        """New ids of each text, up to the first end or to the limit, and the scores of beams."""
        prompt = self._torch.tensor([ids])
        found = self.model.generate(
            prompt,
            attention_mask=self._torch.ones_like(prompt),
            do_sample=False,
            pad_token_id=COMMA[0],
            output_scores=True,
            return_dict_in_generate=True,
            **options,
        )
        texts = [until(text[len(ids) :], COMMA[0]) for text in found.sequences.tolist()]
        scores = getattr(found, "sequences_scores", None)
        return texts, np.zeros(0, np.float32) if scores is None else scores.numpy()


def until(ids: list[int], end: int) -> list[int]:
    """``ids`` before the first ``end``.

    Where a text ends earlier, transformers fills it up with the end.
    """
    return ids[: [*ids, end].index(end)]


def assert_same(got: list[Hypothesis], wanted: tuple[list[list[int]], Any]) -> None:
    """Same ids, and scores as exact as float32 is: with a length penalty of -1 they reach 600."""
    texts, scores = wanted
    assert [text.ids for text in got] == texts
    np.testing.assert_allclose([text.score for text in got], scores, rtol=2e-6, atol=1e-4)
