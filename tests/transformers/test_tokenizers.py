"""A grid of tokenizer folders: transformers with the source, with the bundle, and gpt2xl agree.

Run with transformers 4.57, whose reading of the source is the measure, and with 5, which has to
read the bundle the same way; of the source it sometimes makes something else.
"""

import itertools
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import Gpt2xlWarning, Tokenizer
from gpt2xl.text.tokenizer import byte_alphabet
from gpt2xl_export.tokenizer.plain_bpe import PlainTokenizer
from gpt2xl_export.tokenizer.source_tokenizer import SourceTokenizer, read_source_tokenizer
from gpt2xl_export.tokenizer.tokenization import check_tokenization, texts

transformers = pytest.importorskip("transformers", reason="the extra 'parity' is not installed")
BEFORE_5 = int(transformers.__version__.partition(".")[0]) < 5
MERGES = [["h", "e"], ["Ġ", "t"], ["Ġt", "he"], ["a", "a"], ["aa", "a"], ["Ġ", "Ġ"], ["Ċ", "Ċ"]]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
}  # fmt: skip
PADDING = {
    "strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1,
    "pad_type_id": 0, "pad_token": "<pad>",
}  # fmt: skip
TRUNCATION = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}


def vocabulary(holes: bool) -> dict[str, int]:
    """Five special tokens, 256 bytes and the results of merges; with holes, some ids are unused."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(byte_alphabet())]
    tokens += ["".join(pair) for pair in MERGES]
    last = {tokens[-1]: 350} if holes else {}
    return {token: token_id for token_id, token in enumerate(tokens)} | last


def token(content: str, **flags: bool) -> dict[str, Any]:
    """An added token with every flag stated."""
    known = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
    return {"content": content, **known, **flags}


def whole(vocab: dict[str, int], prefix: bool, template: bool, left: bool) -> dict[str, Any]:
    """A tokenizer.json that knows <s> and </s>."""
    return {
        "version": "1.0", "truncation": TRUNCATION if left else None, "padding": PADDING if left else None,
        "added_tokens": [{"id": vocab[t], **token(t, special=True)} for t in ("<s>", "</s>")],
        "normalizer": None, "pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": prefix},
        "post_processor": TEMPLATE if template else BYTE_LEVEL | {"trim_offsets": False},
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, "vocab": vocab, "merges": MERGES,
        },
    }  # fmt: skip


def named_in(place: str, vocab: dict[str, int]) -> dict[str, dict[str, Any]]:
    """The files, by name, that say which tokens are special."""
    following = len(vocab)
    added = {"<|user|>": following, "word": following + 1}
    flags = token("<mask>", lstrip=True)
    typed = {"__type": "AddedToken", **flags}
    decoder = {vocab[t]: token(t, special=True) for t in SPECIAL.values()}
    decoder |= {vocab["<mask>"]: flags | {"special": True}}
    decoder |= {
        following: token("<|user|>", special=True, rstrip=True),
        following + 1: token("word", special=False, single_word=True, normalized=True),
    }
    places: dict[str, dict[str, dict[str, Any]]] = {
        "nowhere": {"tokenizer_config": {}},
        "tokenizer_config": {"tokenizer_config": {**SPECIAL, "mask_token": typed}},
        "added_tokens_decoder": {
            "tokenizer_config": {
                **SPECIAL, "mask_token": "<mask>", "additional_special_tokens": ["<|user|>"],
                "added_tokens_decoder": {str(i): t for i, t in decoder.items()},
            }
        },
        "special_tokens_map": {"tokenizer_config": {}, "special_tokens_map": {**SPECIAL, "mask_token": flags}},
        "added_tokens": {
            "tokenizer_config": SPECIAL,
            "special_tokens_map": {**SPECIAL, "additional_special_tokens": ["<|user|>"]},
            "added_tokens": added,
        },
        "twice": {"tokenizer_config": {**SPECIAL, "unk_token": typed, "pad_token": "<mask>", "mask_token": typed | {"lstrip": False}}},
        "twice, later with flags": {"tokenizer_config": {**SPECIAL, "unk_token": "<mask>", "pad_token": typed}},
    }  # fmt: skip
    return places[place]


def folders(parent: Path, layout: str, place: str) -> Iterator[tuple[str, Path]]:
    """Every folder of the grid with this layout and these special tokens, and a name for it."""
    numbers = itertools.count()
    for prefix, bos, holes, left, kind in itertools.product(
        ("no", "config", "file"), ("no", "add_bos_token", "template"), (False, True), (False, True),
        ("GPT2Tokenizer", "PreTrainedTokenizerFast", None),
    ):  # fmt: skip
        if layout == "vocab" and (
            prefix == "file" or bos == "template" or left or kind == "PreTrainedTokenizerFast"
        ):
            continue  # there is nowhere to say so
        folder = parent / str(next(numbers))
        folder.mkdir()
        vocab = vocabulary(holes)
        files: dict[str, Any] = json.loads(json.dumps(named_in(place, vocab)))
        files["config"] = {"model_type": "gpt2", "vocab_size": 400}
        settings = files["tokenizer_config"]
        settings |= {"tokenizer_class": kind} if kind else {}
        settings |= {"add_prefix_space": True} if prefix == "config" else {}
        settings |= {"add_bos_token": True} if bos == "add_bos_token" else {}
        if layout == "vocab":
            files["vocab"] = vocab
            lines = ["#version: 0.2", *map(" ".join, MERGES), ""]
            (folder / "merges.txt").write_text("\n".join(lines), "utf-8")
        else:
            files["tokenizer"] = whole(vocab, prefix == "file", bos == "template", left)
        for name, content in files.items():
            (folder / f"{name}.json").write_text(json.dumps(content), "utf-8")
        yield f"{prefix=} {bos=} {holes=} {left=} {kind=}", folder


def read(folder: Path) -> SourceTokenizer:
    """The source as the exporter reads it; other tests check its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Gpt2xlWarning)
        return read_source_tokenizer(folder, 64)


