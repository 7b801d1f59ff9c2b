"""The page in a browser, as a user sees it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gpt2xl import GenerationOptions, Model

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

SECONDS = 120
PROMPT = "Once upon a time, there was"
SETTINGS: dict[str, Any] = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "seed": 7}
"""What the page begins with, and the seed of the tests."""


def options(**changes: Any) -> GenerationOptions:
    """The options of a text that the page generates with `SETTINGS`."""
    return GenerationOptions(**{**SETTINGS, "max_new_tokens": 24, "logprobs": 10, **changes})


@contextmanager
def serving(model: Model, **changes: Any) -> Iterator[str]:
    """A server of ``model`` in a thread; its address."""
    from gpt2xl_serve.options import ServeOptions
    from gpt2xl_serve.server import Server

    server = Server(lambda: model, "demo", ServeOptions(port=0, grace=0, **changes))
    ready = threading.Event()
    thread = threading.Thread(target=server.run, args=(ready.set,))
    thread.start()
    assert ready.wait(SECONDS)
    try:
        yield server.url
    finally:
        server.stop()
        thread.join(SECONDS)
        assert not thread.is_alive()


class Playground:
    """Finds what users act on, and waits for what they wait for."""

    def __init__(self, page: Page, address: str, expect: Any) -> None:
        self.page, self.address, self.expect = page, address, expect
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(SECONDS * 1000)
        expect.set_options(timeout=SECONDS * 1000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._on_console)

    def _on_console(self, message: Any) -> None:
        # Answers such as 401 are lines of the console too; the page shows them itself.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def open(self) -> Playground:
        """Load the page, or load it again."""
        self.page.goto(self.address)
        self.expect(self.page.locator("#model-name")).not_to_be_empty()
        return self

    @property
    def text(self) -> str:
        """What stands in the text field."""
        return str(self.page.input_value("#text"))

    def write(self, text: str) -> None:
        """Put ``text`` in the place of the present text, by the keyboard."""
        self.page.focus("#text")
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(text)

    def set(self, **settings: object) -> None:
        """Change settings."""
        if not self.page.evaluate("() => document.getElementById('settings').open"):
            self.page.click("#settings summary")
        for name, value in settings.items():
            self.page.fill(f"#setting-{name}", str(value))

    def go_on_without_end(self) -> None:
        """Texts go on until they are stopped, however slow the browser is: settings end one at the context."""

        def change(route: Route) -> None:
            body = json.loads(route.request.post_data or "")
            body |= {"max_tokens": 60_000, "overflow": "slide", "ignore_eos": True}
            # A text that repeats itself takes draft tokens, and comes faster than a page shows it.
            body |= {"temperature": 2.0, "top_k": 0}
            route.continue_(post_data=json.dumps(body))

        self.page.route("**/v1/completions", change)

    def wait_until_done(self) -> str:
        """The report of what ran."""
        self.expect(self.page.locator("#generate")).to_be_enabled()
        self.expect(self.page.locator("#status")).to_have_text(re.compile(r"\.$"))
        return str(self.page.text_content("#status"))

    def generate(self) -> str:
        """Generate by the button; its report."""
        self.page.click("#generate")
        return self.wait_until_done()

    def tokens(self, within: str = "#document") -> Locator:
        """The coloured tokens."""
        return self.page.locator(f"{within} >> .copy .token")

    def token(self, index: int, within: str = "#document") -> Locator:
        """One of them, once the page has drawn it."""
        found = self.tokens(within).nth(index)
        self.expect(found).to_be_attached()
        return found

    def hover(self, index: int, within: str = "#document") -> Locator:
        """Point at a token; its alternatives."""
        token = self.token(index, within)
        token.scroll_into_view_if_needed()
        self.page.evaluate(
            "() => new Promise(requestAnimationFrame)"
        )  # scrolling closes alternatives
        box = token.bounding_box()
        assert box
        self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.expect(token).to_have_class(re.compile("marked"))
        return self.page.locator("#alternatives li button")
