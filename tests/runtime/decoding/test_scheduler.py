"""Many texts at once: each is the one that it is alone."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2xl import Generation, Model, RequestError, load
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.opening import open_session
from gpt2xl.sessions.portable import PortableSession
from gpt2xl.startup.options import LoadOptions
from gpt2xl_export.export import export
from gpt2xl_export.output.graphs import ExportOptions

PROMPTS = ["Once", "a king who had " * 5, "", "the king", "fair daughter " * 6, "go.", "#" * 96]
GREEDY: dict[str, Any] = {"greedy": True}
SAMPLED: dict[str, Any] = {"seed": 5, "temperature": 1.5}
WAYS = pytest.mark.parametrize("way", [GREEDY, SAMPLED], ids=["greedy", "sampled"])


@pytest.fixture(scope="module")
def int8_bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an int8 KV cache, where this onnxruntime has one."""
    out = tmp_path_factory.mktemp("int8") / "bundle"
    export(checkpoint, out, ExportOptions("int8"))
    return out


@pytest.fixture(scope="module", params=["fp32", "int8"])
def model(request: pytest.FixtureRequest, bundle: Path, int8_bundle: Path) -> Model:
    return load({"fp32": bundle, "int8": int8_bundle}[request.param])


def alone(model: Model, prompts: list[str], **options: Any) -> list[Generation]:
    """Each prompt's text by itself, by plain decoding in a cache of its own."""
    seed, texts = options.pop("seed", None), []
    for number, prompt in enumerate(prompts):
        model._idle = None
        own = None if seed is None else seed + number
        texts.append(model.generate(prompt, seed=own, prompt_lookup=False, **options))
    return texts


def together(model: Model, prompts: list[str], **options: Any) -> list[Generation]:
    """The same texts, by generate_batch."""
    found = dict(model.generate_batch(prompts, **options))
    assert sorted(found) == list(range(len(prompts)))
    return [found[number] for number in range(len(prompts))]


def assert_same(got: list[Generation], wanted: list[Generation]) -> None:
    def facts(text: Generation) -> tuple[object, ...]:
        return text.prompt_ids, text.new_ids, text.text, text.finish_reason, text.seed

    assert [facts(text) for text in got] == [facts(text) for text in wanted]


@WAYS
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_each_text_is_the_one_it_is_alone(model: Model, way: dict[str, Any], rows: int) -> None:
    wanted = alone(model, PROMPTS, **way)
    assert len({len(text.prompt_ids) for text in wanted}) > 4
    assert_same(together(model, PROMPTS, rows=rows, **way), wanted)


@settings(max_examples=20, deadline=None)
@given(
    prompts=st.lists(st.text("aeg ", max_size=30), max_size=9),
    rows=st.integers(1, 5),
    seed=st.integers(0, 2**40),
    count=st.integers(1, 30),
)
def test_any_prompts_in_any_number_of_rows(
    bundle: Path, prompts: list[str], rows: int, seed: int, count: int
) -> None:
    model = MODELS.setdefault(bundle, load(bundle))
    options = {"seed": seed, "max_new_tokens": count}
    assert_same(together(model, prompts, rows=rows, **options), alone(model, prompts, **options))


MODELS: dict[Path, Model] = {}


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-weight", "int4"])
def test_the_demos_texts_depend_on_no_other_row(
    demo: Callable[[str], Model], tales: list[str], precision: str
) -> None:
    model, options = demo(precision), {"seed": 1, "max_new_tokens": 60}
    some = tales[:18]
    assert_same(together(model, some, rows=16, **options), alone(model, some, **options))


@WAYS
def test_a_portable_graph_does_one_text_after_the_other(bundle: Path, way: dict[str, Any]) -> None:
    opened = replace(open_bundle(bundle), engine=None)
    model = Model(
        opened.config,
        load(bundle).tokenizer,
        open_session(opened, LoadOptions(provider="cpu")),
        opened,
    )
    assert isinstance(model.session, PortableSession)
    numbers = [number for number, _ in model.generate_batch(PROMPTS, rows=3, **way)]
    assert numbers == list(range(len(PROMPTS)))
    assert_same(together(model, PROMPTS, **way), alone(model, PROMPTS, **way))


@pytest.mark.parametrize("rows", [1, 3, 16])
def test_an_end_of_text_makes_room_for_the_next(model: Model, rows: int) -> None:
    firsts = [text.new_ids[0] for text in alone(model, PROMPTS, greedy=True)]
    ends = replace(model.config, eos_token_id=(firsts[0], firsts[3]))
    stopping = Model(ends, model.tokenizer, model.session, model._bundle)
    wanted = alone(stopping, PROMPTS, greedy=True)
    assert [wanted[0].new_ids, wanted[0].finish_reason] == [[], "stop"]
    assert_same(together(stopping, PROMPTS, rows=rows, greedy=True), wanted)


@WAYS
def test_one_new_token_needs_no_step(model: Model, way: dict[str, Any]) -> None:
    wanted = alone(model, PROMPTS, max_new_tokens=1, **way)
    assert_same(together(model, PROMPTS, rows=3, max_new_tokens=1, **way), wanted)


def test_prompts_are_read_as_rows_become_free(model: Model) -> None:
    read: list[int] = []

    def prompts() -> Iterator[str]:
        for number in itertools.count():
            read.append(number)
            yield "Once" * (1 + number % 4)

    texts = model.generate_batch(prompts(), rows=3, max_new_tokens=4, seed=1)
    assert read == []
    for given_out in range(1, 9):
        next(texts)
        assert len(read) <= 3 + given_out


def test_texts_come_as_they_end(model: Model) -> None:
    # The second prompt fills the context but for a few tokens.
    prompts = ["Once", "#" * 92, "the king"]
    numbers = [number for number, _ in model.generate_batch(prompts, rows=3, greedy=True)]
    assert numbers[0] == 1


def test_what_is_skipped_changes_no_other_text(model: Model) -> None:
    wanted = dict(enumerate(alone(model, PROMPTS, **SAMPLED)))
    found = dict(model.generate_batch(PROMPTS, rows=3, skip={0, 2, 5, 99}, **SAMPLED))
    assert sorted(found) == [1, 3, 4, 6]
    assert_same([found[n] for n in sorted(found)], [wanted[n] for n in sorted(found)])


def test_no_prompts_give_no_texts(model: Model) -> None:
    assert list(model.generate_batch([])) == []
    assert list(model.generate_batch(["a"], skip={0})) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "rows has to be >= 1, but is 0"),
        ({"max_new_tokens": 0}, "max_new_tokens has to be >= 1"),
        ({"top_k": -1}, "top_k has to be >= 0"),
        ({"temperature": -1}, "temperature has to be a number >= 0"),
        ({"seed": -1}, "seed has to be >= 0"),
    ],
)
def test_an_option_out_of_range_is_refused_at_once(
    model: Model, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        model.generate_batch([], **options)
