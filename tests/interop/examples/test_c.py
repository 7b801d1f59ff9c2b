"""examples/c beside the runtime, where onnxruntime's header is."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

import gpt2xl
from gpt2xl.bundle.bundle import open_bundle

SOURCE = Path(__file__).parents[3] / "examples" / "c" / "generate.c"


@pytest.fixture(scope="module")
def program(needed: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built against the header in GPT2XL_ORT_INCLUDE and the library of the Python package."""
    include = os.environ.get("GPT2XL_ORT_INCLUDE", "")
    if not (Path(include) / "onnxruntime_c_api.h").is_file():
        pytest.skip(
            "GPT2XL_ORT_INCLUDE names no folder with onnxruntime_c_api.h (docs/other-languages.md)"
        )
    folder = tmp_path_factory.mktemp("c")
    found = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
    if not found:
        pytest.skip("the onnxruntime package has no libonnxruntime.so")
    # The linker looks for one name, the loader for another.
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        shutil.copy(found[0], folder / name)
    command = [
        needed("cc", "gcc", "clang"), "-Wall", "-Wextra", "-Werror", str(SOURCE), f"-I{include}", f"-L{folder}",
        f"-Wl,-rpath,{folder}", "-lonnxruntime", "-o", str(folder / "generate"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "generate"


def run(program: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)


def test_the_text_is_that_of_the_runtime(
    program: Path, text_bundle: Path, cases: list[dict[str, Any]]
) -> None:
    graph = str(open_bundle(text_bundle).text_graphs["ids"])
    model = gpt2xl.load(text_bundle)
    for case in cases[:6:2]:
        wanted = model.generate(
            case["prompt"], seed=7, temperature=0.8, top_k=40, max_new_tokens=60
        )
        done = run(program, graph, ",".join(map(str, case["promptIds"])), "7")
        assert done.returncode == 0, done.stderr
        assert done.stdout == wanted.text + "\n"
        assert f"finish_reason: {wanted.finish_reason}" in done.stderr


def test_errors_are_one_line(program: Path, text_bundle: Path) -> None:
    for arguments, code in ((("no.onnx", "1"), 1), (("no.onnx",), 2)):
        done = run(program, *arguments)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1)
