"""A server of the demo and a browser; tests skip where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.serve.page.playground import Playground, serving

from gpt2xl import Model

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SERVER_PACKAGES = ("starlette", "uvicorn", "msgspec")


@pytest.fixture(scope="package")
def browser_api() -> Any:
    """The module playwright.sync_api."""
    for package in SERVER_PACKAGES:
        pytest.importorskip(package, reason=f"needs {package}, of the extra serve")
    return pytest.importorskip("playwright.sync_api", reason="needs playwright")


# Not of the session: while playwright runs, no other test of this thread can run an event loop.
@pytest.fixture(scope="package")
def browser(browser_api: Any) -> Iterator[Browser]:
    """Chromium without a window."""
    path = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if path is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with browser_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def address(browser: Browser, demo_model: Model) -> Iterator[str]:
    """Where the demo is served without a key."""
    with serving(demo_model) as url:
        yield url


@pytest.fixture
def playground(browser: Browser, browser_api: Any, address: str) -> Iterator[Playground]:
    """The page, open, with a storage of its own. No error may be left in its console."""
    with browser.new_context(viewport={"width": 1200, "height": 900}) as context:
        opened = Playground(context.new_page(), address, browser_api.expect).open()
        yield opened
        assert opened.errors == []
