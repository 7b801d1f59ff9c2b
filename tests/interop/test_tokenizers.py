"""A tokenizer in five files: its bundle means the same to other readers.

onnxruntime-genai 0.18 knows neither add_prefix_space nor lstrip, rstrip and single_word;
transformers.js 4.2 not the last: such tokenizers are not in here.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2xl import Tokenizer
from gpt2xl_export.exporting import export

HERE = Path(__file__).parent
NODE_MODULES = Path(os.environ.get("GPT2XL_NODE_MODULES", HERE / "node_modules")).resolve()
TEXTS = [
    "Once upon a time", "<s>the king</s>", "a<pad>b <pad> c", "<|user|>Hi<|reply|> there", "  two\n\nlines ",
    "<unk><mask>", "Grüße, 世界 🙂", "I'll we've 12345 !!", "<|endoftext|>",
]  # fmt: skip


@pytest.fixture
def bundle(make_checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """Special tokens in tokenizer_config.json and special_tokens_map.json, more in added_tokens.json."""
    source = make_checkpoint({"vocab_size": 300, "bos_token_id": 286, "eos_token_id": 287})
    model = json.loads((source / "tokenizer.json").read_text("utf-8"))["model"]
    (source / "tokenizer.json").unlink()
    special = {"<s>": 286, "</s>": 287, "<unk>": 288, "<pad>": 289}
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    files = {
        "vocab": model["vocab"] | special,
        "tokenizer_config": {**names, "tokenizer_class": "GPT2Tokenizer", "add_bos_token": True},
        "special_tokens_map": {"pad_token": "<pad>", "additional_special_tokens": ["<|user|>"]},
        "added_tokens": {"<|user|>": 290, "<|reply|>": 291},
    }
    for name, content in files.items():
        (source / f"{name}.json").write_text(json.dumps(content), "utf-8")
    merges = [" ".join(pair) for pair in model["merges"]]
    (source / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")
    export(source, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def wanted(bundle: Path) -> list[list[int]]:
    """The ids of our tokenizer; some of them are known."""
    tokenizer = Tokenizer.from_file(bundle / "tokenizer.json")
    ids = [tokenizer.encode(text) for text in TEXTS]
    assert ids[1][:2] == [286, 286]
    assert ids[1][-1] == 287
    assert ids[3][1] == 290
    assert 291 in ids[3]
    return ids


def test_onnxruntime_genai_gives_the_same_ids(bundle: Path, wanted: list[list[int]]) -> None:
    og = pytest.importorskip("onnxruntime_genai", reason="the extra 'interop' is not installed")
    tokenizer = og.Tokenizer(og.Model(str(bundle)))
    assert [tokenizer.encode(text).tolist() for text in TEXTS] == [row[1:] for row in wanted]
    tokenizer.update_options(add_special_tokens="true")  # off by default there
    assert [tokenizer.encode(text).tolist() for text in TEXTS] == wanted


def test_transformers_js_gives_the_same_ids(bundle: Path, wanted: list[list[int]]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not (NODE_MODULES / "@huggingface" / "transformers").is_dir():
        pytest.skip(f"{NODE_MODULES} (GPT2XL_NODE_MODULES names another) has no transformers.js")
    command = [node, str(HERE / "tokenize.mjs"), str(NODE_MODULES), str(bundle), *TEXTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ids"] == wanted
    assert found["texts"] == [f"<s>{text}" for text in TEXTS]
