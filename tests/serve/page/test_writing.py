"""Text: typing, generating, stopping, undo and redo."""

import re

import pytest
from tests.serve.page.playground import PROMPT, Playground, options

from gpt2xl import Model

pytestmark = pytest.mark.slow  # a browser needs a process of its own: playwright runs an event loop


def test_the_page_continues_a_text_as_the_library_does(
    playground: Playground, demo_model: Model
) -> None:
    playground.write(PROMPT)
    playground.set(seed=7, max_tokens=24)
    report = playground.generate()
    assert playground.text == PROMPT + demo_model.generate(PROMPT, options()).text
    assert re.match(r"24 tokens in .* seed 7\.", report)


def test_every_setting_reaches_the_model(playground: Playground, demo_model: Model) -> None:
    playground.write(PROMPT)
    changed = {
        "temperature": 1.2,
        "top_k": 30,
        "top_p": 0.9,
        "min_p": 0.02,
        "repetition_penalty": 1.1,
    }
    playground.set(seed=3, max_tokens=30, **changed)
    playground.generate()
    expected = demo_model.generate(PROMPT, options(seed=3, max_new_tokens=30, **changed)).text
    assert playground.text == PROMPT + expected


def test_stop_strings_end_the_text(playground: Playground, demo_model: Model) -> None:
    playground.write(PROMPT)
    playground.set(seed=7, max_tokens=100, stop="\\n\n.")
    assert "Ended by" in playground.generate()
    expected = demo_model.generate(PROMPT, options(max_new_tokens=100, stop_strings=["\n", "."]))
    assert playground.text == PROMPT + expected.text
    coloured = "".join(playground.tokens().all_text_contents())
    assert coloured == expected.text


def test_the_text_appears_in_parts(playground: Playground) -> None:
    playground.write(PROMPT)
    playground.set(seed=7, max_tokens=60)
    playground.page.evaluate(
        """() => {
          window.lengths = new Set();
          const field = document.getElementById("text");
          const note = () => window.lengths.add(field.value.length);
          new MutationObserver(note).observe(document.querySelector("#document .copy"), { childList: true });
        }"""
    )
    playground.generate()
    assert playground.page.evaluate("() => window.lengths.size") > 3


def test_stop_ends_a_text_and_keeps_what_came(playground: Playground) -> None:
    playground.write(PROMPT)
    playground.set(seed=7)
    playground.go_on_without_end()
    playground.page.click("#generate")
    playground.token(3)
    playground.page.click("#stop")
    assert playground.wait_until_done() == "Stopped."
    assert playground.text.startswith(PROMPT)
    assert len(playground.text) > len(PROMPT)
    playground.page.unroute_all()
    playground.write(playground.text[: len(PROMPT) + 8])
    stopped = playground.text
    playground.set(max_tokens=4)
    assert re.match(r"\d tokens? in ", playground.generate())
    assert playground.text.startswith(stopped)


def test_keys_generate_and_stop(playground: Playground) -> None:
    playground.write(PROMPT)
    playground.set(seed=7)
    playground.go_on_without_end()
    playground.page.focus("#text")
    playground.page.keyboard.press("Control+Enter")
    playground.token(3)
    playground.page.keyboard.press("Escape")
    assert playground.wait_until_done() == "Stopped."


def test_undo_and_redo_go_through_texts_with_their_colours(playground: Playground) -> None:
    playground.write(PROMPT)
    playground.set(seed=7, max_tokens=12)
    playground.generate()
    first, count = playground.text, playground.tokens().count()
    playground.generate()
    second = playground.text
    playground.page.click("#undo")
    assert playground.text == first
    playground.expect(playground.tokens()).to_have_count(count)
    playground.page.focus("#text")
    playground.page.keyboard.press("Control+Z")
    assert playground.text == PROMPT
    playground.page.keyboard.press("Control+Y")
    playground.page.keyboard.press("Control+Shift+Z")
    assert playground.text == second
    playground.expect(playground.page.locator("#redo")).to_be_disabled()


def test_an_edit_takes_the_colours_behind_it(playground: Playground) -> None:
    playground.write(PROMPT)
    playground.set(seed=7, max_tokens=12)
    playground.generate()
    playground.token(11)
    last = playground.tokens().all_text_contents()[5]
    position = len(PROMPT) + len("".join(playground.tokens().all_text_contents()[:5]))
    playground.page.focus("#text")
    playground.page.evaluate(
        "position => document.getElementById('text').setSelectionRange(position, position)",
        position,
    )
    playground.page.keyboard.type("x")
    playground.expect(playground.tokens()).to_have_count(5)
    assert playground.text[position : position + 1 + len(last)] == "x" + last


def test_the_count_of_tokens_follows_the_text(playground: Playground, demo_model: Model) -> None:
    playground.write("Two kings and a café")
    count = len(demo_model.tokenizer.encode("Two kings and a café"))
    playground.expect(playground.page.locator("#count")).to_have_text(f"{count} / 1024 tokens")


def test_a_prompt_that_is_too_long_is_refused_in_words(playground: Playground) -> None:
    playground.write("king " * 1200)
    playground.page.click("#generate")
    playground.expect(playground.page.locator("#alert-text")).to_contain_text("1024")
    assert playground.text == "king " * 1200
    playground.page.click("#close-alert")
    playground.expect(playground.page.locator("#alert")).to_be_hidden()
