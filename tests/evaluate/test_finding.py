"""Data is found by the names under which it is distributed."""

from pathlib import Path

import pytest

from gpt2xl import RequestError
from gpt2xl_eval.finding import DEEPEST, DataFolder


def write(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_first_pattern_that_fits_wins() -> None:
    write("data/wikitext-2/wiki.test.tokens", "data/wikitext-2-raw/wiki.test.raw", "data/other")
    patterns = ("wikitext-2-raw/wiki.test.raw", "wikitext-2/wiki.test.tokens")
    assert DataFolder(Path("data")).find(patterns) == Path("data/wikitext-2-raw/wiki.test.raw")
    assert DataFolder(Path("data")).find(patterns[1:]) == Path("data/wikitext-2/wiki.test.tokens")


def test_one_data_set_is_not_taken_for_another_with_the_same_file_name() -> None:
    write("data/wikitext-103/wiki.test.tokens")
    assert DataFolder(Path("data")).find(("wikitext-2/wiki.test.tokens",)) is None


def test_the_name_of_the_folder_itself_counts() -> None:
    write("wikitext-2/wiki.test.tokens")
    found = DataFolder(Path("wikitext-2")).find(("wikitext-2/wiki.test.tokens",))
    assert found == Path("wikitext-2/wiki.test.tokens")


def test_wildcards_take_the_first_of_the_shards_and_a_slash_a_folder() -> None:
    write("d/b/news.en.heldout-00001-of-00050", "d/b/news.en.heldout-00000-of-00050", "d/enwik8")
    folder = DataFolder(Path("d"))
    assert folder.find(("news.en.heldout-*-of-00050",)) == Path(
        "d/b/news.en.heldout-00000-of-00050"
    )
    assert folder.find(("enwik8/",)) is None
    assert folder.find(("b/",)) == Path("d/b")


def test_hidden_files_and_deep_folders_are_left_out() -> None:
    write("d/.cache/enwik8", "d/.enwik8", "d/" + "e/" * (DEEPEST + 1) + "enwik8")
    assert DataFolder(Path("d")).find(("enwik8",)) is None


def test_a_file_is_no_folder_of_data() -> None:
    write("d")
    with pytest.raises(RequestError, match="'d' is not a folder"):
        DataFolder(Path("d"))
