"""The scheduler over a session whose logits depend on all ids before: each text equals the one alone."""

from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.chains import chain_of
from tests.runtime.fakes import FakeSession, told_by_all_ids

from gpt2xl import GenerationOptions, RequestError
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.loop import Request, Token, generate_tokens
from gpt2xl.decoding.scheduler import PROMPT_TOKENS_PER_STEP, Scheduler

VOCAB, EOS, NEVER = 12, frozenset({11}), frozenset[int]()
LOGITS_OF = told_by_all_ids(VOCAB)
Texts = dict[int, list[Token]]


def make_session(chunk: int = 256) -> FakeSession:
    return FakeSession(LOGITS_OF, n_positions=4096, vocab_size=VOCAB, prefill_chunk=chunk)


def request(
    prompt: list[int], seed: int = 0, count: int = 6, eos: frozenset[int] = EOS, **options: Any
) -> Request:
    chosen = GenerationOptions(**options)
    return Request(prompt, chain_of(chosen, seed), count, eos, chosen.logprobs)


def alone(prompt: list[int], seed: int = 0, count: int = 6, **options: Any) -> list[Token]:
    """The text by itself."""
    context = Context(make_session())
    return list(generate_tokens(context, request(prompt, seed, count, **options)))


def run(scheduler: Scheduler, texts: Texts | None = None) -> Texts:
    """Step until nothing is left."""
    texts = {} if texts is None else texts
    while not scheduler.is_idle:
        step(scheduler, texts)
    return texts


def step(scheduler: Scheduler, texts: Texts) -> list[tuple[int, Token]]:
    tokens = [(number, token) for number, token in scheduler.step() if isinstance(token, Token)]
    for number, token in tokens:
        texts.setdefault(number, []).append(token)
    return tokens


def test_nothing_to_do_is_idle() -> None:
    scheduler = Scheduler(make_session(), rows=3)
    assert scheduler.is_idle
    assert scheduler.has_free_row
    assert scheduler.step() == []


def test_requests_have_options_of_their_own() -> None:
    scheduler = Scheduler(make_session(), rows=4)
    cases: list[dict[str, Any]] = [
        {"greedy": True},
        {"seed": 3, "count": 9},
        {"top_k": 2, "logprobs": 1},
        {"no_repeat_ngram_size": 1, "greedy": True},
    ]
    prompts = [[1, 2], [1, 2], [3], [4, 4, 5]]
    wanted = []
    for prompt, case in zip(prompts, cases, strict=True):
        seed, count = case.pop("seed", 0), case.pop("count", 6)
        scheduler.submit(request(prompt, seed, count, **case))
        wanted.append(alone(prompt, seed, count, **case))
    texts = run(scheduler)
    assert [texts[number] for number in range(4)] == wanted


def test_a_request_in_mid_run_joins_the_next_step() -> None:
    session = make_session()
    scheduler, texts = Scheduler(session, rows=3), dict[int, list[Token]]()
    scheduler.submit(request([1], count=8, eos=NEVER))
    step(scheduler, texts)
    assert scheduler.submit(request([2, 3], count=4, eos=NEVER)) == 1
    tokens = step(scheduler, texts)
    assert {number for number, _ in tokens} == {0, 1}
    assert [len(rows) for rows in session.fed[-2:]] == [1, 2]  # its prompt, then both in one step
    run(scheduler, texts)
    context = Context(make_session())
    assert texts[1] == list(generate_tokens(context, request([2, 3], count=4, eos=NEVER)))


def test_a_long_prompt_leaves_steps_to_the_others() -> None:
    session = make_session()
    scheduler, texts = Scheduler(session, rows=2), dict[int, list[Token]]()
    long = [number % 11 for number in range(2000)]
    scheduler.submit(request([1], count=40, no_repeat_ngram_size=0))
    step(scheduler, texts)
    scheduler.submit(request(long, count=3))
    while 1 not in texts and 0 in texts and not texts[0][-1].finish_reason:
        before = len(session.fed)
        step(scheduler, texts)
        fed = [len(rows[0]) for rows in session.fed[before:] if len(rows[0]) > 1]
        assert sum(fed) < 2 * PROMPT_TOKENS_PER_STEP
    assert len(texts[0]) > 4  # while the prompt was fed
    run(scheduler, texts)
    assert [texts[0], texts[1]] == [alone([1], count=40), alone(long, count=3)]


def test_a_prompt_is_fed_in_the_pieces_that_it_is_fed_in_alone() -> None:
    session = make_session()
    scheduler = Scheduler(session, rows=1)
    scheduler.submit(request(list(range(10)) * 90, count=1))
    run(scheduler)
    assert session.fed_lengths == [240, 240, 240, 180]


def test_a_prompt_beside_others_is_fed_in_shorter_pieces_where_asked() -> None:
    session, texts = make_session(), dict[int, list[Token]]()
    scheduler = Scheduler(session, rows=2, prompt_tokens_per_step=144)
    scheduler.submit(request([1], count=9, eos=NEVER))
    step(scheduler, texts)
    long = list(range(10)) * 90
    scheduler.submit(request(long, count=2, eos=NEVER))
    run(scheduler, texts)
    assert [length for length in session.fed_lengths if length > 1] == [144] * 5 + [96, 84]
    assert texts[1] == alone(long, count=2, eos=NEVER)


