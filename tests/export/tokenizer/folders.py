"""Tokenizer files with a known vocabulary: one id for each byte."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpt2xl import Tokenizer
from gpt2xl.text.tokenizer import byte_alphabet
from gpt2xl_export.tokenizer.source_tokenizer import (
    SourceTokenizer,
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


def read(folder: Path) -> SourceTokenizer:
    return read_source_tokenizer(folder, 64)


def encode(folder: Path, text: str) -> list[int]:
    """The ids of ``text`` by the tokenizer.json that a bundle gets."""
    return Tokenizer(read(folder).json).encode(text)
