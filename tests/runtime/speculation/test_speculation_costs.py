"""How many tokens are drafted follows from what steps took and how many draft tokens were accepted."""

from hypothesis import given
from hypothesis import strategies as st

from gpt2xl.decoding.speculation_costs import (
    DRAFT_LENGTHS,
    MAX_DEBT_STEPS,
    MAX_LOSS,
    RETIME_STEPS,
    SpeculationCosts,
)

Step = tuple[int, int, float]  # drafted, accepted, seconds
PLAIN: Step = (0, 0, 1.0)
START = [PLAIN] * 12  # after which a draft token can be afforded


def after(steps: list[Step]) -> SpeculationCosts:
    costs = SpeculationCosts()
    for drafted, accepted, seconds in steps:
        if drafted:
            costs.add_drafted_step(drafted, accepted, 0.0, seconds)
        else:
            costs.add_plain_step(seconds)
    return costs


def test_nothing_is_drafted_before_a_plain_step_was_timed() -> None:
    assert SpeculationCosts().choose(9) == 0
    assert after(START).choose(9) > 0


def test_a_first_draft_token_waits_until_it_can_be_afforded() -> None:
    choices = [after([PLAIN] * count).choose(1) for count in range(1, 9)]
    assert choices == [0, 0, 0, 1, 1, 1, 1, 1]  # 0.015 of 4 s is what a wrong draft token may lose


def test_plain_steps_are_timed_again_after_a_while() -> None:
    slow = [(0, 0, 2.0)] * 8 + [(3, 1, 2.5)] * RETIME_STEPS
    assert (
        after(slow).choose(9) == 0
    )  # drafting seemed to pay, so that no plain step was seen for long
    faster = after([*slow, PLAIN, PLAIN, *[(3, 1, 2.5)] * 9])
    assert faster.plain_seconds == 1.0
    assert faster.choose(3) < 3


def test_a_plain_step_after_draft_tokens_is_not_timed() -> None:
    costs = after([PLAIN, PLAIN, (3, 3, 1.1), (0, 0, 9.0)])
    assert costs.plain_seconds == 1.0


def test_accepted_draft_tokens_lead_to_more_within_the_room() -> None:
    costs = after([*START, *[(3, 3, 1.1)] * 9])
    assert [costs.choose(room) for room in (0, 1, 2, 3, 6, 7, 99)] == [0, 1, 1, 3, 3, 7, 7]


def test_expected_speedup_is_tokens_over_relative_time() -> None:
    costs = after([*START, (3, 3, 1.5)])
    costs.acceptance_rate = 0.5
    assert costs.speedup(3) == (1 + 0.5 + 0.25 + 0.125) / 1.5
    costs.draft_seconds = 0.25
    assert costs.speedup(3) == 1.875 / (1.5 + 3 * 0.25)


def test_draft_tokens_that_make_steps_slow_are_not_made() -> None:
    costs = after([*START, *((count, count, 20.0) for count in DRAFT_LENGTHS)])
    assert costs.choose(9) == 0


def test_saved_time_is_spent_on_trying_again() -> None:
    assert after([*START, *[(3, 3, 1.1)] * 9, *[(3, 0, 1.1)] * 9]).choose(9) == 1
    assert after([*START, *[(3, 0, 1.1)] * 9]).choose(9) == 0


def test_a_loss_delays_the_next_try_by_the_share_that_may_be_lost() -> None:
    costs, plain_steps = after([*START, (1, 0, 2.0)]), 0
    while not costs.choose(9):
        costs.add_plain_step(1.0)
        plain_steps += 1
    owed = 1.0 - MAX_LOSS * (
        len(START) + 2
    )  # seconds that the draft token lost, less what it could lose
    assert (owed + 0.05) / MAX_LOSS <= plain_steps <= (owed + 1.0) / MAX_LOSS + 1


def test_a_pause_of_the_process_is_no_debt_for_ever() -> None:
    costs = after([*START, (1, 0, 1e6)])
    assert costs.budget_seconds >= -MAX_DEBT_STEPS


def test_a_text_inherits_losses_but_neither_savings_nor_acceptance() -> None:
    saved = after([*START, *[(3, 3, 1.1)] * 9])
    saved.begin_text()
    assert saved.budget_seconds == 0
    lost = after([*START, (1, 0, 3.0)])
    debt = lost.budget_seconds
    lost.begin_text()
    assert lost.budget_seconds == debt < 0
    assert saved.acceptance_rate == lost.acceptance_rate


def test_what_was_not_tried_for_a_text_is_thought_better_of() -> None:
    costs = after([*START, (7, 7, 4.0)])
    before = costs.relative_seconds[7]
    costs.begin_text()
    assert costs.relative_seconds[7] == before  # tried in the text that ended
    costs.begin_text()
    assert 1 < costs.relative_seconds[7] < before


@given(
    st.lists(
        st.tuples(st.sampled_from([0, *DRAFT_LENGTHS]), st.integers(0, 7), st.floats(1e-6, 1e3)),
        max_size=20,
    ),
    st.integers(-1, 9),
)
def test_the_number_of_draft_tokens_is_always_one_of_a_few(steps: list[Step], room: int) -> None:
    steps = [(drafted, min(accepted, drafted), seconds) for drafted, accepted, seconds in steps]
    costs = after([PLAIN, PLAIN, *steps])
    assert costs.choose(room) in {0, *(count for count in DRAFT_LENGTHS if count <= room)}
    assert 0 <= costs.acceptance_rate <= 1


def test_a_draft_model_that_is_too_slow_is_not_thought_better_of() -> None:
    costs = after(START)
    costs.add_drafted_step(1, 0, 9.0, 1.0)  # 9 s to draft one token
    for _ in range(20):
        costs.begin_text()
    assert costs.draft_seconds == 9.0
