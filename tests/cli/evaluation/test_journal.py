"""The journal of a run: numbers that come back exactly, and nothing else."""

import math
from pathlib import Path

import pytest

from gpt2xl_cli.evaluation.journal import Journal, journal_name

RUN = {"task": "a", "data": "b"}
VALUES = [(-1.5, 3.0), (math.pi, 1e-300), (-math.inf, 0.0), (0.1, 7.0)]


def written(path: Path) -> None:
    with Journal(path, RUN, 9) as journal:
        for values in VALUES:
            journal.add(values)


def test_what_was_added_comes_back_exactly(tmp_path: Path) -> None:
    written(tmp_path / "j")
    assert Journal(tmp_path / "j", RUN, 9).measured == VALUES


@pytest.mark.parametrize(
    "bad", ["[1.0, 2", "[1.0, 2.0", '{"a": 1}\n', "[true]\n", "[NaN]\n", '["1"]\n', "[[1.0]]\n"]
)
def test_a_line_that_is_no_measurement_ends_it(bad: str, tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path)
    before = path.read_bytes()
    path.write_bytes(before + bad.encode() + b"[9.0, 9.0]\n")
    with Journal(path, RUN, 9) as journal:
        assert journal.measured == VALUES
    assert path.read_bytes() == before


def test_no_more_is_taken_than_the_run_has(tmp_path: Path) -> None:
    written(tmp_path / "j")
    assert Journal(tmp_path / "j", RUN, 2).measured == VALUES[:2]


def test_each_run_has_a_name_of_its_own() -> None:
    names = {
        journal_name("a", RUN),
        journal_name("a", {**RUN, "data": "c"}),
        journal_name("b", RUN),
    }
    assert len(names) == 3
    assert journal_name("a", dict(reversed(RUN.items()))) == journal_name("a", RUN)
