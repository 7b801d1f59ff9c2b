"""The graph from string to text, with onnxruntime-extensions."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from tests.export.text_graphs.test_text_graphs import runner

import gpt2xl
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.text_graphs.expressions import Expressions
from gpt2xl_export.text_graphs.prompts import EXTENSIONS, ids_of
from gpt2xl_export.tokenizer.source_tokenizer import read_source_tokenizer

GOLDEN = 200
PUBLISHED = ("golden_public.jsonl", "golden_generated.jsonl")


@pytest.fixture
def with_extensions() -> ort.SessionOptions:
    extensions = pytest.importorskip(
        "onnxruntime_extensions", reason="needs onnxruntime-extensions, of the extra test"
    )
    options = ort.SessionOptions()
    options.register_custom_ops_library(extensions.get_library_path())
    return options


def test_strings_give_the_texts_of_the_runtime(
    checkpoint: Path, tmp_path: Path, with_extensions: ort.SessionOptions
) -> None:
    export(checkpoint, tmp_path / "out", ExportOptions(text=True))
    run = runner(tmp_path / "out" / "onnx" / "text_to_text.onnx", with_extensions)
    model = gpt2xl.load(tmp_path / "out")
    for prompt in ("Once upon a time", "A king: “go”\n", "x < y", "😀"):
        wanted = model.generate(prompt, seed=3, max_new_tokens=20, temperature=0.8, top_k=40)
        assert run(prompt, seed=3, n=20) == (wanted.text, wanted.new_ids, wanted.finish_reason)


def test_200_golden_strings_give_their_ids(
    shared_data: Path,
    genuine_files: Path,
    with_extensions: ort.SessionOptions,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = json.loads(read_source_tokenizer(genuine_files, 1024).json)
    tokenize = tokenizer_session(content, with_extensions)
    different = []
    for record in golden_strings(shared_data / "tokenizer"):
        (found,) = tokenize.run(None, {"prompt": np.array([record["text"]], object)})
        if found.tolist() != record["ids"]:
            different.append(record["text"])
    with capsys.disabled():
        sys.stdout.write(f"\n{len(different)} of {GOLDEN} golden strings differ: {different}\n")
    unexplained = [text for text in different if not is_known(text)]
    assert unexplained == []


def golden_strings(folder: Path) -> list[dict[str, Any]]:
    lines = [line for name in PUBLISHED for line in (folder / name).read_text("utf-8").splitlines()]
    records = [json.loads(line) for line in lines]
    return random.Random(0).sample([r for r in records if r["text"]], GOLDEN)


def is_known(text: str) -> bool:
    """docs/bundle.md: NUL, U+0085, characters that Unicode has assigned late, and special tokens."""
    late = any(ord(character) >= 0x10000 for character in text)
    return "\0" in text or "\x85" in text or "<|endoftext|>" in text or late


def tokenizer_session(content: dict[str, Any], options: ort.SessionOptions) -> ort.InferenceSession:
    import onnx_ir as ir

    from gpt2xl_export.graph.builder import typed

    e, prompt = Expressions("t"), typed(ir.val("prompt"), ir.DataType.STRING, [1])
    ids = typed(ids_of(e, prompt, content), ir.DataType.INT64, ["n"])
    graph = ir.Graph(
        [prompt], [ids], nodes=e.tape.nodes, initializers=e.tape.initializers,
        opset_imports={"": 21, EXTENSIONS: 1}, name="tokenizer",
    )  # fmt: skip
    content_of = ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString()
    return ort.InferenceSession(content_of, options)
