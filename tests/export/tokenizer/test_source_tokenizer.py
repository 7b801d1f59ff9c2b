"""What a folder's tokenizer files mean together: ids worked out by hand, no transformers needed.

tests/transformers compares a grid of such folders with transformers itself.
"""

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import models

from gpt2xl import CheckpointError, Gpt2xlWarning, Tokenizer
from gpt2xl.text.tokenizer import byte_alphabet
from gpt2xl_export.tokenizer.source_tokenizer import (
    SourceTokenizer,
    check_ids,
    read_source_tokenizer,
)

Make = Callable[..., Path]
BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "</s>"}
NO_TEXT = {
    "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "pair": [],
    "special_tokens": {"x": {"id": "x", "ids": [0], "tokens": ["x"]}},
}  # fmt: skip
GENERIC = {"tokenizer_class": "PreTrainedTokenizerFast"}


def vocabulary(*special: str) -> dict[str, int]:
    """Special tokens from id 0 on, then byte b at len(special) + b."""
    characters = {byte: character for character, byte in byte_alphabet().items()}
    tokens = [*special, *(characters[byte] for byte in range(256))]
    return {token: token_id for token_id, token in enumerate(tokens)}


def spelled(text: str, special: int) -> list[int]:
    """Ids of the bytes of ``text``."""
    return [special + byte for byte in text.encode()]


def flags(content: str, **stated: Any) -> dict[str, Any]:
    """An added token as JSON files have it."""
    return {"content": content, "lstrip": False, "rstrip": False, "single_word": False} | stated


@pytest.fixture
def vocab_and_merges(tmp_path: Path) -> Make:
    """Call it with special tokens, tokenizer_config.json and other files for a folder."""

    def make(
        *special: str, settings: object = None, merges: str = "#version: 0.2\n", **files: Any
    ) -> Path:
        (tmp_path / "merges.txt").write_text(merges, "utf-8")
        files = {"vocab": vocabulary(*special), "tokenizer_config": settings or {}} | files
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content), "utf-8")
        return tmp_path

    return make


@pytest.fixture
def tokenizer_json(tmp_path: Path) -> Make:
    """Call it with special tokens, tokenizer_config.json and parts of tokenizer.json for a folder."""

    def make(*special: str, settings: object = None, **parts: Any) -> Path:
        vocab = vocabulary(*special)
        listed = [{"id": vocab[t], **flags(t, normalized=False, special=True)} for t in special]
        content = {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": listed,
            "normalizer": None, "pre_tokenizer": BYTE_LEVEL, "post_processor": BYTE_LEVEL,
            "decoder": BYTE_LEVEL, "model": {"type": "BPE", "vocab": vocab, "merges": []},
        } | parts  # fmt: skip
        (tmp_path / "tokenizer.json").write_text(json.dumps(content), "utf-8")
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings or {}), "utf-8")
        return tmp_path

    return make


def read(folder: Path) -> SourceTokenizer:
    return read_source_tokenizer(folder, 64)


def encode(folder: Path, text: str) -> list[int]:
    """The ids of ``text`` by the tokenizer.json that a bundle gets."""
    return Tokenizer(read(folder).json).encode(text)


def test_the_two_files_of_gpt2_are_a_whole_tokenizer(vocab_and_merges: Make) -> None:
    vocab = vocabulary("<|endoftext|>") | {"Ġt": 257, "he": 258, "Ġthe": 259}
    folder = vocab_and_merges(vocab=vocab, merges="#version: 0.2\nĠ t\nh e\nĠt he\n")
    assert encode(folder, "the the<|endoftext|>") == [1 + ord("t"), 258, 259, 0]
    assert Tokenizer(read(folder).json).decode([259, 0]) == " the<|endoftext|>"


def test_the_files_may_come_from_windows(vocab_and_merges: Make) -> None:
    vocab = vocabulary("<|endoftext|>") | {"he": 257}
    folder = vocab_and_merges(vocab=vocab)
    (folder / "merges.txt").write_bytes(b"#version: 0.2\r\nh e\r\n")
    assert encode(folder, "he") == [257]


