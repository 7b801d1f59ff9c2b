"""A saved prompt is the same when it is read again, and a damaged file is one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gpt2xl
from gpt2xl import GenerationOptions, RequestError
from gpt2xl_cli.repl.option_values import from_json, to_json
from gpt2xl_cli.repl.saved import load, save
from gpt2xl_cli.repl.workspace import Workspace

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def saved(work: Workspace, tmp_path: Path) -> Path:
    """A file with a prompt, a generation, an alternative, and an edit that is undone."""
    work.state.append("Once upon é")
    work.go_on()
    work.run(work.state.turn_instead(4, 40))
    work.state.edit("Twice")
    work.state.history.undo()
    work.state.set_option("temperature", "0.5")
    work.state.set_option("stop_strings", '["END"]')
    save(work.state, tmp_path / "saved.json")
    return tmp_path / "saved.json"


def test_a_round_trip_keeps_everything(saved: Path, work: Workspace) -> None:
    read = load(work.facts, saved)
    assert read.history.steps == work.state.history.steps
    assert (read.history.count, len(read.history.steps)) == (3, 4)
    assert (read.text, read.document) == (work.state.text, work.state.document)
    assert read.options == work.state.options
    work.run(work.state.turn_again(5))
    text, work.state = work.state.text, read
    work.run(work.state.turn_again(5))
    assert work.state.text == text


def test_the_file_has_the_text(saved: Path, work: Workspace) -> None:
    content = json.loads(saved.read_text("utf-8"))
    assert content["text"] == work.state.text
    assert content["ids"] == list(work.state.document.ids)


def test_an_empty_prompt_is_saved(work: Workspace, tmp_path: Path) -> None:
    save(work.state, tmp_path / "empty.json")
    assert load(work.facts, tmp_path / "empty.json").text == ""


def test_every_option_that_can_be_written_is(work: Workspace) -> None:
    options = GenerationOptions(
        logit_bias={3: 1.0, 4: -2}, sequence_bias={(1, 2): 3.0}, bad_words_ids=((5,),), max_time=3.5,
        exponential_decay_length_penalty=(5, 1.1), num_beams=2, early_stopping="never", overflow="slide",
        overflow_keep=2, negative_prompt="no", guidance_scale=2.0, sampler_order=("top_k", "temperature"),
    )  # fmt: skip
    assert from_json(json.loads(json.dumps(to_json(options)))) == options


def test_a_grammar_is_written() -> None:
    pytest.importorskip("llguidance")
    for grammar in (
        gpt2xl.Grammar.regex("[0-9]+"),
        gpt2xl.Grammar.choice(["yes", "no"]),
        gpt2xl.Grammar.json_schema({"type": "integer"}),
    ):
        options = GenerationOptions(grammar=grammar)
        assert from_json(json.loads(json.dumps(to_json(options)))) == options


def drop(key: str) -> Change:
    return lambda content: content.pop(key)


def put(key: str, value: object) -> Change:
    return lambda content: content.update({key: value})


def in_step(key: str, value: object) -> Change:
    return lambda content: content["steps"][2].update({key: value})


DAMAGES: dict[str, Change] = {
    "no format": drop("format"),
    "another format": put("format", "gpt2xl repl 0"),
    "no text": drop("text"),
    "another text": put("text", "Twice"),
    "other ids": put("ids", [1]),
    "ids out of the vocabulary": put("ids", [289]),
    "ids that are no numbers": put("ids", ["a"]),
    "steps that are no list": put("steps", {}),
    "a step that is no object": put("steps", [1]),
    "more undone than there are": put("count", 5),
    "a negative count": put("count", -1),
    "an unknown kind": in_step("kind", "dance"),
    "more kept than there is": in_step("kept", 1000),
    "a base out of the vocabulary": in_step("base", {"kept": 0, "ids": [999], "hidden": 0}),
    "a base that is missing": in_step("base", None),
    "a first token behind the text": in_step("first", 1000),
    "more hidden than there is": in_step("hidden", 1000),
    "a seed that is no number": in_step("seed", "x"),
    "an unknown option": put("options", {"topk": 3}),
    "an option out of its range": put("options", {"top_k": -3}),
    "a function": put("options", {"sampler": 3}),
    "a list for a number": put("options", {"top_k": [[]]}),
    "an object for a list": put("options", {"sequence_bias": {"a": {}}}),
    "options that are a list": put("options", []),
    "a grammar of no kind": put("options", {"grammar": "x"}),
    "a grammar that is a number": put("options", {"grammar": 3}),
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_refused(change: Change, saved: Path, work: Workspace) -> None:
    content = json.loads(saved.read_text("utf-8"))
    change(content)
    saved.write_text(json.dumps(content))
    with pytest.raises(RequestError, match=r"saved\.json"):
        load(work.facts, saved)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(content: bytes, work: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(RequestError, match="file"):
        load(work.facts, tmp_path / "file")


def test_a_file_of_another_tokenizer_is_refused(saved: Path, work: Workspace) -> None:
    class Other(gpt2xl.Tokenizer):
        def token_bytes(self, token_id: int) -> bytes:
            return super().token_bytes(token_id)[::-1]

    facts = replace(work.facts, tokenizer=Other(work.facts.tokenizer._json))
    with pytest.raises(RequestError, match="another tokenizer"):
        load(facts, saved)


def test_a_file_is_replaced_as_a_whole_or_not_at_all(
    saved: Path, work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def fail(*_: object, **__: object) -> str:
        raise OSError("the disk is full")

    monkeypatch.setattr("gpt2xl_cli.repl.saved.json.dumps", fail)
    with pytest.raises(OSError, match="full"):
        save(work.state, saved, force=True)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
