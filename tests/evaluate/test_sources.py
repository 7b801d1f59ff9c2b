"""Checksums: data as it is distributed is silent, other data is named with both sums."""

from hashlib import sha256
from pathlib import Path

import pytest
from tests.conftest import DATA

from gpt2xl_eval.sources import SOURCES, checksum_warning, data_sum
from gpt2xl_eval.tasks import TASKS

SHARED = {
    "lambada": DATA / "eval" / "lambada" / "lambada_test.jsonl",
    "wikitext2": DATA / "eval" / "wikitext-2" / "test.txt",
}


@pytest.mark.parametrize("task", SHARED)
def test_the_public_files_have_the_known_checksum_and_size(task: str) -> None:
    if not SHARED[task].exists():
        pytest.skip(f"{SHARED[task]} is absent")
    found = data_sum(SHARED[task])
    assert checksum_warning(task, SHARED[task], found) is None
    (known,) = (known for known in SOURCES[task].files if known.sha256 == found)
    assert known.size == SHARED[task].stat().st_size


def test_other_data_is_named_with_both_checksums(tmp_path: Path) -> None:
    path = tmp_path / "ptb.test.txt"
    path.write_text("the old mill was n't sold for years\n")
    found = sha256(path.read_bytes()).hexdigest()
    known = SOURCES["ptb"].files[0]
    message = checksum_warning("ptb", path, data_sum(path))
    assert message is not None
    assert all(part in message for part in (str(path), found, f"ptb.test.txt {known.sha256}"))


def test_a_file_of_another_name_is_compared_with_all_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("x")
    message = checksum_warning("wikitext2", path, data_sum(path))
    assert message is not None
    assert "wiki.test.raw " in message
    assert "wiki.test.tokens " in message


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("lambada", "lambada_test_plain_text.txt"),
        ("1bw", "news.en.heldout-00007-of-00050"),
        ("cbt-cn", "cbtest_CN_valid_2000ex.txt"),
        ("perplexity", "any.txt"),
        ("multiple-choice", "mine.jsonl"),
    ],
)
def test_nothing_is_said_where_no_checksum_is_known(task: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("x")
    assert checksum_warning(task, path, data_sum(path)) is None


def test_a_folder_has_another_sum_when_a_file_in_it_changes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    before = data_sum(tmp_path)
    assert data_sum(tmp_path) == before
    (tmp_path / "a").write_text("xy")
    assert data_sum(tmp_path) != before


def test_every_column_of_the_card_has_a_source() -> None:
    assert {name for name, entry in TASKS.items() if entry.columns} <= {*SOURCES}


def test_the_docs_have_the_addresses_and_sizes_of_the_card_s_data() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text("utf-8")
    for name, entry in TASKS.items():
        if entry.columns:
            source = SOURCES[name]
            assert f"| `{source.url}` | {(source.archive or source.files[0]).size:,} |" in docs, (
                name
            )


def test_checksums_are_sha256_and_lines_say_where_none_is_known() -> None:
    for source in SOURCES.values():
        known = [*source.files, *([source.archive] if source.archive else [])]
        for file in known:
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
            assert (file.sha256 or "not known") in file.line
        assert source.url in source.line
        assert "\n" not in source.line
