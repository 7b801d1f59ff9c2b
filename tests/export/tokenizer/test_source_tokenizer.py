"""What tokenizer files mean together: ids computed by hand, without transformers.

tests/transformers compares a grid of such folders with transformers itself.
"""

import json
from pathlib import Path

import pytest
from tests.export.tokenizer.folders import (
    BYTE_LEVEL,
    GENERIC,
    NAMES,
    Make,
    encode,
    flags,
    read,
    spelled,
    vocabulary,
)

from gpt2xl import CheckpointError, Gpt2xlWarning, Tokenizer


def test_vocab_and_merges_are_enough(vocab_and_merges: Make) -> None:
    vocab = vocabulary("<|endoftext|>") | {"Ġt": 257, "he": 258, "Ġthe": 259}
    folder = vocab_and_merges(vocab=vocab, merges="#version: 0.2\nĠ t\nh e\nĠt he\n")
    assert encode(folder, "the the<|endoftext|>") == [1 + ord("t"), 258, 259, 0]
    assert Tokenizer(read(folder).json).decode([259, 0]) == " the<|endoftext|>"


def test_the_files_may_have_windows_line_ends(vocab_and_merges: Make) -> None:
    vocab = vocabulary("<|endoftext|>") | {"he": 257}
    folder = vocab_and_merges(vocab=vocab)
    (folder / "merges.txt").write_bytes(b"#version: 0.2\r\nh e\r\n")
    assert encode(folder, "he") == [257]


@pytest.mark.parametrize(
    ("merges", "warned"),
    [("h e\nh i\n", "line 1 is not `#version` and is ignored"),
     ("#version: 0.2\nh i\nh e", "the last line has no newline and is ignored")],
)  # fmt: skip
def test_a_merge_that_transformers_ignores_gives_a_warning(
    vocab_and_merges: Make, merges: str, warned: str
) -> None:
    vocab = vocabulary("<|endoftext|>") | {"he": 257, "hi": 258}
    with pytest.warns(Gpt2xlWarning, match=rf"{warned}.*'h e'"):
        assert encode(vocab_and_merges(vocab=vocab, merges=merges), "hehi") == [
            *spelled("he", 1),
            258,
        ]


def test_a_byte_order_mark_before_the_version_is_ignored(vocab_and_merges: Make) -> None:
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


def test_add_bos_token_does_nothing_with_a_tokenizer_json(tokenizer_json: Make) -> None:
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
def test_tokenizer_config_decides_on_a_space_before_the_text(
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


def test_special_tokens_of_the_vocabulary_have_one_id_each(vocab_and_merges: Make) -> None:
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


def test_a_generic_class_has_no_default_end_of_text(tokenizer_json: Make) -> None:
    folder = tokenizer_json("<s>", settings={**GENERIC, "bos_token": "<s>"})
    assert [token["content"] for token in read(folder).content["added_tokens"]] == ["<s>"]
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<s>"}')
    assert encode(folder, "<|endoftext|>") == [257]  # GPT2Tokenizer's unk_token, a new token


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
def test_model_max_length_is_at_most_that_of_the_model(
    tokenizer_json: Make, longest: object
) -> None:
    folder = tokenizer_json("<|endoftext|>", settings={"model_max_length": longest})
    assert read(folder).settings["model_max_length"] == 64


def test_reading_the_written_files_gives_the_same_tokenizer(
    vocab_and_merges: Make, tmp_path: Path
) -> None:
    settings = {**NAMES, "add_bos_token": True, "add_prefix_space": True}
    first = read(vocab_and_merges("<s>", "</s>", settings=settings))
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "tokenizer.json").write_text(first.json, "utf-8")
    (bundle / "tokenizer_config.json").write_text(json.dumps(first.settings), "utf-8")
    assert read(bundle) == first


@pytest.mark.parametrize("value", [7, {"content": None}, ["<s>"]])
def test_a_special_token_that_is_not_a_string_is_refused(
    vocab_and_merges: Make, value: object
) -> None:
    folder = vocab_and_merges("<|endoftext|>", settings={"eos_token": value})
    with pytest.raises(CheckpointError) as refused:
        read(folder)
    assert str(refused.value) == (
        f"'{folder}': eos_token in tokenizer_config.json or special_tokens_map.json has to be a"
        f" string or an object with content, but is {value}."
    )


def test_of_a_token_named_twice_the_first_mention_counts(vocab_and_merges: Make) -> None:
    stripping = flags("[X]", lstrip=True, normalized=False)
    folder = vocab_and_merges("[X]", "</s>", settings={**NAMES, "bos_token": "</s>", "eos_token": stripping, "pad_token": "[X]"})  # fmt: skip
    assert encode(folder, "a [X]") == [ord("a") + 2, 0]
    folder = vocab_and_merges("[X]", "</s>", settings={**NAMES, "bos_token": "</s>", "eos_token": "[X]", "pad_token": stripping})  # fmt: skip
    assert encode(folder, "a [X]") == [*spelled("a ", 2), 0]
