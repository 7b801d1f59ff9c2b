"""Two settings side by side."""

import pytest
from tests.serve.page.playground import PROMPT, Playground, options

from gpt2xl import Model

pytestmark = pytest.mark.slow  # a browser needs a process of its own: playwright runs an event loop


def compared(playground: Playground) -> None:
    """A: temperature 0.8; B, which begins as a copy of A: temperature 1.3."""
    playground.write(PROMPT)
    playground.set(seed=7, max_tokens=24)
    playground.page.click("#compare")
    playground.page.check("[name=variant][value=b]")
    playground.set(temperature=1.3)
    playground.generate()
    playground.token(23, ".pane >> nth=0")
    playground.token(23, ".pane >> nth=1")


def test_both_continue_the_prompt_with_their_settings(
    playground: Playground, demo_model: Model
) -> None:
    compared(playground)
    page = playground.page
    assert playground.text == PROMPT
    cool = demo_model.generate(PROMPT, options()).text
    hot = demo_model.generate(PROMPT, options(temperature=1.3)).text
    assert [page.input_value("#pane-a"), page.input_value("#pane-b")] == [cool, hot]
    captions = page.locator(".pane .caption").all_text_contents()
    assert captions == ["temperature 0.8", "temperature 1.3"]
    assert playground.tokens(".pane >> nth=1").count() == 24


def test_one_is_kept_and_can_be_undone(playground: Playground) -> None:
    compared(playground)
    page = playground.page
    kept = page.input_value("#pane-b")
    page.get_by_role("button", name="Keep B").click()
    assert playground.text == PROMPT + kept
    playground.expect(page.locator("#comparison")).to_be_hidden()
    assert page.input_value("#setting-temperature") == "1.3"
    assert "".join(playground.tokens().all_text_contents()) == kept
    page.click("#undo")
    assert playground.text == PROMPT


def test_a_pane_goes_on_from_an_alternative(playground: Playground, demo_model: Model) -> None:
    compared(playground)
    page = playground.page
    left = page.input_value("#pane-a")
    parts = playground.tokens(".pane >> nth=1").all_text_contents()
    rows = playground.hover(2, ".pane >> nth=1")
    words = [word.replace("␣", " ") for word in rows.locator(".word").all_text_contents()]
    other = next(row for row, word in enumerate(words) if word != parts[2])
    rows.nth(other).click()
    playground.wait_until_done()
    head = "".join(parts[:2]) + words[other]
    expected = demo_model.generate(PROMPT + head, options(temperature=1.3)).text
    playground.expect(page.locator("#pane-b")).to_have_value(head + expected)
    assert page.input_value("#pane-a") == left


def test_a_pane_cannot_be_typed_into(playground: Playground) -> None:
    compared(playground)
    before = playground.page.input_value("#pane-a")
    playground.page.focus("#pane-a")
    playground.page.keyboard.type("no")
    assert playground.page.input_value("#pane-a") == before
