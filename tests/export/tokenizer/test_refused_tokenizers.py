"""Tokenizer files that are refused, and those that give a warning."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tests.export.tokenizer.folders import NO_TEXT, Make, flags, read, vocabulary
from tokenizers import models

from gpt2xl import CheckpointError, Gpt2xlWarning, Tokenizer
from gpt2xl_export.tokenizer.source_tokenizer import (
    check_ids,
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"<|pad|>": 290}', "added token '<|pad|>' has id 290, but the next free id is 257:"),
        ('{"a": 257}', "added token 'a' has id 257, but the vocabulary gives it 98."),
        ('{"<|pad|>": "257"}', "'<|pad|>' cannot have id '257'"),
        ("[]", "a list"),
        ("{", "JSON"),
    ],
)
def test_added_tokens_that_do_not_follow_the_vocabulary_are_refused(
    vocab_and_merges: Make, content: str, message: str
) -> None:
    folder = vocab_and_merges("<|endoftext|>")
    (folder / "added_tokens.json").write_text(content)
    with pytest.raises(CheckpointError, match=rf"added_tokens\.json'.*{re.escape(message)}"):
        read(folder)


def test_ids_that_files_disagree_about_are_refused(tokenizer_json: Make) -> None:
    token = {"id": 300, **flags("<pad>", normalized=False, special=True)}
    folder = tokenizer_json("<|endoftext|>", added_tokens=[token])
    with pytest.raises(CheckpointError, match="'<pad>' states id 300, but gets 257"):
        read(folder)


def test_a_new_token_on_another_tokens_id_is_refused(vocab_and_merges: Make) -> None:
    vocab = {token: i + (i > 9) for token, i in vocabulary("<|endoftext|>").items()}
    with pytest.raises(CheckpointError, match="'<pad>', an added token, has the id 257 of 'ÿ'"):
        read(vocab_and_merges(vocab=vocab, settings={"pad_token": "<pad>"}))


@pytest.mark.parametrize(
    "settings",
    [
        {"added_tokens_decoder": []},
        {"added_tokens_decoder": {"x": flags("a")}},
        {"added_tokens_decoder": {"9" * 5000: flags("a")}},
        {"added_tokens_decoder": {"257": {"lstrip": True}}},
        {"added_tokens_decoder": {"257": flags("a", special=1)}},
        {"bos_token": 7},
        {"bos_token": {"content": None}},
        {"bos_token": "\ud800"},
        {"additional_special_tokens": {"a": "b"}},
        {"add_prefix_space": "yes"},
        {"add_bos_token": 1},
    ],
)
def test_settings_of_another_type_are_refused(
    vocab_and_merges: Make, settings: dict[str, object]
) -> None:
    with pytest.raises(CheckpointError) as refused:
        read(vocab_and_merges("<|endoftext|>", settings=settings))
    assert len(str(refused.value)) < 300 + len(str(vocab_and_merges))


@pytest.mark.parametrize(
    ("key", "value"),
    [("add_eos_token", True), ("split_special_tokens", True), ("auto_map", {"AutoTokenizer": ["x", None]}),
     ("fast_tokenizer_files", ["tokenizer.4.0.0.json"]), ("tokenizer_class", "RobertaTokenizer")],
)  # fmt: skip
def test_each_ignored_setting_gives_a_warning(
    vocab_and_merges: Make, key: str, value: object
) -> None:
    with pytest.warns(Gpt2xlWarning, match=key):
        read(vocab_and_merges("<|endoftext|>", settings={key: value}))


def test_dropout_is_ignored(tokenizer_json: Make) -> None:
    model = {"type": "BPE", "dropout": 0.5, "merges": [["a", "b"]]}
    folder = tokenizer_json(model=model | {"vocab": vocabulary() | {"ab": 256}})
    with pytest.warns(Gpt2xlWarning, match="dropout"):
        tokenizer = Tokenizer(read(folder).json)
    assert {tuple(tokenizer.encode("ab")) for _ in range(50)} == {(256,)}


@pytest.mark.parametrize("content", [b"{}", b"", b"\xff", b"[]", b"[" * 100_000])
def test_a_broken_tokenizer_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("decoder", {"type": "WordPiece", "prefix": "##", "cleanup": True}, "its decoder is WordPiece"),
        ("pre_tokenizer", None, "it has no pre_tokenizer"),
        ("post_processor", NO_TEXT, "does not only put tokens around the text"),
        ("added_tokens", [{"id": 0}], "not a tokenizer.json"),
        ("model", {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}, "out of vocabulary"),
        ("model", {"type": "BPE", "vocab": {"a": 0.5}, "merges": []}, "not a tokenizer.json"),
        ("model", {"type": "BPE", "vocab": {}, "merges": [], "end_of_word_suffix": "</w>"}, "'</w>'"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_is_not_gpt2s_is_refused(
    tokenizer_json: Make, part: str, value: object, message: str
) -> None:
    folder = tokenizer_json("<|endoftext|>", **{part: value})
    with pytest.raises(CheckpointError, match=rf"tokenizer\.json'.*{re.escape(message)}"):
        read(folder)


def test_a_message_of_the_library_names_the_files(vocab_and_merges: Make) -> None:
    folder = vocab_and_merges("<|endoftext|>", merges="#version: 0.2\nthis that\n")
    with pytest.raises(CheckpointError) as refused:
        read(folder)
    assert str(refused.value) == (
        f"'{folder / 'vocab.json'}' and '{folder / 'merges.txt'}' are no BPE: Token `this` out of"
        " vocabulary"
    )


def test_other_models_than_bpe_are_refused(tmp_path: Path) -> None:
    other = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    other.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"tokenizer\.json'.*its model is WordLevel"):
        read(tmp_path)


def test_a_regular_expression_that_backtracks_for_ever_is_refused(tokenizer_json: Make) -> None:
    split = {
        "type": "Split",
        "pattern": {"Regex": r"(\w+\s?)+\d\d$"},
        "behavior": "Isolated",
        "invert": False,
    }
    folder = tokenizer_json("<|endoftext|>", pre_tokenizer=split)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json'.*backtracks without end"):
        read(folder)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither tokenizer\.json nor vocab\.json and mer"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("merges", "message"), [("#version: 0.2\nthis that\n", "are no BPE"), ("#version: 0.2\na\n", "line 2")]
)  # fmt: skip
def test_merges_that_do_not_fit_are_refused(
    vocab_and_merges: Make, merges: str, message: str
) -> None:
    with pytest.raises(CheckpointError, match=rf"merges\.txt'.*{message}"):
        read(vocab_and_merges("<|endoftext|>", merges=merges))


@pytest.mark.parametrize("token_id", [257, 2**31, 2**32 - 1])
@pytest.mark.parametrize("layout", ["vocab_and_merges", "tokenizer_json"])
def test_an_id_that_the_model_does_not_have_is_refused(
    layout: str, token_id: int, request: pytest.FixtureRequest
) -> None:
    vocab = vocabulary("<|endoftext|>") | {"zz": token_id}
    model = {"type": "BPE", "vocab": vocab, "merges": []}
    parts: dict[str, Any] = {"model": model} if layout == "tokenizer_json" else {"vocab": vocab}
    folder = request.getfixturevalue(layout)("<|endoftext|>", **parts)
    with pytest.raises(CheckpointError, match=rf"'zz' has id {token_id}.*vocab_size 257"):
        check_ids(read(folder), folder, 257)


def test_two_tokens_with_one_id_are_refused(vocab_and_merges: Make) -> None:
    vocab = vocabulary("<|endoftext|>") | {"zz": 7}
    folder = vocab_and_merges(vocab=vocab)
    with pytest.raises(CheckpointError, match="'Ć' and 'zz' both have id 7"):
        check_ids(read(folder), folder, 257)


def test_a_padding_token_without_an_embedding_gives_a_warning(
    vocab_and_merges: Make,
) -> None:
    folder = vocab_and_merges("<|endoftext|>", settings={"pad_token": "[PAD]"})
    with pytest.warns(Gpt2xlWarning, match=r"no embedding for the added '\[PAD\]' \(257\)"):
        check_ids(read(folder), folder, 257)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_ids(read(folder), folder, 258)


def test_a_very_long_special_token_is_refused_at_once(vocab_and_merges: Make) -> None:
    folder = vocab_and_merges("<|endoftext|>", settings={"eos_token": "x" * 1_000_000})
    with pytest.raises(CheckpointError, match="an added token has more than 10000 characters"):
        read(folder)
