"""What of a prompt is used again, and what is forgotten."""

import numpy as np
from tests.runtime.fakes import FakeSession, told_by_all_ids

from gpt2xl.decoding.prefix_cache import SHORTEST_KEPT, PrefixCache
from gpt2xl.sessions.protocol import Cache

VOCAB = 12
PROMPT = [number % 7 for number in range(SHORTEST_KEPT)]


def make(most_bytes: int = 1 << 30, exact: bool = True) -> tuple[FakeSession, PrefixCache]:
    session = FakeSession(told_by_all_ids(VOCAB), n_positions=4096, vocab_size=VOCAB)
    return session, PrefixCache(session, lambda: exact, most_bytes)


def fed(session: FakeSession, ids: list[int]) -> Cache:
    cache = session.new_cache(1, capacity=len(ids))
    session.forward(np.array([ids], np.int64), cache)
    return cache


def test_what_two_prompts_have_in_common_is_restored() -> None:
    session, prefixes = make()
    prefixes.keep(PROMPT, fed(session, PROMPT), 0)
    prompt = [*PROMPT[:20], 9, *PROMPT]
    row = session.new_cache(1, capacity=len(prompt))
    assert prefixes.restore(prompt, row) == 20
    assert row.length == 20
    logits = session.forward(np.array([prompt[20:]], np.int64), row)
    assert np.array_equal(
        logits, session.forward(np.array([prompt]), session.new_cache(1, capacity=99))
    )
    assert prefixes.reused_tokens == 20


def test_the_last_token_is_always_left_to_compute() -> None:
    session, prefixes = make()
    prefixes.keep(PROMPT, fed(session, PROMPT), 0)
    assert prefixes.restore(PROMPT, session.new_cache(1, capacity=99)) == len(PROMPT) - 1


def test_nothing_is_used_where_steps_round_differently() -> None:
    session, prefixes = make(exact=False)
    prefixes.keep(PROMPT, fed(session, PROMPT), 0)
    assert prefixes.restore(PROMPT, session.new_cache(1, capacity=99)) == 0
    assert prefixes.bytes == 0


def test_short_prompts_and_those_mostly_restored_are_not_kept() -> None:
    session, prefixes = make()
    prefixes.keep(PROMPT[:-1], fed(session, PROMPT[:-1]), 0)
    prefixes.keep(PROMPT, fed(session, PROMPT), len(PROMPT) - 2)
    assert prefixes.bytes == 0


def test_memory_is_bounded_and_the_one_used_longest_ago_goes() -> None:
    session, prefixes = make()
    prompts = [[number, *PROMPT] for number in range(3)]
    for prompt in prompts[:2]:
        prefixes.keep(prompt, fed(session, prompt), 0)
    two = prefixes.bytes
    assert two > 0
    session, prefixes = make(most_bytes=two)
    for prompt in prompts[:2]:
        prefixes.keep(prompt, fed(session, prompt), 0)
    assert prefixes.restore(prompts[0], session.new_cache(1, capacity=99)) == len(PROMPT)
    prefixes.keep(prompts[2], fed(session, prompts[2]), 0)
    assert prefixes.bytes == two
    found = [prefixes.restore(prompt, session.new_cache(1, capacity=99)) for prompt in prompts]
    assert found == [len(PROMPT), 0, len(PROMPT)]


def test_a_prompt_larger_than_the_memory_is_not_kept() -> None:
    session, prefixes = make(most_bytes=1)
    prefixes.keep(PROMPT, fed(session, PROMPT), 0)
    assert prefixes.bytes == 0
