"""The likeliest tokens in the place of one."""

import math

import pytest
from tests.serve.page.playground import PROMPT, Playground, options

from gpt2xl import Model

pytestmark = pytest.mark.slow  # a browser needs a process of its own: playwright runs an event loop


def shown(logprob: float) -> str:
    """A probability as the page writes it."""
    value = 100 * math.exp(logprob)
    return "< 0.01 %" if value < 0.01 else f"{value:.2f} %" if value < 1 else f"{value:.1f} %"


def generated(playground: Playground, prompt: str = PROMPT) -> None:
    playground.write(prompt)
    playground.set(seed=7, max_tokens=24)
    playground.generate()


def test_hover_shows_the_ten_likeliest_with_percentages(
    playground: Playground, demo_model: Model
) -> None:
    generated(playground)
    expected = demo_model.generate(PROMPT, options())
    assert expected.logprobs
    for index in (0, 9):
        rows = playground.hover(index)
        playground.expect(rows).to_have_count(10)
        top = expected.logprobs[index].top
        words = [demo_model.tokenizer.decode([each]).replace(" ", "␣") for each, _ in top]
        assert rows.locator(".word").all_text_contents() == words
        shares = rows.locator(".share").all_text_contents()
        assert shares == [shown(logprob) for _, logprob in top]
        title = playground.page.text_content("#alternatives .title") or ""
        assert shown(expected.logprobs[index].token) in title


def test_a_click_goes_on_from_the_alternative(playground: Playground, demo_model: Model) -> None:
    generated(playground)
    before = playground.text
    parts = playground.tokens().all_text_contents()
    rows = playground.hover(5)
    words = rows.locator(".word").all_text_contents()
    other = next(row for row, word in enumerate(words) if word != parts[5].replace(" ", "␣"))
    head = PROMPT + "".join(parts[:5]) + words[other].replace("␣", " ")
    rows.nth(other).click()
    playground.wait_until_done()
    assert playground.text == head + demo_model.generate(head, options()).text
    # The chosen token has a colour and the same alternatives as the one before it had.
    playground.expect(playground.hover(5).locator(".word")).to_have_text(words)
    playground.page.mouse.move(1, 1)
    playground.page.click("#undo")
    assert playground.text == before


def test_the_text_can_be_cut_after_a_token(playground: Playground) -> None:
    generated(playground)
    head = PROMPT + "".join(playground.tokens().all_text_contents()[:4])
    playground.hover(3)
    playground.set(seed=8)
    playground.hover(3)
    playground.page.click("#alternatives .cut")
    playground.wait_until_done()
    assert playground.text.startswith(head)


def test_an_alternative_can_be_chosen_while_a_text_streams(playground: Playground) -> None:
    playground.write(PROMPT)
    playground.set(seed=7)
    playground.go_on_without_end()
    playground.page.set_viewport_size({"width": 1200, "height": 10_000})  # nothing scrolls
    playground.page.click("#generate")
    playground.token(4)
    head = PROMPT + "".join(playground.tokens().all_text_contents()[:2])
    rows = playground.hover(2)
    word = (rows.nth(1).locator(".word").text_content() or "").replace("␣", " ")
    rows.nth(1).click()
    playground.token(6)
    playground.page.click("#stop")
    playground.wait_until_done()
    assert playground.text.startswith(head + word)


def test_keys_go_through_tokens_and_into_their_alternatives(playground: Playground) -> None:
    generated(playground)
    parts = playground.tokens().all_text_contents()
    page = playground.page
    playground.token(23)
    page.focus("#text")
    page.keyboard.press("Control+Home")
    for _ in range(3):
        page.keyboard.press("Alt+ArrowRight")
    marked = page.locator("#document .marked")
    playground.expect(marked).to_have_text(parts[2], use_inner_text=False)
    page.keyboard.press("Alt+ArrowLeft")
    playground.expect(marked).to_have_text(parts[1])
    playground.expect(page.locator("#announcement")).to_contain_text("%")
    page.keyboard.press("Escape")
    playground.expect(page.locator("#alternatives")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Alt+ArrowDown")
    page.keyboard.press("ArrowDown")
    row = page.locator("#alternatives li button").nth(1)
    playground.expect(row).to_be_focused()
    word = (row.locator(".word").text_content() or "").replace("␣", " ")
    page.keyboard.press("Enter")
    playground.wait_until_done()
    assert playground.text.startswith(PROMPT + parts[0] + word)


def test_parts_of_a_character_are_one_token(playground: Playground) -> None:
    """GPT-2's tokenizers split a character that they do not know into bytes."""
    playground.write("The fox 🦊 ran")
    playground.page.click("#score")
    playground.wait_until_done()
    parts = playground.tokens().all_text_contents()
    assert "".join(parts) == "The fox 🦊 ran"
    assert any("🦊" in part for part in parts)
    index = next(number for number, part in enumerate(parts) if "🦊" in part)
    fragments = playground.hover(index).locator("xpath=self::*[@disabled]")
    for text in fragments.locator(".word").all_text_contents():
        assert "\\x" in text