@pytest.mark.parametrize(
    ("merges", "warned"),
    [("h e\nh i\n", "line 1 is not `#version` and is ignored"),
     ("#version: 0.2\nh i\nh e", "the last line has no newline and is ignored")],
)  # fmt: skip
def test_a_merge_that_transformers_leaves_out_is_named(
    vocab_and_merges: Make, merges: str, warned: str
) -> None:
    vocab = vocabulary("<|endoftext|>") | {"he": 257, "hi": 258}
    with pytest.warns(Gpt2xlWarning, match=rf"{warned}.*'h e'"):
        assert encode(vocab_and_merges(vocab=vocab, merges=merges), "hehi") == [
            *spelled("he", 1),
            258,
        ]


def test_a_byte_order_mark_before_the_version_is_none_of_its_merges(vocab_and_merges: Make) -> None:
    vocab = vocabulary("<|endoftext|>") | {"he": 257}
    folder = vocab_and_merges(vocab=vocab, merges="\ufeff#version: 0.2\nh e\n")
    assert encode(folder, "he") == [257]


def test_padding_and_truncation_of_a_training_script_are_dropped(tokenizer_json: Make) -> None:
    padding = {
        "strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1,
        "pad_type_id": 0, "pad_token": "<pad>",
    }  # fmt: skip
    truncation = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    folder = tokenizer_json("<|endoftext|>", "<pad>", padding=padding, truncation=truncation)
    assert encode(folder, "long") == spelled("long", 2)
    assert read(folder).settings["pad_token"] == "<pad>"
    assert (read(folder).content["padding"], read(folder).content["truncation"]) == (None, None)


def test_add_bos_token_begins_a_text_of_vocab_and_merges(vocab_and_merges: Make) -> None:
    folder = vocab_and_merges("<s>", "</s>", settings={**NAMES, "add_bos_token": True})
    assert encode(folder, "Hi") == [0, *spelled("Hi", 2)]
    assert encode(folder, "") == [0]


def test_add_bos_token_does_nothing_beside_a_tokenizer_json(tokenizer_json: Make) -> None:
    folder = tokenizer_json("<s>", "</s>", settings={**NAMES, "add_bos_token": True})
    assert encode(folder, "Hi") == spelled("Hi", 2)


def test_a_post_processor_is_kept(tokenizer_json: Make) -> None:
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                   {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for i, t in enumerate(("<s>", "</s>"))},
    }  # fmt: skip
    folder = tokenizer_json("<s>", "</s>", settings=NAMES, post_processor=template)
    assert encode(folder, "Hi") == [0, *spelled("Hi", 2), 1]


@pytest.mark.parametrize("kind", ["GPT2Tokenizer", None])
def test_a_space_before_the_text_is_what_tokenizer_config_says(
    tokenizer_json: Make, kind: str | None
) -> None:
    settings = {"add_prefix_space": True, "tokenizer_class": kind}
    folder = tokenizer_json("<|endoftext|>", settings=settings)
    assert encode(folder, "king") == spelled(" king", 1)
    assert read(folder).settings["add_prefix_space"] is True  # else transformers 4 takes it back


def test_a_space_that_only_tokenizer_json_adds_is_not_added(tokenizer_json: Make) -> None:
    spaced = BYTE_LEVEL | {"add_prefix_space": True}
    folder = tokenizer_json("<|endoftext|>", pre_tokenizer=spaced)
    assert encode(folder, "king") == spelled("king", 1)
    (folder / "tokenizer_config.json").write_text(json.dumps(GENERIC))
    with pytest.warns(
        Gpt2xlWarning, match="add_prefix_space true, tokenizer_config.json means fal"
    ):
        assert encode(folder, "king") == spelled("king", 1)


def test_special_tokens_of_the_vocabulary_are_one_id_each(vocab_and_merges: Make) -> None:
    mask = flags("<mask>", lstrip=True, normalized=False)
    folder = vocab_and_merges(
        "<s>", "<pad>", "</s>", "<mask>", "<x>", settings={**NAMES, "pad_token": "<pad>"},
        special_tokens_map={"mask_token": mask},
    )  # fmt: skip
    assert encode(folder, "<s>a  <mask> b<pad>") == [0, ord("a") + 5, 3, *spelled(" b", 5), 1]
    assert encode(folder, "<x>") == spelled("<x>", 5)  # named by no file


