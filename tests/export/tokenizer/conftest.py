"""Folders of tokenizer files."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.export.tokenizer.folders import (
    BYTE_LEVEL,
    Make,
    flags,
    vocabulary,
)


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
