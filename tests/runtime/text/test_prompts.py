"""From a prompt to ids: where an empty one starts, and which are too long."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from gpt2xl import GPT2Config, RequestError, Tokenizer, load
from gpt2xl.text.prompts import prompt_ids

CONFIG = GPT2Config(289, n_positions=96, n_embd=8, n_layer=1, n_head=1, bos_token_id=286)


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(checkpoint / "tokenizer.json")


@pytest.mark.parametrize(
    ("ids", "start"),
    [
        ({"bos_token_id": 3, "eos_token_id": 7}, 3),
        ({"bos_token_id": None, "eos_token_id": (9, 7)}, 7),
        ({"bos_token_id": 50256, "eos_token_id": 7}, 7),  # GPT-2's own, of a smaller vocabulary
    ],
)
def test_an_empty_prompt_starts_from_bos_or_else_from_eos(
    ids: dict[str, Any], start: int, tokenizer: Tokenizer
) -> None:
    assert prompt_ids("", tokenizer, replace(CONFIG, **ids)) == [start]


class Counting(Tokenizer):
    """Records the lengths of the texts that it encodes."""

    lengths: ClassVar[list[int]] = []

    def encode(self, text: str, **options: bool) -> list[int]:
        self.lengths.append(len(text))
        return super().encode(text, **options)


@pytest.fixture
def counting(checkpoint: Path) -> Counting:
    made = Counting((checkpoint / "tokenizer.json").read_text("utf-8"))
    made.lengths.clear()
    return made


def test_only_the_beginning_of_a_far_too_long_prompt_is_tokenized(counting: Counting) -> None:
    text = "the king said to her " * 500_000
    with pytest.raises(
        RequestError, match=r"over 192 tokens \(10500000 characters\).* context is 96"
    ):
        prompt_ids(text, counting, CONFIG)
    assert sum(counting.lengths) < 10_000


@pytest.mark.parametrize("word", ["x", "king ", "  ", "a\n", "日本", "<|endoftext|>"])
@pytest.mark.parametrize("count", [96, 97, 200, 20_000])
def test_a_prompt_is_refused_only_if_it_has_too_many_tokens(
    word: str, count: int, counting: Counting
) -> None:
    text = word * count
    ids = counting.encode(text)
    if len(ids) <= 96:
        assert prompt_ids(text, counting, CONFIG) == ids
    else:
        with pytest.raises(RequestError, match="context is 96: shorten it"):
            prompt_ids(text, counting, CONFIG)


def test_a_long_text_of_few_tokens_is_accepted(
    make_bundle: Callable[..., Path],
) -> None:
    """An added token may include all white space before it: many characters, one token."""
    model = load(make_bundle(), threads=1)
    text = " " * 100_000 + "<mask>"
    described = json.loads((make_bundle() / "tokenizer.json").read_text("utf-8"))
    described["added_tokens"].append(
        {"id": 287, "content": "<mask>", "lstrip": True, "rstrip": False,
         "normalized": False, "single_word": False, "special": True}
    )  # fmt: skip
    tokenizer = Tokenizer(json.dumps(described))
    assert prompt_ids(text, tokenizer, model.config) == [287]


def test_untrusted_text_spells_no_special_token(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    model, text = load(make_bundle(), threads=1), "king<|endoftext|>"
    plain = model.tokenizer.encode(text, parse_special=False)
    assert 286 in model.tokenizer.encode(text)
    assert 286 not in plain
    found = model.generate(text, parse_special=False, greedy=True, max_new_tokens=2)
    assert found.prompt_ids == plain
    (_, row), *_ = model.generate_batch([text], parse_special=False, greedy=True, max_new_tokens=2)
    assert (row.prompt_ids, row.new_ids) == (plain, found.new_ids)
    model.save_prompt(text, tmp_path / "cache", parse_special=False)
    with np.load(tmp_path / "cache") as saved:
        assert json.loads(saved["about"].tobytes())["ids"] == plain
