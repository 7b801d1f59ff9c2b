"""A text that is generated alone takes draft tokens; no text changes, and the metrics count them."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("uvicorn", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")

from tests.serve.conftest import Running

from gpt2xl import Model
from gpt2xl.decoding.speculation_costs import SpeculationCosts

PROMPT = "The king said no, and the king said yes, and the king said"


@pytest.fixture(autouse=True)
def always_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it pays depends on the machine's speed."""
    monkeypatch.setattr(SpeculationCosts, "choose", lambda _, room: 3 if room >= 3 else 0)


def counts(running: Running) -> tuple[int, int]:
    metrics = running.client.get("/metrics").text
    names = ("gpt2xl_draft_tokens_total", "gpt2xl_accepted_draft_tokens_total")
    found = [re.search(rf"^{name} (\S+)$", metrics, re.MULTILINE) for name in names]
    checked, accepted = (int(float(each[1])) for each in found if each)
    return checked, accepted


@pytest.mark.parametrize("drafts", [False, True], ids=["prompt lookup", "draft"])
def test_texts_are_those_without_draft_tokens(
    serve: Callable[..., Running], demo: Callable[[str], Model], drafts: bool
) -> None:
    running = serve(draft=demo("int8") if drafts else None)
    fields: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 60, "temperature": 0}
    wanted = running.model.generate(PROMPT, greedy=True, max_new_tokens=60, prompt_lookup=False)
    before = counts(running)
    assert running.complete(**fields)["choices"][0]["text"] == wanted.text
    alone = counts(running)
    assert alone[0] > before[0]
    assert alone[1] > before[1] or not drafts  # the draft model is the model: it is right
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: running.complete(**fields), range(3)))
    assert [answer["choices"][0]["text"] for answer in answers] == [wanted.text] * 3
