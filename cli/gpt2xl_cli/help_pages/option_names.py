"""Errors with options as the command line spells them: the library's messages have the names of Python."""

import re
from collections.abc import Iterable, Mapping

from typer.core import TyperOption

NAME = re.compile(r"(?<![\w'\"/.-])([a-z]\w*)(?:=(True|False))?(?![\w/'\"-]|\.\w)")
BEFORE = ("give ", "leave ", "need ", "needs ")
AFTER = (" has ", " have ", " holds ", " is ", " and ", " needs ", " out", " '", " (", ":", ".")
"""Between these, or at the beginning, a name without an underscore, such as "seed", is an option and no word."""
OTHERS = re.compile(r"('.*', \[[^]]*\]|preset '.*'): ")
"""Begins what is said of config files and presets, whose options have no dashes before them."""
LISTS = "sampler_order"  # its message lists values, which have the names of options


def spellings(parameters: Iterable[object]) -> dict[str, str]:
    """The long spelling of each option of a command, by its name in Python; with "=False" that of its opposite."""
    found = dict[str, str]()
    for option in (one for one in parameters if isinstance(one, TyperOption)):
        found[str(option.name)] = max(option.opts, key=len)
        if option.secondary_opts:
            found[f"{option.name}=False"] = max(option.secondary_opts, key=len)
    return found


def as_typed(message: str, parameters: Iterable[object]) -> str:
    """An error of a command with these parameters, with options as they are typed."""
    return message if OTHERS.match(message) else with_spellings(message, spellings(parameters))


def with_spellings(message: str, names: Mapping[str, str]) -> str:
    """``message`` with the options in ``names`` as they are spelled there; what stands in quotes stays.

    >>> with_spellings("top_k has to be >= 0, but is 'top_k'.", {"top_k": "--top-k"})
    "--top-k has to be >= 0, but is 'top_k'."
    """

    def spelled(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        before = message[: found.start()]
        is_between = (not before or before.endswith(BEFORE)) and message.startswith(
            AFTER, found.end()
        )
        if "_" not in name and not is_between:
            return found[0]
        return names.get(f"{name}=False" if value == "False" else name, found[0])

    return NAME.sub(spelled, message, count=1 if message.startswith(LISTS) else 0)
