"""Pages of weights are handed back, and nothing is lost by it."""

import mmap
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpt2xl.bundle import open_bundle
from gpt2xl.mapped_pages import release_pages
from gpt2xl.providers import open_session
from gpt2xl.session import last_logits, open_best

MB = 1 << 20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def resident(path: Path) -> int:
    """Bytes of ``path`` that this process has mapped and in memory."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            inside = bool(rest) and rest[-1] == str(path.resolve())
        elif inside and first == "Rss:":
            total += int(rest[0]) * 1024
    return total


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "numbers"
    path.write_bytes(np.arange(MB // 8).tobytes())
    return path


def test_pages_that_were_only_read_are_released_and_come_back(numbers: Path) -> None:
    with numbers.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as pages:
        before = bytes(pages)
        assert resident(numbers) == MB
        assert release_pages(numbers.parent) == MB
        assert resident(numbers) == 0
        assert bytes(pages) == before


def test_a_mapping_with_a_page_of_our_own_stays_as_it_is(numbers: Path) -> None:
    with numbers.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as pages:
        pages[100] = 7
        changed = bytes(pages)
        assert release_pages(numbers.parent) == 0
        assert bytes(pages) == changed


def test_other_files_and_other_systems_are_left_alone(numbers: Path, tmp_path: Path) -> None:
    with numbers.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as pages:
        assert bytes(pages)
        assert release_pages(tmp_path / "else") == 0
        assert release_pages(numbers.parent, proc=tmp_path) == 0
        assert resident(numbers) == MB


def test_a_loaded_graph_has_none_of_its_data_file_in_memory(bundle: Path) -> None:
    graph = next(bundle.glob("**/engine*.onnx"))
    data = next(bundle.glob("**/*.onnx_data"))
    session = open_session(graph, "cpu")
    assert session.get_inputs()
    assert resident(data) == 0
    assert release_pages(graph.parent) == 0


def test_a_long_prompt_leaves_nothing_of_the_embedding_in_memory(
    make_bundle: Callable[..., Path],
) -> None:
    bundle = open_bundle(make_bundle({"n_positions": 600}))
    session = open_best(bundle, "cpu")
    data = next(bundle.folder.glob("**/*.onnx_data"))
    first = last_logits(session, np.arange(600)[None] % 90, session.new_cache())
    assert resident(data) == 0
    again = last_logits(session, np.arange(600)[None] % 90, session.new_cache())
    assert np.array_equal(first, again)
