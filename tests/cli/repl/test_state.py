"""A text that grows: steps, seeds, and the same text as one long generation."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

import gpt2xl
from gpt2xl_cli.repl.document import Document
from gpt2xl_cli.repl.generating import alternatives, run_turn
from gpt2xl_cli.repl.workspace import Workspace

MakeWork = Callable[..., Workspace]


def go_on(work: Workspace) -> list[int]:
    """Generate once; the ids that came."""
    before = len(work.state.document.ids)
    work.go_on()
    return list(work.state.document.ids[before:])


def test_appended_text_keeps_the_ids_before_it(work: Workspace) -> None:
    work.state.append("Once upon a ki")
    before = work.state.document.ids
    work.state.append("ng")
    assert work.state.document.ids == (*before, *work.facts.tokenizer.encode("ng"))
    assert work.state.text == "Once upon a king"


def test_undo_and_redo_go_through_all_steps(work: Workspace) -> None:
    seen = [Document()]
    for text in ("Once", " upon"):
        work.state.append(text)
        seen.append(work.state.document)
        work.go_on()
        seen.append(work.state.document)
    assert len(set(seen)) == 5
    history = work.state.history
    back = [history.document]
    while history.undo():
        back.append(history.document)
    assert back == seen[::-1]
    forth = [history.document]
    while history.redo():
        forth.append(history.document)
    assert forth == seen


def test_a_new_step_forgets_those_that_are_undone(work: Workspace) -> None:
    work.state.append("Once")
    work.state.append(" upon")
    work.state.history.undo()
    work.state.append(" again")
    assert work.state.history.redo() is None
    assert work.state.text == "Once again"


def test_each_generation_takes_the_next_seed(work: Workspace) -> None:
    work.state.append("Once")
    seeds = []
    for _ in range(3):
        work.go_on()
        seeds.append(work.state.history.last_seed)
    assert seeds == [1, 2, 3]
    assert work.state.options.seed == 4


def test_a_generation_again_has_the_same_prompt_and_another_seed(work: Workspace) -> None:
    work.state.append("Once")
    prompt, first = work.state.document.ids, go_on(work)
    work.run(work.state.turn_again())
    again = work.state.document.ids
    assert again[: len(prompt)] == prompt
    assert list(again[len(prompt) :]) != first
    assert work.state.history.last_seed == 2
    work.run(work.state.turn_again(1))
    assert work.state.document.ids == (*prompt, *first)


def test_only_a_generation_is_done_again(work: Workspace) -> None:
    work.state.append("Once")
    with pytest.raises(gpt2xl.RequestError, match="the last step is no generation"):
        work.state.turn_again()


def test_an_alternative_keeps_what_is_before_it(work: Workspace) -> None:
    work.state.append("Once")
    prompt_length = len(work.state.document.ids)
    work.go_on()
    before = work.state.document
    turn = work.state.turn_instead(3, 40)
    work.run(turn)
    after = work.state.document
    assert after.ids[:4] == (*before.ids[:3], 40)
    assert len(after.ids) == 4 + 6
    step = work.state.last_generation()
    assert (step.first, step.base.ids) == (prompt_length, after.ids[:4])
    work.state.history.undo()
    assert work.state.document == before


def test_alternatives_have_the_probabilities_of_the_model(tiny: gpt2xl.Model) -> None:
    ids = tiny.tokenizer.encode("Once upon a")
    found = alternatives(tiny, ids, 7, 4)
    assert found[-1].id == 7
    for alternative in found:
        scored = tiny.score([*ids, alternative.id]).logprobs[-1]
        assert scored is not None
        assert alternative.probability == pytest.approx(2.718281828**scored.token, rel=1e-4)
    (best,) = alternatives(tiny, ids, None, 1)
    assert best.id == found[0].id
    assert best.probability == pytest.approx(found[0].probability)
    assert [best.id] == tiny.generate(ids, greedy=True, max_new_tokens=1, eos_token_id=()).new_ids


def test_an_empty_text_starts_from_a_hidden_token(work: Workspace) -> None:
    work.go_on()
    document = work.state.document
    assert (document.ids[0], document.hidden, len(document.ids)) == (286, 1, 7)
    assert "<|endoftext|>" not in work.state.text
    assert work.state.edit("")
    assert work.state.text == ""


def test_turns_are_one_long_text(make_work: MakeWork, tiny: gpt2xl.Model) -> None:
    work = make_work(greedy=True)
    work.state.append("Once upon")
    whole = tiny.generate("Once upon", greedy=True, max_new_tokens=30, ignore_eos=True)
    assert [i for _ in range(5) for i in go_on(work)] == whole.new_ids


@pytest.mark.parametrize("options", [{}, {"overflow_keep": 4, "overflow_window": 20}])
def test_turns_beyond_the_context_are_one_long_text(
    options: dict[str, int], make_work: MakeWork, tiny: gpt2xl.Model
) -> None:
    slide = {"greedy": True, "overflow": "slide", "ignore_eos": True, **options}
    work = make_work(**slide, max_new_tokens=37)
    work.state.append("Once upon")
    whole = tiny.generate("Once upon", gpt2xl.GenerationOptions(**slide, max_new_tokens=37 * 7))  # type: ignore[arg-type]
    assert [i for _ in range(7) for i in go_on(work)] == whole.new_ids


def test_a_turn_computes_only_what_is_new(
    make_work: MakeWork, tiny: gpt2xl.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = make_work(prompt_lookup=False)
    work.state.append("Once upon a time there was a king who had a daughter")
    work.go_on()
    fed, real = list[int](), tiny.session.forward_top

    def counted(ids: object, *more: object, **options: object) -> object:
        fed.append(ids.shape[1])  # type: ignore[attr-defined]
        return real(ids, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tiny.session, "forward_top", counted)
    work.state.append(" x")
    work.go_on()
    new = len(work.facts.tokenizer.encode(" x"))
    assert fed == [1 + new, *[1] * 5]  # the last token of the first turn has not been fed


def test_an_interrupted_generation_keeps_what_came(make_work: MakeWork) -> None:
    work = make_work(max_new_tokens=50)
    work.state.append("Once")
    pieces = list[str]()

    def write(text: str) -> None:
        pieces.append(text)
        if len(pieces) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    found = run_turn(work.model, work.state, work.state.turn(), write)
    assert found is not None
    assert found.finish_reason == "cancelled"
    assert 4 <= len(found.new_ids) < 50
    assert work.state.text == "Once" + found.text == "Once" + "".join(pieces)


def test_an_error_in_a_generation_keeps_what_came(make_work: MakeWork) -> None:
    def fail(ids: object) -> bool:
        if len(ids) == 5:  # type: ignore[arg-type]
            raise gpt2xl.RequestError("no more")
        return False

    work = make_work(stopping=fail, max_new_tokens=50)
    work.state.append("Once")
    with pytest.raises(gpt2xl.RequestError, match="no more"):
        work.go_on()
    assert work.state.last_generation().first == len(work.facts.tokenizer.encode("Once"))


def test_a_stop_string_is_not_part_of_the_text(make_work: MakeWork) -> None:
    work = make_work(greedy=True, max_new_tokens=20)
    work.state.append("Once")
    work.go_on()
    new = work.state.text.removeprefix("Once")
    stop = new[len(new) // 2 :][:3]
    work.state.history.undo()
    work.state.options = replace(work.state.options, stop_strings=(stop,))
    work.go_on()
    assert work.state.text == "Once" + new[: new.index(stop)]


def test_token_healing_does_not_repeat_the_end_of_the_prompt(make_work: MakeWork) -> None:
    work = make_work(token_healing=True)
    work.state.append("Once upon a time there was a ki")
    work.go_on()
    step = work.state.last_generation()
    assert step.base.ids != step.document.ids[: len(step.base.ids)]
    assert work.state.text.startswith("Once upon a time there was a ki")
    assert work.state.text.count("there was a ki") == 1
    work.state.set_option("token_healing", "off")
    work.run(work.state.turn_again())
    assert work.state.document.ids[: len(step.base.ids)] == step.base.ids


def test_beam_search_gives_whole_texts(make_work: MakeWork, tiny: gpt2xl.Model) -> None:
    work = make_work(num_beams=3, greedy=True)
    work.state.append("Once")
    work.go_on()
    found = tiny.generate("Once", work.state.options)
    assert work.state.text == "Once" + found.text
    assert list(work.state.document.ids[-6:]) == found.new_ids
