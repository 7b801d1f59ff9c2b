"""Amounts, speeds and times left, in words."""

from math import exp

UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
FIRST_SECONDS, FIRST_SHARE = 1.5, 0.02
"""How long, and up to which share of the work, nothing is said of the time left."""
SAMPLE_SECONDS, MEMORY_SECONDS = 0.5, 10.0
"""How often the speed is measured, and how long a measurement counts, at least."""
REMEMBERED = 0.3
"""The share of the time so far that a measurement counts: a speed that changes little becomes steady."""
RAISED_BY = 1.15
"""A time left that is longer than the one shown before is shown only if it is this many times as long."""


def amount_text(done: int, total: int, unit: str) -> str:
    """What is done of a total, nothing where that is 0; ``unit`` is "B" for bytes.

    >>> amount_text(1200000, 6400000000, "B"), amount_text(3, 40, "")
    ('0.0/6.4 GB', '3/40')
    """
    if not total:
        return ""
    if unit != "B":
        return f"{done}/{total}"
    one, name = next((pair for pair in UNITS if total >= pair[0]), (1.0, "B"))
    digits = 1 if one > 1 else 0
    return f"{done / one:.{digits}f}/{total / one:.{digits}f} {name}"


def size_of(text: str) -> int:
    """The bytes that a text such as "900MB" names.

    Raises:
        ValueError: it names none.

    >>> size_of("900MB"), size_of("1.6 GB"), size_of("1234")
    (900000000, 1600000000, 1234)
    """
    for one, unit in (*UNITS, (1.0, "B")):
        if text.upper().endswith(unit.upper()):
            return round(float(text[: -len(unit)]) * one)
    return round(float(text))


def speed_text(per_second: float, unit: str = "B") -> str:
    """An amount a second; empty where it is not known yet. ``unit`` is "B" for bytes.

    >>> speed_text(85200000), speed_text(312.3, "tokens"), speed_text(0)
    ('85 MB/s', '312 tokens/s', '')
    """
    if not per_second:
        return ""
    if unit != "B":
        return f"{per_second:.{0 if per_second >= 10 else 1}f} {unit}/s"
    one, name = next((pair for pair in UNITS if per_second >= pair[0]), (1.0, "B"))
    return f"{per_second / one:.{1 if name == 'GB' else 0}f} {name}/s"


def clock_text(seconds: float) -> str:
    """A time as a clock shows it.

    >>> clock_text(42), clock_text(3723)
    ('0:42', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration_text(seconds: float) -> str:
    """How long something took.

    >>> duration_text(5.2), duration_text(185)
    ('5 s', '3 min 5 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Pace:
    """How fast the share of a work that is done grows, and how long the rest takes.

    The time left counts down; it is raised only where the work has become clearly slower.

    Args:
        is_even: whether all of the work is alike, so that the time left can be said as soon as there is a speed.
    """

    def __init__(self, *, is_even: bool = False) -> None:
        self._first = (0.0, 0.0) if is_even else (FIRST_SECONDS, FIRST_SHARE)
        self._start: tuple[float, float] | None = None
        self._last = 0.0, 0.0
        self._shown: tuple[float, float] | None = None
        self.speed = 0.0
        """Share of the work a second; 0 until it has been measured."""

    def measure(self, share: float, now: float) -> None:
        """Take the share that is done, from 0 to 1, at the time ``now`` in seconds of any clock."""
        if self._start is None:
            self._start = self._last = share, now
        passed, since = now - self._last[1], now - self._start[1]
        if passed < SAMPLE_SECONDS or share <= self._last[0]:  # whole steps only
            return
        memory = max(MEMORY_SECONDS, REMEMBERED * since)
        weight = max(1 - exp(-passed / memory), passed / since)  # at first the mean of all
        self.speed += weight * ((share - self._last[0]) / passed - self.speed)
        self._last = share, now

    def left(self, share: float, now: float) -> str:
        """The time that the rest takes, such as "0:42 left"; empty while it cannot be said."""
        if not self.speed or self._start is None or share >= 1:
            return ""
        seconds, least = self._first
        if now - self._start[1] < seconds or share - self._start[0] < least:
            return ""
        seconds = max(0.0, 1 - share) / self.speed
        if self._shown is not None:
            counted_down = max(0.0, self._shown[0] - (now - self._shown[1]))
            if counted_down < seconds < RAISED_BY * counted_down:
                seconds = counted_down
        self._shown = seconds, now
        return f"{clock_text(seconds)} left"
