"""What may follow in a line that begins with a slash."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpt2xl.options.checks import CHECKS, OneOf
from gpt2xl_cli.repl.commands import COMMANDS
from gpt2xl_cli.repl.option_values import NAMES

FILES = ("/save", "/load")


@dataclass(frozen=True)
class Completions:
    """Words in place of the last one of a line."""

    words: Sequence[str] = ()
    replaced: str = ""
    """The last word, which they begin with."""
    are_files: bool = False
    """Names of files instead."""


def completions(line: str) -> Completions:
    """The words that may end ``line``.

    >>> completions("/un"), completions("/set overflow").words[:2], completions("Once").words
    (Completions(words=['/undo'], replaced='/un', are_files=False), ['overflow', 'overflow_keep'], ())
    """
    name, space, rest = line.partition(" ")
    if not line.startswith("/") or line.startswith("//"):
        return Completions()
    if not space:
        return _beginning(name, list(COMMANDS))
    if name in FILES:
        return Completions(replaced=rest, are_files=True)
    if name == "/set":
        option, has_value, value = rest.partition(" ")
        return _beginning(value, _values(option)) if has_value else _beginning(option, NAMES)
    return _beginning(
        rest, {"/options": ["all"], "/alt": ["next"], "/seed": ["random"]}.get(name, [])
    )


def _values(option: str) -> list[str]:
    check = CHECKS.get(option.replace("-", "_"))
    check = getattr(check, "check", check)  # of an optional value
    if not isinstance(check, OneOf):
        return ["default"]
    words = {True: "on", False: "off"}
    return [*(words.get(value, value) for value in check.values), "default"]


def _beginning(word: str, words: Sequence[str]) -> Completions:
    start = word.replace("-", "_")
    return Completions([known for known in words if known.startswith(start)], word)