@pytest.mark.parametrize("layout", ["vocab_and_merges", "tokenizer_json"])
def test_added_tokens_decoder_counts_in_either_layout(
    layout: str, request: pytest.FixtureRequest
) -> None:
    decoder = {
        "0": flags("<|endoftext|>", normalized=False, special=True),
        "257": flags("<|user|>", normalized=False, special=True, rstrip=True),
        "258": flags("word", single_word=True, normalized=True, special=False),
    }
    settings = {"added_tokens_decoder": decoder, "additional_special_tokens": ["<|user|>"]}
    folder = request.getfixturevalue(layout)("<|endoftext|>", settings=settings)
    assert encode(folder, "<|user|>  Hi") == [257, *spelled("Hi", 1)]
    assert encode(folder, "a word, wordy") == [*spelled("a ", 1), 258, *spelled(", wordy", 1)]
    assert read(folder).settings["additional_special_tokens"] == ["<|user|>"]


@pytest.mark.parametrize("layout", ["vocab_and_merges", "tokenizer_json"])
def test_added_tokens_json_counts_in_either_layout(
    layout: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(layout)("<|endoftext|>")
    (folder / "added_tokens.json").write_text('{"<|reply|>": 258, "<|user|>": 257}')
    (folder / "special_tokens_map.json").write_text('{"pad_token": "<|user|>"}')
    assert encode(folder, "<|user|>x<|reply|>") == [257, *spelled("x", 1), 258]
    special = {t["content"]: t["special"] for t in read(folder).content["added_tokens"]}
    assert special == {"<|endoftext|>": True, "<|user|>": True, "<|reply|>": False}


def test_what_transformers_5_saves_is_read(tokenizer_json: Make) -> None:
    settings = {"extra_special_tokens": ["<|user|>"], "tokenizer_class": "TokenizersBackend"}
    folder = tokenizer_json("<|endoftext|>", settings=settings)
    assert encode(folder, "<|user|>x") == [257, *spelled("x", 1)]


def test_a_generic_class_has_no_end_of_text_of_its_own(tokenizer_json: Make) -> None:
    folder = tokenizer_json("<s>", settings={**GENERIC, "bos_token": "<s>"})
    assert [token["content"] for token in read(folder).content["added_tokens"]] == ["<s>"]
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<s>"}')
    assert encode(folder, "<|endoftext|>") == [257]  # GPT2Tokenizer's unk_token, a new token


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
def test_what_is_left_out_is_named(vocab_and_merges: Make, key: str, value: object) -> None:
    with pytest.warns(Gpt2xlWarning, match=key):
        read(vocab_and_merges("<|endoftext|>", settings={key: value}))


def test_random_merges_are_left_out(tokenizer_json: Make) -> None:
    model = {"type": "BPE", "dropout": 0.5, "merges": [["a", "b"]]}
    folder = tokenizer_json(model=model | {"vocab": vocabulary() | {"ab": 256}})
    with pytest.warns(Gpt2xlWarning, match="dropout"):
        tokenizer = Tokenizer(read(folder).json)
    assert {tuple(tokenizer.encode("ab")) for _ in range(50)} == {(256,)}


def test_the_settings_of_a_bundle_change_no_id(tokenizer_json: Make) -> None:
    settings = {
        "tokenizer_class": "GPT2Tokenizer", "model_max_length": 32, "add_bos_token": True, "padding_side": "left",
        "clean_up_tokenization_spaces": True, "chat_template": "{{ x }}", "pad_token": flags("<pad>"),
    }  # fmt: skip
    folder = tokenizer_json("<|endoftext|>", settings=settings)
    assert read(folder).settings == {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 32,
        "clean_up_tokenization_spaces": False, "model_input_names": ["input_ids", "attention_mask"], "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>", "pad_token": "<pad>", "padding_side": "left", "chat_template": "{{ x }}",
    }  # fmt: skip
    (folder / "chat_template.jinja").write_text("{{ y }}")
    assert read(folder).settings["chat_template"] == "{{ y }}"


@pytest.mark.parametrize("longest", [10**30, 0, -1, True, None, "64"])
def test_a_bundle_announces_no_longer_texts_than_its_model_takes(
    tokenizer_json: Make, longest: object
) -> None:
    folder = tokenizer_json("<|endoftext|>", settings={"model_max_length": longest})
    assert read(folder).settings["model_max_length"] == 64


def test_reading_what_was_written_gives_the_same(vocab_and_merges: Make, tmp_path: Path) -> None:
    settings = {**NAMES, "add_bos_token": True, "add_prefix_space": True}
    first = read(vocab_and_merges("<s>", "</s>", settings=settings))
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "tokenizer.json").write_text(first.json, "utf-8")
    (bundle / "tokenizer_config.json").write_text(json.dumps(first.settings), "utf-8")
    assert read(bundle) == first


