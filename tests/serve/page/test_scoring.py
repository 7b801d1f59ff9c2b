"""A text that is scored: its perplexity and colours."""

import math

import pytest
from tests.serve.page.playground import Playground

from gpt2xl import GenerationOptions, Model

pytestmark = pytest.mark.slow  # a browser needs a process of its own: playwright runs an event loop

TEXT = "Once upon a time there lived a king.\n\n“Who goes there?” asked the naïve café owner 🦊.  Two spaces"


def level(logprob: float) -> str:
    """A level as the legend names it."""
    value = math.exp(logprob)
    return (
        "sure"
        if value >= 0.5
        else "likely"
        if value >= 0.1
        else "possible"
        if value >= 0.01
        else "unlikely"
    )


def test_the_perplexity_is_the_librarys(playground: Playground, demo_model: Model) -> None:
    playground.write(TEXT)
    playground.page.click("#score")
    report = playground.wait_until_done()
    generation = demo_model.generate(TEXT, GenerationOptions(max_new_tokens=1, prompt_logprobs=1))
    values = [each.token for each in generation.prompt_logprobs or () if each]
    perplexity = math.exp(-sum(values) / len(values))
    assert report == f"Perplexity {perplexity:,.0f} over {len(values)} tokens."
    assert playground.text == TEXT


def test_every_character_has_its_token_and_level(playground: Playground, demo_model: Model) -> None:
    text = "Once upon a time there lived a king, and the king had a fair daughter."
    playground.write(text)
    playground.page.click("#score")
    playground.wait_until_done()
    parts = playground.tokens()
    assert "".join(parts.all_text_contents()) == text
    generation = demo_model.generate(text, GenerationOptions(max_new_tokens=1, prompt_logprobs=1))
    values = [None, *(each.token for each in generation.prompt_logprobs or () if each)]
    classes = [str(part.get_attribute("class")).split()[1] for part in parts.all()]
    assert classes == [
        "unknown" if value is None else level(value) for value in values[-len(classes) :]
    ]


def test_colours_can_be_switched_off(playground: Playground) -> None:
    playground.write("Once upon a time")
    playground.page.click("#score")
    playground.wait_until_done()
    token = playground.token(1)
    colour = "element => getComputedStyle(element).backgroundColor"
    assert token.evaluate(colour) != "rgba(0, 0, 0, 0)"
    playground.page.click("#show-colours")
    assert token.evaluate(colour) == "rgba(0, 0, 0, 0)"


def test_the_colours_lie_under_the_words(playground: Playground) -> None:
    """The field and the copy below it break their lines alike."""
    playground.write((TEXT + "\n") * 8)
    playground.page.click("#score")
    playground.wait_until_done()
    for width in (390, 800, 1400):
        playground.page.set_viewport_size({"width": width, "height": 900})
        heights = playground.page.evaluate(
            """() => {
              const field = document.getElementById("text");
              const copy = document.querySelector("#document .copy");
              return [field.scrollHeight, copy.scrollHeight, document.body.scrollWidth - innerWidth];
            }"""
        )
        assert heights[0] == heights[1]
        assert heights[2] <= 0


def test_nothing_to_score_is_said(playground: Playground) -> None:
    playground.page.click("#score")
    assert playground.wait_until_done() == "There is no text to score."
