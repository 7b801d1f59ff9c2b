"""The clients that docs/serve.md shows, and the health check of the Dockerfile, against a server."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("prometheus_client", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")

from tests.serve.conftest import Running, Servers

from gpt2xl import Model

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "serve.md").read_text("utf-8")
NODE_MODULES = Path(
    os.environ.get("GPT2XL_NODE_MODULES", ROOT / "tests" / "interop" / "node_modules")
).resolve()


@pytest.fixture(scope="module")
def server(demo: Callable[[str], Model]) -> Iterator[Running]:
    """One of the demo."""
    servers = Servers()
    yield servers.start(demo("fp32"))
    servers.stop()


def example(language: str, beginning: str, running: Running) -> tuple[str, str]:
    """A block of the page that asks ``running``, and the output that the page shows."""
    pattern = rf"^```{language}\n({re.escape(beginning)}.*?)^```$(?:\n\n```text\n(.*?)^```$)?"
    found = re.search(pattern, PAGE, re.MULTILINE | re.DOTALL)
    assert found
    code = found[1].replace("http://127.0.0.1:8000", running.server.url).replace('"gpt2"', '"demo"')
    return code, found[2] or ""


def output(command: list[str], place: Path) -> str:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not find_spec("openai"), reason="needs OpenAI's client")
def test_python(server: Running, tmp_path: Path) -> None:
    code, shown = example("python", "from openai", server)
    assert output([sys.executable, "-c", code], tmp_path) == shown


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl(server: Running, tmp_path: Path) -> None:
    code, _ = example("sh", "curl", server)
    *events, done = output(["bash", "-euc", code], tmp_path).split("\n\n")[:-1]
    chunks = [json.loads(each.removeprefix("data: ")) for each in events]
    text = "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])
    assert (text, done) == (", there was a little girl named Lily.", "data: [DONE]")


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
@pytest.mark.skipif(not (NODE_MODULES / "openai").is_dir(), reason=f"{NODE_MODULES} has no openai")
def test_javascript(server: Running, tmp_path: Path) -> None:
    code, shown = example("js", "import OpenAI", server)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    (tmp_path / "page.mjs").write_text(code)
    assert output(["node", "page.mjs"], tmp_path) == shown


def test_the_health_check_of_the_image(server: Running, tmp_path: Path) -> None:
    dockerfile = (ROOT / "examples" / "serve" / "Dockerfile").read_text()
    found = re.search(r"HEALTHCHECK .*\\\n +CMD (\[.*\])\n", dockerfile)
    assert found
    _, *arguments = json.loads(found[1].replace("127.0.0.1:8000", server.server.url[7:]))
    output([sys.executable, *arguments], tmp_path)
    nowhere = [each.replace(f":{server.server.port}/", ":9/") for each in arguments]
    assert subprocess.run([sys.executable, *nowhere], capture_output=True).returncode != 0