def as_bundle(source: SourceTokenizer, folder: Path) -> Path:
    """The tokenizer files of a bundle."""
    folder.mkdir()
    (folder / "tokenizer.json").write_text(source.json, "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(source.settings), "utf-8")
    (folder / "config.json").write_text('{"model_type": "gpt2", "vocab_size": 400}')
    return folder


def ids_of(folder: Path, strings: list[str]) -> list[list[int]]:
    """The ids that tokenizer(text).input_ids gives."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return [tokenizer(text).input_ids for text in strings]


@pytest.mark.parametrize(
    "place",
    ["nowhere", "tokenizer_config", "added_tokens_decoder", "special_tokens_map", "added_tokens",
     "twice", "twice, later with flags"],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["tokenizer.json", "vocab"])
def test_every_reader_gives_the_ids_that_transformers_gives_from_the_source(
    layout: str, place: str, tmp_path: Path
) -> None:
    count = 0
    for name, folder in folders(tmp_path, layout, place):
        source = read(folder)
        bundle = as_bundle(source, tmp_path / f"{folder.name}-bundle")
        own = Tokenizer.from_file(bundle / "tokenizer.json")
        check_tokenization(PlainTokenizer(source.content), own)
        strings = [
            *texts([])[::9],
            *texts([*own.added_tokens, *SPECIAL.values(), "<mask>", "word"])[-200:],
        ]
        wanted = [own.encode(text) for text in strings]
        assert any(wanted)
        assert ids_of(bundle, strings) == wanted, name
        loaded = transformers.AutoTokenizer.from_pretrained(bundle)
        assert loaded("text").keys() == {"input_ids", "attention_mask"}  # what generate() takes
        if BEFORE_5:
            assert ids_of(folder, strings) == wanted, name
        count += 1
    assert count == {"tokenizer.json": 108, "vocab": 16}[layout]


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("place", ["tokenizer_config", "added_tokens"])
def test_what_transformers_saves_after_training_is_read_as_transformers_reads_it(
    place: str, slow: bool, tmp_path: Path
) -> None:
    if slow and not BEFORE_5:
        pytest.skip("transformers 5 has one class only")
    for name, folder in list(folders(tmp_path, "vocab", place)):
        trained = transformers.AutoTokenizer.from_pretrained(folder, use_fast=not slow)
        trained.pad_token = trained.eos_token
        trained(["some text", "more"], truncation=True, padding="max_length", max_length=12)
        saved = tmp_path / f"{folder.name}-saved"
        trained.save_pretrained(saved)
        (saved / "config.json").write_text('{"model_type": "gpt2", "vocab_size": 400}')
        own = Tokenizer(read(saved).json)
        strings = texts(own.added_tokens)[::5]
        wanted = ids_of(saved, strings)
        assert [own.encode(text) for text in strings] == wanted, name
        assert max(map(len, wanted)) > 12


def test_the_genuine_vocabulary_is_read_as_transformers_reads_it(
    genuine_files: Path, shared_data: Path, tmp_path: Path
) -> None:
    source = read(genuine_files)
    bundle = as_bundle(source, tmp_path / "bundle")
    own = Tokenizer(source.json)
    lines = (shared_data / "tokenizer" / "golden_public.jsonl").read_text("utf-8").split("\n")
    strings = [*texts(own.added_tokens), *(json.loads(line)["text"] for line in lines if line)]
    wanted = [own.encode(text) for text in strings]
    assert ids_of(bundle, strings) == wanted
    (tmp_path / "source").mkdir()
    for path in genuine_files.iterdir():
        (tmp_path / "source" / path.name).symlink_to(path)
    (tmp_path / "source" / "config.json").write_text('{"model_type": "gpt2"}')
    assert ids_of(tmp_path / "source", strings) == wanted
