"""Colours for the probabilities of tokens, on terminals that have colours."""

import math

STEPS = ((0.02, 196, "< 2%"), (0.1, 208, "< 10%"), (0.3, 220, "< 30%"), (0.6, 148, "< 60%"))
"""Upper bound of the probability, colour of the 256 of terminals, and legend; from red to green."""
LAST = (40, "from 60%")
RESET = "\x1b[0m"


def colored(text: str, logprob: float) -> str:
    r"""``text`` in the colour of its probability.

    >>> colored(" king", math.log(0.05))
    '\x1b[38;5;208m king\x1b[0m'
    """
    probability = math.exp(logprob)
    color = next((color for bound, color, _ in STEPS if probability < bound), LAST[0])
    return _painted(text, color)


def legend() -> str:
    """What the colours mean, in one line."""
    steps = [(color, name) for _, color, name in STEPS]
    return "probability: " + " ".join(_painted(name, color) for color, name in [*steps, LAST])


def _painted(text: str, color: int) -> str:
    return f"\x1b[38;5;{color}m{text}{RESET}" if text else ""
