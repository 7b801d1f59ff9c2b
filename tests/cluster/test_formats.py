"""Inputs and outputs: ranges of files, Parquet, URIs, and a local server of S3."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs the extra ray")

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from tests.cluster.jobs import ONE, SEED, Write, content, job, parts

import gpt2xl
from gpt2xl_ray import run_job
from gpt2xl_ray.bundles import local_bundle
from gpt2xl_ray.jobs.json_parts import JsonPart
from gpt2xl_ray.jobs.plan import parts_of, read_input
from gpt2xl_ray.storage import Place

CLUSTER = pytest.mark.usefixtures("cluster")


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_each_line_belongs_to_one_part(end: str, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    values = [json.dumps({"id": n, "prompt": "é" * (n % 5)}) for n in range(20)]
    source.write_text("\n".join(values) + end, encoding="utf-8")
    given = read_input(str(source))
    reader = JsonPart(given.place, "id", "prompt")
    for size in range(1, given.total + 2):
        lines = [line for part in parts_of(given, size) for line in reader.read(part)[0]]
        assert [line.text for line in lines] == values, size


@CLUSTER
def test_parquet(tmp_path: Path, bundle: Path) -> None:
    prompts = ["go", None, "the king", "a fair daughter " * 40, "Once upon"] * 6
    ids = [f"row {number}" for number in range(30)]
    (tmp_path / "in").mkdir()
    for name, rows in (("a.parquet", slice(0, 18)), ("b.parquet", slice(18, 30))):
        table = pa.table({"key": ids[rows], "prompt": prompts[rows]})
        pq.write_table(table, tmp_path / "in" / name, row_group_size=7)
    source = f"file://{tmp_path}/in"
    settings = job(
        source, f"file://{tmp_path}/out", bundle, "2", part_rows=5, id_column="key", logprobs=1
    )
    done = run_job(settings)
    assert (done.rows, done.errors, done.parts) == (30, 12, 7)
    found = pq.read_table(tmp_path / "out").to_pydict()
    expected = settings.udf({"key": ids, "prompt": prompts})
    assert found["key"] == ids
    for name in ("text", "seed", "error", "logprobs", "new_tokens"):
        absent = -1 if name == "seed" else "" if name != "new_tokens" else None
        values = [None if value == absent else value for value in expected[name].tolist()]
        if name == "text":
            values = [
                v if e == "" else None
                for v, e in zip(expected[name], expected["error"], strict=True)
            ]
        assert found[name] == values, name


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """A local server of S3 with a bucket; what follows ``?`` in its URIs."""
    pytest.importorskip("moto", reason="moto is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    query = f"?scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1&allow_bucket_creation=true"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    filesystem, _ = fs.FileSystem.from_uri(f"s3://key:secret@bucket{query}")
    filesystem.create_dir("bucket")
    yield query
    server.terminate()
    server.wait()


@CLUSTER
def test_s3(
    tmp_path: Path, bundle: Path, lines: Write, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Input, output and bundle on S3; the bundle is fetched into this machine's cache, and used from there."""

    def uri(name: str) -> str:
        return f"s3://key:secret@bucket/{name}{store}"

    filesystem = Place.of(uri("in.jsonl")).filesystem
    Place.of(uri("in.jsonl")).write(lines(rows=24).read_bytes())
    fs.copy_files(str(bundle), "bucket/tiny", fs.LocalFileSystem(), filesystem)
    done = run_job(job(uri("in.jsonl"), uri("out"), uri("tiny"), "2", part_rows=6))
    run_job(job(lines(rows=24), tmp_path / "out", bundle, "1", part_rows=6))
    found = [Place.of(uri(f"out/{path.name}")).read() for path in parts(tmp_path / "out")]
    assert b"".join(found) == content(tmp_path / "out")
    assert done.out == "s3://bucket/out"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = local_bundle(uri("tiny"))
    assert gpt2xl.load(Path(first), ONE).generate("go", seed=SEED, max_new_tokens=4).text
    when = Path(first).stat().st_mtime_ns
    assert local_bundle(uri("tiny")) == first
    assert Path(first).stat().st_mtime_ns == when
    with pytest.raises(gpt2xl.BundleError, match="'s3://bucket/absent' is no bundle"):
        local_bundle(uri("absent"))
