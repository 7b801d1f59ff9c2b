"""What the page may load, and the key that a server asks for."""

from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from tests.serve.page.playground import PROMPT, Playground, serving

from gpt2xl import Model

pytestmark = pytest.mark.slow  # a browser needs a process of its own: playwright runs an event loop

if TYPE_CHECKING:
    from playwright.sync_api import Browser

KEY = "a-key-of-the-tests"


def test_the_page_asks_only_its_server(playground: Playground) -> None:
    playground.write(PROMPT)
    playground.generate()
    assert len(playground.requests) > 15
    assert {
        url for url in playground.requests if not url.startswith(playground.address + "/")
    } == set()


def test_every_file_comes_with_a_policy(playground: Playground) -> None:
    files = {url for url in playground.requests if "/page/" in url} | {playground.address + "/"}
    assert len(files) > 15
    for url in files:
        with urlopen(url) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_text_of_tags_stays_text(playground: Playground) -> None:
    text = "<img src=x onerror=alert(1)><script>alert(2)</script> &amp; </textarea>"
    playground.write(text)
    playground.page.click("#score")
    playground.wait_until_done()
    playground.hover(2)
    assert playground.text == text
    assert playground.page.locator("img").count() == 0


def test_a_key_is_asked_for_and_kept(
    browser: "Browser", browser_api: Any, demo_model: Model
) -> None:
    with serving(demo_model, api_key=KEY) as address, browser.new_context() as context:
        playground = Playground(context.new_page(), address, browser_api.expect)
        page = playground.page
        page.goto(address)
        page.fill("#key-field", "wrong")
        page.keyboard.press("Enter")
        playground.expect(page.locator("#key-reason")).to_contain_text("wrong")
        page.fill("#key-field", KEY)
        page.get_by_role("button", name="Use the key").click()
        playground.expect(page.locator("#model-name")).to_have_text("demo")
        playground.open()
        playground.write(PROMPT)
        playground.generate()
        assert playground.text.startswith(PROMPT)
        assert len(playground.text) > len(PROMPT)
        assert KEY not in str(page.evaluate("() => JSON.stringify({ ...localStorage })"))
        assert playground.errors == []


def test_without_the_key_the_page_says_so(
    browser: "Browser", browser_api: Any, demo_model: Model
) -> None:
    with serving(demo_model, api_key=KEY) as address, browser.new_context() as context:
        playground = Playground(context.new_page(), address, browser_api.expect)
        page = playground.page
        page.goto(address)
        page.locator("#key .close").click()
        playground.expect(page.locator("#alert-text")).to_have_text(
            "The server asks for an API key."
        )
        playground.write(PROMPT)
        page.click("#generate")
        page.keyboard.press("Escape")
        playground.expect(page.locator("#key")).to_be_hidden()
        assert playground.text == PROMPT


def test_a_server_that_is_gone_is_said(
    browser: "Browser", browser_api: Any, demo_model: Model
) -> None:
    with browser.new_context() as context:
        with serving(demo_model) as address:
            playground = Playground(context.new_page(), address, browser_api.expect).open()
        playground.write(PROMPT)
        playground.page.click("#generate")
        alert = playground.page.locator("#alert-text")
        playground.expect(alert).to_have_text("The server does not answer. Is it running?")
        assert playground.text == PROMPT
