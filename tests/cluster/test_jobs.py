"""A batch on the cluster gives, byte for byte, what one local run does, whatever dies in between."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs the extra ray")

import ray
from tests.cluster.jobs import ONE, SEED, EndProcess, Slow, Write, content, job, parts, run_cli

import gpt2xl
import gpt2xl_ray
from gpt2xl import BundleError, RequestError
from gpt2xl_ray import ClusterError, JobProgress, run_job

CLUSTER = pytest.mark.usefixtures("cluster")


@CLUSTER
@pytest.mark.parametrize("actors", ["1", "2", "4"])
def test_texts_are_those_of_one_local_run(
    actors: str, tmp_path: Path, demo: Path, lines: Write, local: bytes
) -> None:
    seen = list[JobProgress]()
    done = run_job(job(lines(), tmp_path / "out", demo, actors, part_rows=12), seen.append)
    assert content(tmp_path / "out") == local
    assert (done.rows, done.errors, done.done_before) == (96, 0, 0)
    assert done.parts == len(parts(tmp_path / "out")) >= 8
    assert seen[-1].done == seen[-1].total == lines().stat().st_size
    assert max(progress.actors for progress in seen) <= int(actors)


@CLUSTER
def test_an_actor_dies(tmp_path: Path, demo: Path, lines: Write, local: bytes) -> None:
    end = EndProcess(tmp_path / "died")
    done = run_job(job(lines(), tmp_path / "out", demo, "2", part_rows=12, stopping=end))
    assert (tmp_path / "died").exists()
    assert content(tmp_path / "out") == local
    assert done.rows == 96


@CLUSTER
def test_a_part_that_ends_every_actor_is_named(tmp_path: Path, bundle: Path, lines: Write) -> None:
    with pytest.raises(ClusterError, match=r"part \d+, '.*in\.jsonl' from 0 to .* 3 actors"):
        run_job(job(lines(rows=4), tmp_path / "out", bundle, "1", stopping=EndProcess(None)))


def test_a_node_dies(tmp_path: Path, cluster: Any, demo: Path, lines: Write, local: bytes) -> None:
    """Actors of two CPUs are one on each node; the third node goes with its actor."""
    third = cluster.add_node(num_cpus=2, object_store_memory=150 << 20)
    settings = job(lines(), tmp_path / "out", demo, "3", stopping=Slow())
    settings = gpt2xl_ray.JobSettings(
        settings.source, settings.out, settings.udf, gpt2xl_ray.Actors(3, 3, cpus=2), 6
    )
    alive = list[int]()

    def show(progress: JobProgress) -> None:
        if progress.actors == 3 and not alive:
            cluster.remove_node(third, allow_graceful=False)
        alive.append(progress.actors)

    done = run_job(settings, show)
    assert max(alive) == 3, "all three nodes were at work"
    end = time.monotonic() + 90
    while (
        sum(node["Alive"] for node in ray.nodes()) > 2
    ):  # Ray notices late; later tests count nodes
        assert time.monotonic() < end
        time.sleep(0.2)
    assert content(tmp_path / "out") == local
    assert done.rows == 96


def test_the_driver_dies(
    tmp_path: Path, cluster: Any, demo: Path, lines: Write, local: bytes
) -> None:
    """What was finished is not touched again."""
    out = tmp_path / "out"
    arguments = (
        "batch", lines(), out, "-m", demo, "-s", SEED, "-n", 24, "--ray", cluster.address,
        "--actors", "1:2", "--part-rows", 6,
    )  # fmt: skip
    process = run_cli(*arguments)
    end = time.monotonic() + 120
    while len(parts(out)) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in parts(out)}
    again = run_cli(*arguments)
    stdout, stderr = again.communicate(timeout=120)
    assert again.returncode == 0, stderr  # Ray may warn there of a node that has died
    assert f"of {len(parts(out))} parts were done before" in stdout
    kept = [path for path, when in before.items() if path.stat().st_mtime_ns == when]
    assert len(kept) >= 3
    assert content(out) == local


@CLUSTER
def test_a_finished_job_does_nothing(tmp_path: Path, bundle: Path, lines: Write) -> None:
    settings = job(lines(rows=8), tmp_path / "out", bundle, "1")
    first = run_job(settings)
    before = content(tmp_path / "out")
    second = run_job(settings)
    assert (second.done_before, second.rows) == (first.parts, 0)
    assert second.tokens_per_second is None
    assert content(tmp_path / "out") == before


@CLUSTER
def test_a_drawn_seed_is_kept(tmp_path: Path, bundle: Path, lines: Write) -> None:
    out = tmp_path / "out"
    run_job(job(lines(rows=40), out, bundle, "1", seed=None, part_rows=8))
    whole = content(out)
    parts(out)[1].unlink()
    run_job(job(lines(rows=40), out, bundle, "1", seed=None, part_rows=99))
    assert content(out) == whole


@CLUSTER
def test_bad_rows(tmp_path: Path, bundle: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(
        b'{"id": 0, "prompt": "go"}\n\n  \n{"id": 1}\nno json\n[1]\n{}\n{"id": 2, "prompt": "go", "text": 1}\n'
        b'{"id": 3, "prompt": NaN}\n{"id": "x", "prompt": null}\n{"id": 4, "prompt": [5]}\n\xff\n'
        b'{"id": 5, "prompt": "go", "error": 1}'
    )
    done = run_job(job(source, tmp_path / "out", bundle, "1", part_rows=3))
    rows = [json.loads(line) for line in content(tmp_path / "out").splitlines()]
    assert (done.rows, done.errors) == (11, 9)
    assert [row.get("error", "")[:24] for row in rows] == [
        "", 'the line has no "prompt"', "the line is not JSON: Ex", "the line is not a JSON o",
        'the line has no "prompt"', 'the line has a "text" al', "the line is not JSON: Na",
        "a prompt is a text or a ", "", "the line is not JSON: 'u", 'the line has a "error" a',
    ]  # fmt: skip
    assert [row.get("line") for row in rows][2:5] == ["no json", "[1]", "{}"]
    model = gpt2xl.load(bundle, ONE)
    assert rows[0]["text"] == model.generate("go", seed=SEED, max_new_tokens=24).text
    assert rows[8]["text"] == model.generate([5], seed=SEED + 4, max_new_tokens=24).text


@CLUSTER
def test_refusals(tmp_path: Path, bundle: Path, lines: Write) -> None:
    source, out = lines(rows=4), tmp_path / "out"
    run_job(job(source, out, bundle, "1"))
    with pytest.raises(RequestError, match=r"another run: seed, options differ.*--force"):
        run_job(job(source, out, bundle, "1", seed=6, top_k=3))
    done = run_job(job(source, out, bundle, "1", seed=6, top_k=3, force=True))
    assert done.rows == 4
    with pytest.raises(RequestError, match=r"there is no '.*absent'"):
        run_job(job(tmp_path / "absent", out, bundle, "1"))
    (tmp_path / "in.txt").touch()
    with pytest.raises(RequestError, match=r"end in \.jsonl"):
        run_job(job(tmp_path / "in.txt", out, bundle, "1"))
    with pytest.raises(RequestError, match="holds files, but not of such a run"):
        run_job(job(source, tmp_path, bundle, "1"))
    with pytest.raises(BundleError, match="no-bundle"):
        run_job(job(source, tmp_path / "new", tmp_path / "no-bundle", "1"))
    with pytest.raises(RequestError, match="less than the context"):
        run_job(job(source, tmp_path / "o2", bundle, "1", overflow="slide", overflow_keep=90))


@CLUSTER
def test_a_cluster_that_is_too_small(tmp_path: Path, bundle: Path, lines: Write) -> None:
    settings = job(lines(rows=4), tmp_path / "out", bundle, "1")
    for actors, message in (
        (gpt2xl_ray.Actors(5, 5), "5 actors of 1 CPU do not fit on the cluster, .* room for 4"),
        (gpt2xl_ray.Actors(1, 1, cpus=3), "1 actor of 3 CPUs do not fit"),
    ):
        too_many = gpt2xl_ray.JobSettings(settings.source, settings.out, settings.udf, actors)
        with pytest.raises(ClusterError, match=message):
            run_job(too_many)

    class Holder:
        def hold(self) -> None:
            """Be there."""

    remote = ray.remote(Holder).options(num_cpus=2)
    holders = [remote.remote(), remote.remote()]
    ray.get([holder.hold.remote() for holder in holders])
    with pytest.raises(ClusterError, match=r"1 CPU are needed, .* 0 are free: 2 nodes with 2 \+ 2"):
        run_job(settings)
    for holder in holders:
        ray.kill(holder)
