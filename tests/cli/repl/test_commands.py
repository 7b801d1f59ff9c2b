"""Lines that are typed, and what they show."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.repl.conftest import Scripted

from gpt2xl import RequestError
from gpt2xl_cli.repl.commands import COMMANDS
from gpt2xl_cli.repl.completion import completions
from gpt2xl_cli.repl.loop import run_line
from gpt2xl_cli.repl.workspace import Workspace

Type = Callable[..., None]


def test_a_line_continues_the_text(type_lines: Type, work: Workspace, console: Scripted) -> None:
    type_lines("/set max_new_tokens 3", "Once", "")
    written = [piece for piece in console.written if piece != "\n"]  # after each generation
    assert work.state.text == "Once" + "".join(written)
    assert [step.kind for step in work.state.history.steps] == [
        "prompt",
        "generation",
        "generation",
    ]
    assert work.state.text.startswith("Once")


def test_a_text_may_begin_with_a_slash(type_lines: Type, work: Workspace) -> None:
    type_lines("//help", "")
    assert work.state.text.startswith("/help")


def test_help_names_every_command(type_lines: Type, console: Scripted) -> None:
    type_lines("/help")
    shown = console.flush()[1]
    assert [name for name in COMMANDS if not any(line.startswith(name) for line in shown)] == []
    assert max(map(len, shown)) < 80


REFUSED = {
    "/undoo": "there is no command /undoo; did you mean /undo?",
    "/set temp 0.5": "there is no option 'temp'; did you mean 'temperature'?",
    "/set beams 5": "there is no option 'beams'; did you mean 'num_beams'?",
    "/load story.txt": "holds a text alone: /load reads what /save has written to a .json",
    "/set topk 3": "there is no option 'topk'; did you mean 'top_k'?",
    "/set topk": "there is no option 'topk'; did you mean 'top_k'?",
    "/set top_k -1": "top_k has to be >= 0",
    "/set temperature hot": "temperature has to be a number",
    "/set sampler 1": "sampler is a function",
    "/set overflow_keep 3": "need overflow 'slide'",
    "/set": "name an option",
    "/set grammar [0-9]": "a grammar begins with its kind",
    "/options some": "takes nothing or the word all",
    "/regen": "the last step is no generation",
    "/regen x": "a seed is a whole number >= 0, but this is 'x'",
    "/alt": "the last step is no generation",
    "/save": "name a file",
    "/load nowhere.json": "'nowhere.json' does not exist",
    "/seed -1": "seed has to be",
}


@pytest.mark.parametrize(("line", "message"), REFUSED.items(), ids=REFUSED)
def test_a_wrong_line_changes_nothing(line: str, message: str, work: Workspace) -> None:
    before = work.state.options
    with pytest.raises(RequestError) as refused:
        run_line(work, line)
    assert message in str(refused.value)
    assert (work.state.options, work.state.history.steps) == (before, [])


VALUES = {
    "top-p 0.9": ("top_p", 0.9),
    "top_p .5": ("top_p", 0.5),
    "greedy on": ("greedy", True),
    "ignore_eos false": ("ignore_eos", False),
    'stop_strings ["\\n", "END"]': ("stop_strings", ("\n", "END")),
    "stop_strings 12": ("stop_strings", ("12",)),
    "stop_strings true": ("stop_strings", ("true",)),
    "max_time none": ("max_time", None),
    "max_new_tokens default": ("max_new_tokens", None),
    'logit_bias {"5": -1.5}': ("logit_bias", {5: -1.5}),
    "sequence_bias [[[5, 6], 2]]": ("sequence_bias", {(5, 6): 2}),
    "bad_words_ids [[1, 2], [3]]": ("bad_words_ids", ((1, 2), (3,))),
    "overflow slide": ("overflow", "slide"),
    "sampler_order llama.cpp": ("sampler_order", "llama.cpp"),
}


@pytest.mark.parametrize(("line", "expected"), VALUES.items(), ids=VALUES)
def test_options_are_set(line: str, expected: tuple[str, object], work: Workspace) -> None:
    run_line(work, f"/set {line}")
    assert getattr(work.state.options, expected[0]) == expected[1]


def test_a_grammar_is_set(type_lines: Type, work: Workspace) -> None:
    pytest.importorskip("llguidance")
    type_lines("/set grammar regex [0-9]{3}", "/set ignore_eos off", "Once")
    new = work.state.text.removeprefix("Once")
    assert (len(new), new.isdigit()) == (3, True)


def test_options_lists_what_is_set(type_lines: Type, console: Scripted) -> None:
    type_lines("/set top_k 5", "/options")
    shown = console.flush()[1]
    assert "* top_k 5" in shown
    assert not any("top_p" in line for line in shown)
    type_lines("/options all")
    assert "  top_p 1.0" in console.flush()[1]


def test_an_alternative_is_chosen(type_lines: Type, work: Workspace, console: Scripted) -> None:
    type_lines("Once")
    before = work.state.document.ids
    console.flush()
    console.answers = [""]
    type_lines("/alt 3 5")
    assert work.state.document.ids == before
    shown = console.flush()[1]
    assert [line.split()[0] for line in shown[:5]] == list("12345")
    assert sum("*" in line[:6] for line in shown) == 1
    console.answers = ["2"]
    type_lines("/alt 3 5")
    after = work.state.document.ids
    first = work.state.last_generation().first
    assert after[: first + 2] == before[: first + 2]
    assert after[first + 2] != before[first + 2] or "*" in shown[1]
    assert console.flush()[0].startswith(work.state.text_of(work.state.document, first)[:4])


@pytest.mark.parametrize("word", ["0", "7", "-7", "x"])
def test_a_token_that_is_not_there_is_refused(word: str, type_lines: Type) -> None:
    type_lines("Once")
    with pytest.raises(RequestError, match="last generation"):
        type_lines(f"/alt {word}")


def test_the_next_token_has_alternatives_too(
    type_lines: Type, work: Workspace, console: Scripted
) -> None:
    work.state.append("Once")
    console.answers = ["1"]
    type_lines("/alt next")
    assert len(work.state.document.ids) == len(work.facts.tokenizer.encode("Once")) + 1 + 6


def test_end_of_text_as_an_alternative_ends_the_text(
    type_lines: Type, work: Workspace, console: Scripted
) -> None:
    type_lines("Once")
    before = work.state.document.ids
    console.answers = [""]
    type_lines("/alt 2 289")
    lines = console.flush()[1]
    number = next(line.split()[0] for line in lines if "<|endoftext|>" in line)
    console.answers = [number]
    type_lines("/alt 2 289")
    assert work.state.document.ids == before[:-5]


def test_an_edit_is_a_step(type_lines: Type, work: Workspace, console: Scripted) -> None:
    type_lines("Once")
    text = work.state.text
    type_lines("/edit")
    assert console.flush()[1][-1] == "The text is as before."
    console.editor = lambda before: before.replace("Once", "Twice")
    type_lines("/edit")
    assert work.state.text == text.replace("Once", "Twice")
    type_lines("/undo")
    assert work.state.text == text


def test_seeds_are_shown_and_set(type_lines: Type, console: Scripted) -> None:
    type_lines("Once", "/seed 41", "", "/seed")
    assert console.flush()[1][-1].startswith("Last seed: 41; next: 42.")
    type_lines("/seed random", "/seed")
    assert "next: random" in console.flush()[1][-1]


def test_a_full_context_offers_to_slide(
    type_lines: Type, work: Workspace, console: Scripted
) -> None:
    type_lines("/set max_new_tokens 200", "Once")
    assert len(work.state.document.ids) == 97
    assert "The context of 96 tokens is full." in console.flush()[1]
    console.answers = ["n"]
    type_lines("")
    assert len(work.state.document.ids) == 97
    console.answers = ["y"]
    type_lines("")
    assert len(work.state.document.ids) == 297
    type_lines("/tokens")
    assert "297 tokens; the context is 96, and the model sees" in console.flush()[1][-1]
    assert "slide" in work.status


def test_the_end_of_a_text_is_explained(
    make_work: Callable[..., Workspace], console: Scripted
) -> None:
    work = make_work(ignore_eos=False, eos_token_id=tuple(range(289)))
    run_line(work, "Once")
    assert console.flush()[1] == ["The text ended here; /set ignore_eos on goes on."]
    assert work.state.text == "Once"


def test_new_is_undone(type_lines: Type, work: Workspace) -> None:
    type_lines("Once")
    text = work.state.text
    type_lines("/new")
    assert work.state.text == ""
    type_lines("/undo")
    assert work.state.text == text


def test_quit_ends(type_lines: Type) -> None:
    with pytest.raises(EOFError):
        type_lines("/quit")


@pytest.mark.parametrize("name", ["a story.txt", "story.MD"])
def test_the_text_alone_is_saved_by_suffix(
    name: str, type_lines: Type, work: Workspace, tmp_path: Path
) -> None:
    type_lines("Once", f"/save {name}")
    assert (tmp_path / name).read_text("utf-8") == work.state.text + "\n"
    with pytest.raises(RequestError, match="exists"):
        type_lines(f"/save {name}")


def test_a_command_in_place_of_an_answer_is_run(
    type_lines: Type, work: Workspace, console: Scripted
) -> None:
    type_lines("Once")
    before = work.state.document.ids
    console.answers = ["/tokens", " /undo "]
    type_lines("/alt 3 5")
    assert "tokens; the context is 96" in console.flush()[1][-1]
    assert work.state.document.ids == before
    type_lines("/alt 3 5")
    assert work.state.text == "Once"


def test_a_command_at_the_question_of_a_full_context_is_run(
    type_lines: Type, work: Workspace, console: Scripted
) -> None:
    type_lines("/set max_new_tokens 200", "Once")
    console.answers = ["/new"]
    type_lines("")
    assert work.state.text == ""
    assert work.state.options.overflow == "stop"


def test_save_and_load(
    type_lines: Type, work: Workspace, console: Scripted, tmp_path: Path
) -> None:
    type_lines("Once", "/save a story.json")
    text = work.state.text
    with pytest.raises(RequestError, match=r"'a story\.json' exists"):
        type_lines("/save a story.json")
    type_lines("", "/save a story.json --force", "/new", "/load a story.json")
    assert work.state.text.startswith(text)
    type_lines("/undo")
    assert work.state.text == text
    assert [path.name for path in tmp_path.iterdir()] == ["a story.json"]


COMPLETED = {
    "/un": ["/undo"],
    "/set rep": ["repetition_penalty", "repetition_window", "repetition_detection"],
    "/set top-": ["top_k", "top_k_keeps_ties", "top_p", "top_h", "top_n_sigma"],
    "/set greedy ": ["on", "off", "default"],
    "/set do_sample o": ["on", "off"],
    "/set overflow s": ["stop", "slide"],
    "/alt n": ["next"],
    "/undo ": [],
    "Once /un": [],
    "//un": [],
}


@pytest.mark.parametrize(("line", "words"), COMPLETED.items(), ids=COMPLETED)
def test_completion(line: str, words: list[str]) -> None:
    assert list(completions(line).words) == words
