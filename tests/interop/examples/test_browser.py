"""examples/browser in headless Chromium: the runtime's texts, few bytes, and no network afterwards."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.opening import open_session
from gpt2xl.startup.options import LoadOptions
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions

BROWSER = Path(__file__).parents[3] / "examples" / "browser"
DEMO = Path(__file__).parents[3] / "models" / "demo"
MEGABYTE = 1e6
SLACK = 0.5
"""Of a logit in int8, as in tests/interop/conftest.py."""
pytestmark = pytest.mark.timeout(600)  # WebAssembly on a busy machine
READY = "document.getElementById('status').textContent.startsWith('Ready')"


class Site(ThreadingHTTPServer):
    """A static host that counts the bytes of its answers."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.sent = 0
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://localhost:{self.server_port}/"


class Handler(SimpleHTTPRequestHandler):
    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        assert isinstance(self.server, Site)
        self.server.sent += len(content)
        outputfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def browser(needed: Callable[..., str]) -> Iterator[Any]:
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright, of the extra interop"
    )
    path = needed("chromium", "chromium-browser", "google-chrome")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def serve(
    node_folder: Path, needed: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Path], Site]]:
    """Call it with a bundle: it is served by what assemble.mjs makes of it."""
    shutil.copytree(BROWSER, node_folder.parent / "browser", dirs_exist_ok=True)
    sites: list[Site] = []

    def start(bundle: Path) -> Site:
        site = tmp_path_factory.mktemp("site") / "site"
        command = [needed("node"), "assemble.mjs", str(bundle), str(site)]
        folder = node_folder.parent / "browser"
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        sites.append(Site(site))
        return sites[-1]

    yield start
    for site in sites:
        site.shutdown()
        site.server_close()


def opened(context: Any, site: Site) -> Any:
    page = context.new_page()
    page.goto(site.address)
    page.wait_for_function(READY, timeout=150_000)
    return page


def test_texts_are_those_of_the_runtime(
    browser: Any,
    serve: Callable[[Path], Site],
    text_bundle: Path,
    cases: list[dict[str, Any]],
) -> None:
    with browser.new_context() as context:
        page = opened(context, serve(text_bundle))
        asked = [{key: case[key] for key in ("prompt", "seed", "temperature")} for case in cases]
        found = page.evaluate(
            """async (asked) => {
              const found = [];
              for (const { prompt, seed, temperature } of asked)
                found.push(await gpt2xl.generate(prompt, { seed, temperature, topK: 40, maxNewTokens: 40 }));
              return found;
            }""",
            asked,
        )
    if open_bundle(text_bundle).is_float32:
        wanted = [{key: case[key] for key in ("text", "ids", "finishReason")} for case in cases]
        assert found == wanted
    else:  # kernels in WebAssembly round other activations
        assert_all_likely(text_bundle, cases[::2], found[::2])


def assert_all_likely(
    bundle: Path, cases: list[dict[str, Any]], found: list[dict[str, Any]]
) -> None:
    """That the logit of each token of the greedy texts is the highest by our own kernels, or nearly."""
    held = open_bundle(bundle)
    session = open_session(held, LoadOptions(provider="cpu"))
    for case, answer in zip(cases, found, strict=True):
        prompt, new = case["promptIds"] or [*held.config.eos_token_ids], answer["ids"]
        cache = session.new_cache()
        for fed, chosen in zip([prompt, *([token] for token in new[:-1])], new, strict=True):
            logits = session.forward(np.array([fed]), cache)[0, -1]
            assert logits[chosen] >= logits.max() - SLACK, answer["text"]


def test_the_demo_takes_12_mb_and_then_no_network(
    browser: Any, serve: Callable[[Path], Site], tmp_path: Path
) -> None:
    export(DEMO, tmp_path / "bundle", ExportOptions("int4", block_size=32, rounding="nearest"))
    site = serve(tmp_path / "bundle")
    with browser.new_context() as context:
        page = opened(context, site)
        assert 5 * MEGABYTE < site.sent < 12 * MEGABYTE
        assert page.evaluate("document.getElementById('progress').value") == 1
        text = write(page)
        assert text.startswith("The king") and len(text) > 50
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        context.set_offline(True)
        site.shutdown()
        page.reload()
        page.wait_for_function(READY, timeout=150_000)
        assert write(page) == text


def write(page: Any) -> str:
    page.fill("#prompt", "The king")
    page.fill("#tokens", "20")
    page.fill("#seed", "5")
    page.click("#write")
    done = "document.getElementById('status').textContent.includes('tokens, ')"
    page.wait_for_function(done, timeout=150_000)
    return str(page.text_content("#text"))


def test_what_is_missing_is_said(
    browser: Any, serve: Callable[[Path], Site], text_bundle: Path
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/*.onnx_data.gzip", lambda route: route.fulfill(status=404))
        page.goto(serve(text_bundle).address)
        page.wait_for_function(
            "document.getElementById('status').textContent.includes('the server answered 404')",
            timeout=150_000,
        )
