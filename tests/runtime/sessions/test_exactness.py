"""Which steps may be merged, by what is quantized."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from gpt2xl import Model
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.engine import EngineSession
from gpt2xl.sessions.exactness import (
    LONG_STEP,
    Exactness,
    reusable_prefix,
)
from gpt2xl.sessions.opening import open_session
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions

CPU = LoadOptions(provider="cpu", threads=1)


def exactness(model: Model, *, is_float32: bool = False) -> Exactness:
    return Exactness(model.session, is_float32=is_float32)


def test_without_quantization_everything_may_be_merged(demo: Callable[[str], Model]) -> None:
    found = exactness(demo("fp32"), is_float32=True)
    assert found.tolerance == 1e-3
    assert found.may_feed_several
    assert found.may_merge_steps
    assert found.may_share_rows


def test_an_int8_cache_merges_to_the_bit(demo: Callable[[str], Model]) -> None:
    found = exactness(demo("int8"))
    assert found.tolerance == 0.0
    assert found.may_merge_steps
    assert found.steps_are_bitwise_equal
    assert found.may_share_rows


def test_quantized_weights_over_a_float_cache_merge_nothing(demo: Callable[[str], Model]) -> None:
    found = exactness(demo("int8 --kv float"))
    assert not found.may_feed_several
    assert not found.may_merge_steps
    assert not found.may_share_rows


def test_int4_in_blocks_of_64_merges_nothing(demo: Callable[[str], Model]) -> None:
    found = exactness(demo("int4"))  # in blocks of 64
    assert found.may_feed_several
    assert not found.may_merge_steps
    assert not found.may_share_rows


def test_with_two_precisions_rows_share_steps_and_a_text_alone_merges_nothing(
    demo: Callable[[str], Model],
) -> None:
    model = demo("fast")
    found = exactness(model)
    assert not found.may_feed_several
    assert not found.may_merge_steps
    assert found.may_share_rows
    assert found.may_reuse_prompts
    prompts = ["Once", "The king said to his daughter", "One day"]
    batches = [
        dict(model.generate_batch(some, rows=rows, max_new_tokens=12, seed=1))
        for some, rows in ((prompts, 2), (prompts, 3), (prompts[:1], 2))
    ]
    assert [found.text for found in batches[0].values()] == [
        found.text for found in batches[1].values()
    ]
    assert batches[2][0].text == batches[0][0].text


def test_on_a_gpu_rows_share_steps_in_any_case(demo: Callable[[str], Model]) -> None:
    model = demo("int8 --kv float")
    opened = replace(open_graph(open_bundle_of(model), "cpu", CPU), device="cuda")
    session = EngineSession(opened, model.config)  # only its device is read
    assert Exactness(session, is_float32=False).may_share_rows


def open_bundle_of(model: Model) -> Path:
    session = model.session
    assert isinstance(session, EngineSession)
    return session.path


@pytest.mark.parametrize("exact_prompts", [False, True])
def test_long_steps_begin_where_the_manifest_says(
    demo: Callable[[str], Model], exact_prompts: bool
) -> None:
    path, config = open_bundle_of(demo("int8")), demo("int8").config
    opened = open_graph(path, "cpu", CPU)

    def session(long_step_from: int) -> EngineSession:
        return EngineSession(
            opened, config, long_step_from=long_step_from, exact_prompts=exact_prompts
        )

    assert session(5).long_step_from == (None if exact_prompts else 5)
    assert same_bits(session(20), 12)
    assert same_bits(session(5), 12) is exact_prompts


def test_the_manifest_states_the_default_of_the_graph(make_bundle: Callable[..., Path]) -> None:
    bundle = open_bundle(make_bundle(precision="int8"))
    assert bundle.engine is not None
    graph = onnx.load(bundle.engine, load_external_data=False).graph
    (default,) = (value for value in graph.initializer if value.name == "long_step_from")
    assert onnx.numpy_helper.to_array(default) == LONG_STEP == bundle.long_step_from


@pytest.mark.parametrize(("stated", "found"), [(5, 5), (None, LONG_STEP)])
def test_a_session_goes_by_the_manifest(
    make_bundle: Callable[..., Path], tmp_path: Path, stated: int | None, found: int
) -> None:
    folder = shutil.copytree(make_bundle(precision="int8"), tmp_path / "copy")
    manifest = json.loads((folder / "gpt2xl.json").read_text())
    (folder / "gpt2xl.json").write_text(json.dumps(manifest | {"long_step_from": stated}))
    assert open_session(open_bundle(folder), CPU).long_step_from == found


def same_bits(session: Session, count: int) -> bool:
    """Whether a step of ``count`` tokens gives the bits of single ones."""
    ids = np.arange(40, 40 + count)[None]
    cache = session.new_cache()
    singly = [session.forward(ids[:, at : at + 1], cache) for at in range(count)]
    return np.array_equal(session.forward(ids, session.new_cache()), singly[-1])


@pytest.mark.parametrize(
    ("shared", "previous", "prompt", "usable"),
    [
        (50, 30, 60, 30),  # what was generated after the prompt of 30 came from short steps
        (20, 30, 60, 20),
        (30, 30, 34, 25),  # what is left to feed is a long step, too
        (30, 30, 9, 0),
        (8, 8, 60, 0),  # a short prompt came from short steps
        (50, 30, 5, 0),
    ],
)
def test_a_prefix_is_reused_only_from_steps_of_the_same_kind(
    shared: int, previous: int, prompt: int, usable: int
) -> None:
    assert reusable_prefix(shared, previous, prompt, LONG_STEP) == usable
    assert reusable_prefix(shared, previous, prompt, None) == shared
