"""Speeds and times left: steady, and never far from the truth."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from gpt2xl_cli.reporting.amounts import FIRST_SHARE, Pace


def shown(
    share_at: Callable[[float], float], end: float, every: float = 0.3
) -> list[tuple[float, int]]:
    """(time, seconds left that are shown) during a work."""
    pace, found = Pace(), []
    for number in range(int(end / every)):
        now = 100 + number * every
        pace.measure(share_at(number * every), now)
        if text := pace.left(share_at(number * every), now):
            minutes, seconds = text.removesuffix(" left").split(":")
            found.append((number * every, 60 * int(minutes) + int(seconds)))
    return found


def test_the_time_left_of_a_steady_work_counts_down_to_its_end() -> None:
    found = shown(lambda time: time / 200, 200)
    assert FIRST_SHARE * 200 <= found[0][0] < FIRST_SHARE * 200 + 1
    assert [left for _, left in found] == sorted((left for _, left in found), reverse=True)
    assert all(abs(time + left - 200) <= 2 for time, left in found)


@pytest.mark.parametrize("burst", [1.2, 2.5])
def test_steps_of_unequal_length_do_not_shake_the_time_left(burst: float) -> None:
    found = shown(lambda time: math.floor(time / burst) * burst / 200, 200)
    later = [(time, left) for time, left in found if time > 20]
    assert all(abs(time + left - 200) <= 12 for time, left in later)
    rises = [b[1] - a[1] for a, b in pairwise(later)]
    assert max(rises) <= 6


def test_a_work_that_becomes_slower_says_so_within_half_a_minute() -> None:
    found = shown(lambda time: time / 100 if time < 50 else 0.5 + (time - 50) / 400, 250)
    time, left = next(item for item in found if item[0] >= 80)
    assert abs(time + left - 250) < 80


def test_nothing_is_said_of_a_work_that_has_not_begun_to_move() -> None:
    assert shown(lambda _: 0.0, 10) == []