@pytest.mark.parametrize("content", [b"{}", b"", b"\xff", b"[]", b"[" * 100_000])
def test_a_broken_tokenizer_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("decoder", {"type": "WordPiece", "prefix": "##", "cleanup": True}, "its decoder is WordPiece"),
        ("pre_tokenizer", None, "it has no pre_tokenizer"),
        ("post_processor", NO_TEXT, "does not take the text as it is"),
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


def test_what_the_library_says_of_merges_is_said_of_the_files(vocab_and_merges: Make) -> None:
    folder = vocab_and_merges("<|endoftext|>", merges="#version: 0.2\nthis that\n")
    with pytest.raises(CheckpointError) as refused:
        read(folder)
    assert str(refused.value) == (
        f"'{folder / 'vocab.json'}' and '{folder / 'merges.txt'}' are no BPE: Token `this` out of"
        " vocabulary"
    )


@pytest.mark.parametrize("value", [7, {"content": None}, ["<s>"]])
def test_a_special_token_that_is_none_is_shown(vocab_and_merges: Make, value: object) -> None:
    folder = vocab_and_merges("<|endoftext|>", settings={"eos_token": value})
    with pytest.raises(CheckpointError) as refused:
        read(folder)
    assert str(refused.value) == (
        f"'{folder}': eos_token in tokenizer_config.json or special_tokens_map.json has to be a"
        f" string or an object with content, but is {value}."
    )


def test_of_a_token_that_is_named_twice_the_first_mention_counts(vocab_and_merges: Make) -> None:
    stripping = flags("[X]", lstrip=True, normalized=False)
    folder = vocab_and_merges("[X]", "</s>", settings={**NAMES, "bos_token": "</s>", "eos_token": stripping, "pad_token": "[X]"})  # fmt: skip
    assert encode(folder, "a [X]") == [ord("a") + 2, 0]
    folder = vocab_and_merges("[X]", "</s>", settings={**NAMES, "bos_token": "</s>", "eos_token": "[X]", "pad_token": stripping})  # fmt: skip
    assert encode(folder, "a [X]") == [*spelled("a ", 2), 0]


def test_other_models_than_bpe_are_refused(tmp_path: Path) -> None:
    other = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    other.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"tokenizer\.json'.*its model is WordLevel"):
        read(tmp_path)


def test_a_regular_expression_that_backtracks_without_end_is_refused(tokenizer_json: Make) -> None:
    split = {
        "type": "Split",
        "pattern": {"Regex": r"(\w+\s?)+\d\d$"},
        "behavior": "Isolated",
        "invert": False,
    }
    folder = tokenizer_json("<|endoftext|>", pre_tokenizer=split)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json'.*backtracks without end"):
        read(folder)


def test_no_tokenizer_at_all_is_refused(tmp_path: Path) -> None:
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
def test_an_id_that_the_model_does_not_have_is_named(
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


def test_a_padding_token_without_an_embedding_is_let_through_with_a_word(
    vocab_and_merges: Make,
) -> None:
    folder = vocab_and_merges("<|endoftext|>", settings={"pad_token": "[PAD]"})
    with pytest.warns(Gpt2xlWarning, match=r"no embedding for the added '\[PAD\]' \(257\)"):
        check_ids(read(folder), folder, 257)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_ids(read(folder), folder, 258)


def test_a_special_token_without_end_is_refused_at_once(vocab_and_merges: Make) -> None:
    folder = vocab_and_merges("<|endoftext|>", settings={"eos_token": "x" * 1_000_000})
    with pytest.raises(CheckpointError, match="an added token has more than 10000 characters"):
        read(folder)
