"""A Ray cluster of two nodes on this machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions

try:
    import ray
    from ray import cloudpickle
    from ray.cluster_utils import Cluster
    from tests.cluster import jobs
    from tests.cluster.jobs import NEW_TOKENS, ROOT, ROWS, SEED, Write, run_cli, write_lines
except ModuleNotFoundError:
    collect_ignore_glob = ["jobs.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ray leaves sockets and files open."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Two nodes of two CPUs; this process is connected to them."""
    cloudpickle.register_pickle_by_value(jobs)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    memory = {"object_store_memory": 150 << 20, "num_cpus": 2}
    nodes = Cluster(initialize_head=True, head_node_args={**memory, "include_dashboard": False})
    nodes.add_node(**memory)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo in int8, whose rounding a wrong batch would change."""
    out = tmp_path_factory.mktemp("demo") / "demo"
    export(ROOT / "models" / "demo", out, ExportOptions("int8"))
    return out


@pytest.fixture
def lines(tmp_path: Path) -> "Write":
    """Call it for a file of JSON lines."""

    def write(name: str = "in.jsonl", rows: int = ROWS) -> Path:
        return write_lines(tmp_path / name, rows)

    return write


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, demo: Path) -> bytes:
    """What one local run of `gpt2xl batch` writes."""
    folder = tmp_path_factory.mktemp("local")
    source, out = write_lines(folder / "in.jsonl"), folder / "out.jsonl"
    process = run_cli("batch", source, out, "-m", demo, "-s", SEED, "-n", NEW_TOKENS)
    assert process.wait(120) == 0, process.communicate()
    return out.read_bytes()
