"""Sessions in the browser's storage."""

import json
from pathlib import Path

import pytest
from tests.serve.page.playground import PROMPT, Playground

pytestmark = pytest.mark.slow  # a browser needs a process of its own: playwright runs an event loop


def with_text(playground: Playground) -> str:
    playground.write(PROMPT)
    playground.set(seed=7, max_tokens=8, temperature=0.9)
    playground.generate()
    return playground.text


def test_a_reload_keeps_text_colours_and_settings(playground: Playground) -> None:
    text = with_text(playground)
    parts = playground.tokens().all_text_contents()
    playground.page.click("#compare")
    playground.open()
    assert playground.text == text
    assert playground.tokens().all_text_contents() == parts
    assert playground.page.input_value("#setting-temperature") == "0.9"
    assert playground.page.input_value("#setting-seed") == "7"
    assert playground.page.get_attribute("#compare", "aria-pressed") == "true"
    playground.expect(playground.hover(3)).to_have_count(10)


def test_sessions_are_listed_renamed_opened_and_deleted(playground: Playground) -> None:
    text = with_text(playground)
    page = playground.page
    page.click("#open-sessions")
    page.click("#new-session")
    assert playground.text == ""
    playground.write("Another text")
    page.click("#open-sessions")
    names = page.locator("#session-list input")
    playground.expect(names).to_have_count(2)
    page.get_by_label("Name of Another text").fill("Mine")
    page.keyboard.press("Tab")
    playground.expect(page.locator("#open-sessions")).to_have_text("Session: Mine")
    page.get_by_role("button", name="Open Once upon").click()
    assert playground.text == text
    page.click("#open-sessions")
    page.get_by_role("button", name="Delete Mine").click()
    page.get_by_role("button", name="Really delete Mine").click()
    playground.expect(names).to_have_count(1)
    playground.open()
    assert playground.text == text


def test_deleting_the_open_session_opens_another(playground: Playground) -> None:
    with_text(playground)
    page = playground.page
    page.click("#open-sessions")
    page.get_by_role("button", name="Delete Once").click()
    page.get_by_role("button", name="Really delete Once").click()
    assert playground.text == ""
    playground.open()
    assert playground.text == ""


def test_an_exported_file_brings_sessions_back(playground: Playground, tmp_path: Path) -> None:
    text = with_text(playground)
    page = playground.page
    parts = playground.tokens().all_text_contents()
    page.click("#open-sessions")
    with page.expect_download() as download:
        page.click("#export-sessions")
    path = tmp_path / "sessions.json"
    download.value.save_as(path)
    assert json.loads(path.read_text("utf-8"))["sessions"][0]["text"] == text
    page.get_by_role("button", name="Delete Once").click()
    page.get_by_role("button", name="Really delete Once").click()
    page.click("#open-sessions")
    page.set_input_files("#import-file", path)
    page.get_by_role("button", name="Open Once").click()
    assert playground.text == text
    assert playground.tokens().all_text_contents() == parts
    assert page.input_value("#setting-seed") == "7"


def test_a_file_that_is_none_is_refused_in_words(playground: Playground, tmp_path: Path) -> None:
    page = playground.page
    page.click("#open-sessions")
    contents = {
        "no": "This file is not JSON.",
        "[]": "This file holds no sessions of this page.",
        '{"format": "gpt2xl-sessions", "sessions": [{"text": 1}]}': "This file holds no sessions of this page.",
        '{"format": "gpt2xl-sessions", "sessions": [null]}': "This file holds no sessions of this page.",
    }
    for number, (content, message) in enumerate(contents.items()):
        path = tmp_path / f"{number}.json"
        path.write_text(content)
        page.set_input_files("#import-file", path)
        playground.expect(page.locator("#sessions-error")).to_have_text(message)
    playground.expect(page.locator("#session-list li")).to_have_count(0)


def test_a_full_storage_is_said(playground: Playground) -> None:
    playground.page.evaluate(
        """() => {
          for (let size = 8_000_000; size > 0; size = Math.floor(size / 2)) {
            try { localStorage.setItem("full" + size, "x".repeat(size)); } catch { /* half may fit */ }
          }
        }"""
    )
    playground.write("A text that finds no place")
    playground.expect(playground.page.locator("#alert-text")).to_contain_text("storage is full")
