"""Damages do not fail, change something, and are the same for the same seed."""

import json
import shutil
from pathlib import Path
from random import Random

import pytest
from tests.fuzz.bases import build
from tests.fuzz.cases import make_case
from tests.fuzz.damages.damage import BYTES
from tests.fuzz.damages.json_damage import RAW, write
from tests.fuzz.kinds import Kind, kinds

SEEDS = 20


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fuzz") / "bases"
    build(root)
    return root


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_damages_change_files_and_describe_it(kind: Kind, bases: Path) -> None:
    content = (bases / kind.base / kind.file).read_bytes()
    for damage in {*kind.damages, *kind.rare, *BYTES}:
        seeds = range(1 if damage in kind.rare else SEEDS)  # rare ones take long
        made = [damage(Random(seed), content) for seed in seeds]
        assert any(damaged.content != content for damaged in made), damage
        assert all(damaged.what for damaged in made), damage


def test_a_case_is_the_same_for_the_same_seed(bases: Path, tmp_path: Path) -> None:
    for number in range(20):
        works = [tmp_path / f"{number}-{turn}" for turn in range(2)]
        for work in works:
            work.mkdir()
        first, second = (make_case(7, number, bases, work) for work in works)
        assert (first.kind.name, first.what, first.neutral) == (second.kind.name, second.what, second.neutral)  # fmt: skip
        files = [{p.relative_to(work): p.read_bytes() for p in work.rglob("*") if p.is_file() and not p.is_symlink() and p.stat().st_size < 1 << 24} for work in works]  # fmt: skip
        assert files[0] == files[1]


def test_damages_of_places_never_fail(bases: Path, tmp_path: Path) -> None:
    for number in range(400):
        work = tmp_path / str(number)
        work.mkdir()
        assert make_case(9, number, bases, work).what
        shutil.rmtree(work)


def test_raw_values_are_written_without_quotes() -> None:
    assert write({"a": RAW + "1e999", "b": [RAW + "[["]}) == b'{"a": 1e999, "b": [[[]}'
    assert json.loads(write({"a": "b"})) == {"a": "b"}
