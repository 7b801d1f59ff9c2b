"""GBNF, llama.cpp's form of grammars, as Lark."""

import re

from gpt2xl.constraints.llguidance_api import llguidance, shown
from gpt2xl.errors import RequestError

ESCAPE = re.compile(
    r"(?<!\\)((?:\\\\)*)\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))"
)
SPECIAL = frozenset('"\\[]^-/')


def lark_of_gbnf(source: str) -> str:
    """``source`` as llguidance's converter writes it in Lark; RequestError where it cannot."""
    converter = llguidance("gbnf_to_lark")
    try:
        return str(converter.gbnf_to_lark(ESCAPE.sub(_unescaped, source)))
    except IndexError:
        reason = "it ends in the middle of a rule"
    except RecursionError:
        reason = "it is nested too deeply"
    except Exception as found:  # the converter raises bare Exceptions
        reason = str(found)
    raise RequestError(f"the GBNF grammar {shown(source)} is refused: {reason}.")


def _unescaped(match: "re.Match[str]") -> str:
    r"""The character of an escape such as \u00e9, which the converter passes on in a form that Lark refuses."""
    before, *digits = match.groups()
    code = int(next(filter(None, digits)), 16)
    character = chr(code) if code < 0x110000 else ""
    is_plain = character.isprintable() and character not in SPECIAL and character
    return before + character if is_plain else match[0]
