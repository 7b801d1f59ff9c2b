"""A prompt's keys and values in a file."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from gpt2xl import Model, RequestError, load
from gpt2xl.bundle import open_bundle
from gpt2xl.graph import Ids, StepLogits
from gpt2xl.prompt_cache import bundle_id
from gpt2xl.session import Cache, Session, open_best

PROMPT = "Once upon a time there was a king"


@dataclass
class Counting:
    """A session that remembers how many tokens each step was fed."""

    session: Session
    fed: list[int] = field(default_factory=list)

    @property
    def n_positions(self) -> int:
        return self.session.n_positions

    @property
    def long_step_from(self) -> int:
        return self.session.long_step_from

    @property
    def has_int8_cache(self) -> bool:
        return self.session.has_int8_cache

    def new_cache(self, batch_size: int = 1, capacity: int | None = None) -> Cache:
        return self.session.new_cache(batch_size, capacity)

    def score(self, input_ids: Ids, cache: Cache, keep: int = 1) -> StepLogits:
        self.fed.append(input_ids.shape[1])
        return self.session.score(input_ids, cache, keep)


def counted(model: Model) -> tuple[Model, Counting]:
    """``model`` over a counting session."""
    counting = Counting(model.session)
    return Model(model.config, model.tokenizer, counting, model._bundle), counting


def portable_only(bundle: Path) -> Model:
    """A model of the portable graph."""
    opened = replace(open_bundle(bundle), engine=None)
    model = load(bundle)
    return Model(opened.config, model.tokenizer, open_best(opened, "cpu"), opened)


OPEN: dict[str, Callable[[Path], Model]] = {"engine": load, "portable": portable_only}


@pytest.mark.parametrize("kind", OPEN)
def test_a_loaded_prompt_is_not_computed_again_and_gives_the_same_text(
    bundle: Path, tmp_path: Path, kind: str
) -> None:
    first, file = OPEN[kind](bundle), tmp_path / "king.cache"
    wanted = first.generate(PROMPT + " who", greedy=True, max_new_tokens=20)
    first.save_prompt(PROMPT, file)
    again, counting = counted(OPEN[kind](bundle))
    again.load_prompt(file)
    result = again.generate(PROMPT + " who", greedy=True, max_new_tokens=20)
    assert result.new_ids == wanted.new_ids
    assert counting.fed[0] == len(wanted.prompt_ids) - len(first.prompt_ids(PROMPT))


def test_saving_a_prompt_that_was_just_used_computes_nothing(bundle: Path, tmp_path: Path) -> None:
    model, counting = counted(load(bundle))
    model.generate(PROMPT, greedy=True, max_new_tokens=5)
    counting.fed.clear()
    model.save_prompt(PROMPT, tmp_path / "cache")
    assert counting.fed == []


def test_a_prompt_of_another_bundle_is_refused(
    bundle: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    load(make_bundle({"n_positions": 48})).save_prompt(PROMPT, tmp_path / "cache")
    with pytest.raises(RequestError, match="cache' was saved with another bundle"):
        load(bundle).load_prompt(tmp_path / "cache")


def test_a_bundle_without_a_manifest_has_no_prompt_caches(bundle: Path) -> None:
    with pytest.raises(RequestError, match="has no manifest"):
        bundle_id(replace(open_bundle(bundle), manifest={}))


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "text"])
def test_a_damaged_file_is_one_line(bundle: Path, tmp_path: Path, damage: str) -> None:
    model, file = load(bundle), tmp_path / "cache"
    model.save_prompt(PROMPT, file)
    whole = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes({"empty": b"", "cut": whole[:-900], "text": b"hello"}[damage])
    with pytest.raises(RequestError, match="cache' is not a prompt cache"):
        model.load_prompt(file)
    assert model.generate(PROMPT, greedy=True, max_new_tokens=2).new_ids


def test_a_cache_whose_ids_are_not_its_keys_is_refused(bundle: Path, tmp_path: Path) -> None:
    model, file = load(bundle), tmp_path / "cache"
    model.save_prompt(PROMPT, file)
    with np.load(file) as content:
        arrays = dict(content)
    arrays["keys_and_values"] = arrays["keys_and_values"][:, :, 1:]
    with file.open("wb") as out:
        np.savez(out, **arrays)
    with pytest.raises(RequestError, match="not a prompt cache: 15 ids, but keys and values of 14"):
        model.load_prompt(file)


def test_an_unwritable_place_leaves_the_older_file(bundle: Path, tmp_path: Path) -> None:
    model, folder = load(bundle), tmp_path / "folder"
    folder.mkdir()
    (folder / "cache").mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(OSError, match="cache"):
        model.save_prompt(PROMPT, folder / "cache")
    assert os.listdir(folder) == ["cache"]
