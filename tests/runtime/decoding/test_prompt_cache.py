"""A prompt's keys and values in a file."""

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZipFile
from zlib import crc32

import numpy as np
import pytest

from gpt2xl import Model, RequestError, load
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.decoding.prompt_cache import bundle_id
from gpt2xl.sessions.opening import open_session
from gpt2xl.sessions.protocol import Cache, Ids, Session, StepLogits, TopLogits

PROMPT = "Once upon a time there was a king"


class Counting:
    """A session that remembers how many tokens each step fed."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.fed: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def forward(self, input_ids: Ids, cache: Cache, **options: Any) -> StepLogits:
        self.fed.append(input_ids.shape[1])
        return self.session.forward(input_ids, cache, **options)

    def forward_top(
        self, input_ids: Ids, cache: Cache, needed_logits: int, **options: Any
    ) -> StepLogits | TopLogits:
        self.fed.append(input_ids.shape[1])
        return self.session.forward_top(input_ids, cache, needed_logits, **options)


def counted(model: Model) -> tuple[Model, Counting]:
    """``model`` with a session that counts."""
    counting = Counting(model.session)
    session: Any = counting
    return Model(model.config, model.tokenizer, session, model.bundle), counting


def portable_only(bundle: Path) -> Model:
    """A model of the portable graph."""
    opened = replace(open_bundle(bundle), engine=None)
    model = load(bundle)
    return Model(opened.config, model.tokenizer, open_session(opened), opened)


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
        bundle_id(replace(open_bundle(bundle), manifest=None))


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "text"])
def test_a_damaged_file_is_refused_in_one_line(bundle: Path, tmp_path: Path, damage: str) -> None:
    model, file = load(bundle), tmp_path / "cache"
    model.save_prompt(PROMPT, file)
    whole = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes({"empty": b"", "cut": whole[:-900], "text": b"hello"}[damage])
    what = "does not exist" if damage == "gone" else "is not a prompt cache"
    with pytest.raises(RequestError, match=f"cache' {what}"):
        model.load_prompt(file)
    assert model.generate(PROMPT, greedy=True, max_new_tokens=2).new_ids


def test_a_cache_with_more_ids_than_keys_is_refused(bundle: Path, tmp_path: Path) -> None:
    model, file = load(bundle), tmp_path / "cache"
    model.save_prompt(PROMPT, file)
    with np.load(file) as content:
        arrays = dict(content)
    arrays["keys_and_values"] = arrays["keys_and_values"][:, :, 1:]
    with file.open("wb") as out:
        np.savez(out, **arrays)
    with pytest.raises(RequestError, match="not a prompt cache: 15 ids, but keys and values of 14"):
        model.load_prompt(file)


def test_a_failed_save_leaves_the_older_file(bundle: Path, tmp_path: Path) -> None:
    model, folder = load(bundle), tmp_path / "folder"
    folder.mkdir()
    (folder / "cache").mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(OSError, match="cache"):
        model.save_prompt(PROMPT, folder / "cache")
    assert os.listdir(folder) == ["cache"]


def packed(about: object, values: np.ndarray, **options: Any) -> bytes:
    """A zip with right checksums, whatever its content."""
    text = about if isinstance(about, bytes) else json.dumps(about).encode()
    file = io.BytesIO()
    with ZipFile(file, "w", **options) as content:
        for name, array in (
            ("about", np.frombuffer(text, np.uint8)),
            ("keys_and_values", values),
        ):
            entry = io.BytesIO()
            np.save(entry, array, allow_pickle=True)
            content.writestr(f"{name}.npy", entry.getvalue())
    return file.getvalue()


def header_of_100_gb(whole: bytes) -> bytes:
    """The same file with a header that states 10**9 tokens."""
    old = b"(4, 2, 15, 16), }" + b" " * 9
    assert whole.count(old) == 1
    changed = whole.replace(old, b"(4, 2, 1000000000, 16), }".ljust(len(old)))
    start = changed.rindex(b"keys_and_values.npy", 0, changed.index(b"(4, 2, 1000000000"))
    data = changed[changed.index(b"\x93NUMPY", start) : changed.index(b"PK\x01\x02")]
    return changed.replace(
        crc32(data_of(whole)).to_bytes(4, "little"), crc32(data).to_bytes(4, "little")
    )


def data_of(whole: bytes) -> bytes:
    start = whole.index(b"\x93NUMPY", whole.index(b"keys_and_values.npy"))
    return whole[start : whole.index(b"PK\x01\x02")]


ABOUT_CHANGES: dict[str, Any] = {
    "an id that is no number": {"ids": ["x"] * 15},
    "an id that is none of the vocabulary": {"ids": [289] * 15},
    "a negative id": {"ids": [-1] * 15},
    "an id with a point": {"ids": [1.0] * 15},
    "an id that is true": {"ids": [True] * 15},
    "ids that are no list": {"ids": "a" * 15},
    "no ids": {"ids": None},
    "another format": {"format": 2},
    "a format that is a list": {"format": [1]},
    "an owner that is a number": {"bundle": 3},
}


@pytest.mark.parametrize("change", ABOUT_CHANGES.values(), ids=ABOUT_CHANGES)
def test_the_metadata_of_a_cache_is_checked(
    saved: tuple[Model, Path], change: dict[str, Any]
) -> None:
    model, file = saved
    about, values = contents(file)
    file.write_bytes(packed(about | change, values))
    with pytest.raises(RequestError, match="/cache'"):
        model.load_prompt(file)


CONTENTS: dict[str, Callable[[dict[str, Any], Any], bytes]] = {
    "JSON nested deep": lambda about, values: packed(b"[" * 100_000, values),
    "JSON with an infinity": lambda about, values: packed(b'{"format": 1e999}', values),
    "JSON that is a list": lambda about, values: packed(b"[]", values),
    "JSON that is none": lambda about, values: packed(b"\xff", values),
    "NaN": lambda about, values: packed(about, np.full_like(values, np.nan)),
    "a single NaN": lambda about, values: packed(about, with_one(values, np.nan)),
    "an infinity": lambda about, values: packed(about, with_one(values, -np.inf)),
    "half precision": lambda about, values: packed(about, values.astype(np.float16)),
    "the other byte order": lambda about, values: packed(about, values.astype(">f4")),
    "Fortran's order": lambda about, values: packed(about, np.asfortranarray(values)),
    "one number": lambda about, values: packed(about, values[0, 0, 0, 0]),
    "a layer too few": lambda about, values: packed(about, values[:-1]),
    "no tokens": lambda about, values: packed(about, values[:, :, :0]),
    "an object": lambda about, values: packed(about, np.array([{}])),
    "deflate": lambda about, values: packed(about, values, compression=ZIP_DEFLATED),
    "LZMA": lambda about, values: packed(about, values, compression=ZIP_LZMA),
    "more than the context": lambda about, values: packed(about, np.zeros((4, 2, 400, 16), "f4")),
    "a header of 100 GB": lambda about, values: header_of_100_gb(packed(about, values)),
    "a directory of many files": lambda about, values: many_files(),
    "half of it twice": lambda about, values: packed(about, values)[:500] * 2,
}


def with_one(values: Any, value: float) -> Any:
    changed = values.copy()
    changed[-1, -1, -1, -1] = value
    return changed


def many_files() -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w") as content:
        for number in range(1000):
            content.writestr(str(number), b"")
    return file.getvalue()


@pytest.mark.parametrize("make", CONTENTS.values(), ids=CONTENTS)
def test_a_file_that_does_not_fit_the_model_is_refused(
    saved: tuple[Model, Path], make: Callable[[dict[str, Any], Any], bytes]
) -> None:
    model, file = saved
    file.write_bytes(make(*contents(file)))
    with pytest.raises(RequestError, match=r"cache' (is not a prompt cache: |has format)|/cache':"):
        model.load_prompt(file)
    assert model.generate(PROMPT, greedy=True, max_new_tokens=2).new_ids


def test_the_same_content_packed_by_the_test_is_read(saved: tuple[Model, Path]) -> None:
    model, file = saved
    file.write_bytes(packed(*contents(file)))
    model.load_prompt(file)


def test_a_pipe_is_refused_without_waiting(saved: tuple[Model, Path]) -> None:
    model, file = saved
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(RequestError, match="cache' is not a regular file"):
        model.load_prompt(file)


@pytest.fixture
def saved(bundle: Path, tmp_path: Path) -> tuple[Model, Path]:
    """A model and its prompt cache."""
    model = load(bundle)
    model.save_prompt(PROMPT, tmp_path / "cache")
    return model, tmp_path / "cache"


def contents(file: Path) -> tuple[dict[str, Any], Any]:
    with np.load(file) as arrays:
        return json.loads(arrays["about"].tobytes()), arrays["keys_and_values"]


def test_a_path_that_cannot_be_written_is_named(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        load(bundle).save_prompt(PROMPT, tmp_path / "nowhere" / "cache")
    assert error.value.filename == str(tmp_path / "nowhere" / "cache")


def test_leftovers_of_a_killed_process_are_removed(bundle: Path, tmp_path: Path) -> None:
    for name in (".cache.lock", ".cache.partial-0123abcd"):
        (tmp_path / name).touch()
    load(bundle).save_prompt(PROMPT, tmp_path / "cache")
    assert os.listdir(tmp_path) == ["cache"]


def test_paths_may_be_text_and_prompts_ids(bundle: Path, tmp_path: Path) -> None:
    model, path = load(str(bundle)), str(tmp_path / "cache")
    ids = model.prompt_ids(PROMPT)
    model.save_prompt(ids, path)
    again, counting = counted(load(bundle))
    again.load_prompt(path)
    again.generate([*ids, 5], greedy=True, max_new_tokens=1)
    assert counting.fed == [1]
