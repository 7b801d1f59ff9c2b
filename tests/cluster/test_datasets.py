"""Rows of Ray datasets, and the engines that need no code of ours: what they give is what the model gives."""

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray", reason="needs the extra ray")

import pandas as pd
import ray
from tests.cluster.jobs import ONE, PROMPTS, EndProcess

import gpt2xl
import gpt2xl_ray
from gpt2xl_ray import Actors, ClusterError

pytestmark = pytest.mark.usefixtures("cluster")
ROWS = [{"id": number, "prompt": f"{PROMPTS[number % 4]} {number}"} for number in range(40)]


def expected_texts(bundle: Path) -> dict[int, str]:
    model = gpt2xl.load(bundle, ONE)
    texts = model.generate_batch([str(row["prompt"]) for row in ROWS], seed=3, max_new_tokens=8)
    return {number: text.text for number, text in texts}


def test_generate_though_an_actor_dies(bundle: Path, tmp_path: Path) -> None:
    dataset = ray.data.from_items(ROWS, override_num_blocks=4)
    texts = gpt2xl_ray.generate(
        dataset, str(bundle), actors=Actors(2, 2), batch_size=8, seed=3, max_new_tokens=8,
        stopping=EndProcess(tmp_path / "died"),
    )  # fmt: skip
    found = texts.take_all()
    assert (tmp_path / "died").exists()
    assert {row["id"]: row["text"] for row in found} == expected_texts(bundle)
    assert len(found) == len(ROWS)


def test_map_batches_without_our_package(bundle: Path) -> None:
    udf = gpt2xl.batch_udf(str(bundle), seed=3, max_new_tokens=8, load=ONE)
    found = ray.data.from_items(ROWS).map_batches(udf, batch_size=16).take_all()
    assert {row["id"]: row["text"] for row in found} == expected_texts(bundle)


def test_dask_frames(bundle: Path) -> None:
    dask = pytest.importorskip("dask.dataframe", reason="dask is not installed")
    udf = gpt2xl.batch_udf(str(bundle), seed=3, max_new_tokens=8, load=ONE)
    frame = dask.from_pandas(pd.DataFrame(ROWS), npartitions=3)
    found = frame.map_partitions(
        lambda part: next(udf.map_frames([part])), meta=next(udf.map_frames([frame._meta]))
    ).compute(scheduler="threads")
    assert dict(zip(found["id"], found["text"], strict=True)) == expected_texts(bundle)


def test_a_checkpoint_of_ray_data(bundle: Path, tmp_path: Path) -> None:
    """A second run computes no row again."""
    from ray.data.checkpoint import CheckpointConfig

    (tmp_path / "in").mkdir()
    pd.DataFrame(ROWS).to_parquet(tmp_path / "in" / "a.parquet")
    context = ray.data.DataContext.get_current()
    context.checkpoint_config = CheckpointConfig(
        id_column="id", checkpoint_path=str(tmp_path / "kept"), delete_checkpoint_on_success=False
    )
    try:
        for _ in range(2):
            dataset = ray.data.read_parquet(str(tmp_path / "in"))
            texts = gpt2xl_ray.generate(dataset, str(bundle), seed=3, max_new_tokens=8)
            texts.write_parquet(str(tmp_path / "out"))
    finally:
        context.checkpoint_config = None
    found = pd.read_parquet(tmp_path / "out")
    assert dict(zip(found["id"], found["text"], strict=True)) == expected_texts(bundle)
    assert len(found) == len(ROWS)


def test_evaluate_and_score(bundle: Path) -> None:
    texts = [*PROMPTS, None, ""]
    dataset = ray.data.from_items([{"text": text} for text in texts])
    found = gpt2xl_ray.evaluate(dataset, str(bundle), actors=Actors(1, 2), batch_size=2)
    model = gpt2xl.load(bundle, ONE)
    scores = [model.score(text) for text in PROMPTS]
    tokens = sum(len(score.ids) - 1 for score in scores)
    assert (found.texts, found.errors, found.tokens) == (4, 2, tokens)
    assert found.nats == pytest.approx(-sum(score.sum for score in scores), rel=1e-12)
    assert found.perplexity == pytest.approx(math.exp(found.nats / tokens))


def test_features(bundle: Path) -> None:
    rows = [{"id": n, "text": text} for n, text in enumerate([*PROMPTS, None])]
    found = gpt2xl_ray.features(ray.data.from_items(rows), str(bundle), pooling="last").take_all()
    model = gpt2xl.load(bundle, ONE)
    by_id = {row["id"]: row for row in found}
    for number, text in enumerate(PROMPTS):
        expected = model.features(text, pooling="last")
        np.testing.assert_array_equal(by_id[number]["features"], expected)
    assert np.isnan(by_id[4]["features"]).all()
    assert "None" in by_id[4]["error"]


def test_no_cpu_left_to_read(bundle: Path) -> None:
    dataset = ray.data.from_items(ROWS)
    with pytest.raises(ClusterError, match="5 CPUs are needed, 4 for 4 actors and 1 to read"):
        gpt2xl_ray.generate(dataset, str(bundle), actors=Actors(4, 4))