def test_a_row_that_ends_makes_room_while_a_prompt_is_fed() -> None:
    """The row being prefilled moves up, and so does the last row that decodes."""
    session = make_session(chunk=48)
    scheduler, texts = Scheduler(session, rows=4), dict[int, list[Token]]()
    prompts = [[1], [2], [3], [7] * 900]
    for prompt, count in zip(prompts, (2, 3, 30, 3), strict=True):
        scheduler.submit(request(prompt, count=count))
    run(scheduler, texts)
    wanted = [alone(p, count=c) for p, c in zip(prompts, (2, 3, 30, 3), strict=True)]
    assert [texts[number] for number in range(4)] == wanted


@pytest.mark.parametrize("when", ["waiting", "prefilling", "decoding"])
def test_cancelling(when: str) -> None:
    session = make_session()
    scheduler, texts = Scheduler(session, rows=2), dict[int, list[Token]]()
    scheduler.submit(request([1], count=30, eos=NEVER))
    step(scheduler, texts)
    victim = {"prefilling": [5] * 2000}.get(when, [5])
    if when == "waiting":
        scheduler.submit(request([2], count=30, eos=NEVER))
    number = scheduler.submit(request(victim, count=30, eos=NEVER))
    if when != "waiting":
        step(scheduler, texts)
    assert (number in texts) == (when == "decoding")
    scheduler.cancel(number)
    had = len(texts.get(number, []))
    other = scheduler.submit(request([4], count=5, eos=NEVER))  # takes the row of the victim
    run(scheduler, texts)
    assert len(texts.get(number, [])) == had
    context = Context(make_session())
    assert texts[other] == list(generate_tokens(context, request([4], count=5, eos=NEVER)))
    assert texts[0] == list(
        generate_tokens(Context(make_session()), request([1], count=30, eos=NEVER))
    )


def test_cancelling_what_has_ended_does_nothing_and_an_unknown_number_is_refused() -> None:
    scheduler = Scheduler(make_session(), rows=2)
    number = scheduler.submit(request([1], count=1))
    run(scheduler)
    scheduler.cancel(number)
    assert scheduler.is_idle
    with pytest.raises(RequestError, match="there is no request 1 to cancel"):
        scheduler.cancel(1)


def test_a_cancelled_request_alone_leaves_an_idle_scheduler() -> None:
    scheduler = Scheduler(make_session(), rows=2)
    for prompt in ([1], [2]):
        scheduler.cancel(scheduler.submit(request(prompt)))
    assert scheduler.step() == []
    assert scheduler.is_idle


def test_rows_are_free_as_long_as_nobody_has_to_wait() -> None:
    scheduler = Scheduler(make_session(), rows=2)
    scheduler.submit(request([1]))
    assert scheduler.has_free_row
    scheduler.submit(request([1]))
    assert not scheduler.has_free_row


def test_threads_may_submit_and_cancel_during_steps() -> None:
    scheduler, texts = (
        Scheduler(make_session(), rows=3),
        dict[int, list[Token]](),
    )
    numbers: dict[int, int] = {}
    cancelled = set[int]()

    def client(start: int) -> None:
        for seed in range(start, start + 20):
            number = scheduler.submit(request([seed % 11, 3], seed, count=1 + seed % 7))
            numbers[number] = seed
            if seed % 5 == 0:
                scheduler.cancel(number)
                cancelled.add(number)

    threads = [Thread(target=client, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or not scheduler.is_idle:
        step(scheduler, texts)
    assert sorted(numbers) == list(range(60))
    for number, seed in numbers.items():
        wanted = alone([seed % 11, 3], seed, count=1 + seed % 7)
        if number in cancelled:
            assert texts.get(number, []) == wanted[: len(texts.get(number, []))]
        else:
            assert texts[number] == wanted


@dataclass
class Case:
    """A request, when it comes and when it is given up."""

    prompt: list[int]
    seed: int
    count: int
    comes: int
    cancelled: int | None = None
    tokens: list[Token] = field(default_factory=list)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    length = draw(st.integers(1, 8) | st.integers(300, 900))
    return Case(
        prompt=[(draw(st.integers(0, 10)) + at) % 11 for at in range(min(length, 3))] * length,
        seed=draw(st.integers(0, 3)),
        count=draw(st.integers(1, 9)),
        comes=draw(st.integers(0, 8)),
        cancelled=draw(st.none() | st.integers(0, 12)),
    )


@settings(max_examples=60, deadline=None)
@given(requests=st.lists(cases(), max_size=7), rows=st.integers(1, 4))
def test_any_requests_at_any_time(requests: list[Case], rows: int) -> None:
    scheduler = Scheduler(make_session(), rows=rows)
    running: dict[int, Case] = {}
    last = max((case.comes for case in requests), default=0)
    now = 0
    while now <= last or not scheduler.is_idle:
        for case in requests:
            if case.comes == now:
                running[scheduler.submit(request(case.prompt, case.seed, case.count))] = case
        given_up = {number for number, case in running.items() if case.cancelled == now}
        for number in given_up:
            scheduler.cancel(number)
        for number, token in scheduler.step():
            assert number not in given_up
            assert isinstance(token, Token)
            running[number].tokens.append(token)
        now += 1
    for case in running.values():
        wanted = alone(case.prompt, case.seed, case.count)
        if case.cancelled is None or case.cancelled < case.comes:
            assert case.tokens == wanted
        else:
            assert case.tokens == wanted[: len(case.tokens)]
