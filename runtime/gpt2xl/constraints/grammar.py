r"""Grammars: the texts that a model may generate, as a regular expression, JSON schema, choices, Lark or GBNF.

llguidance compiles them (the extra "grammar"). It refuses what it does not support, and so do the constructors here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from warnings import warn

from gpt2xl.constraints.llguidance_api import llguidance, problem
from gpt2xl.errors import Gpt2xlWarning, RequestError, one_line

SHOWN_CHARACTERS = 60  # of a grammar, in messages
NO_TOKENIZER = "no tokenizer"  # llguidance's warning that it checks names of special tokens later
GBNF_ESCAPE = re.compile(
    r"(?<!\\)((?:\\\\)*)\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))"
)
GBNF_SPECIAL = frozenset('"\\[]^-/')


@dataclass(frozen=True)
class Grammar:
    r"""The texts that a model may generate. Use `regex`, `json_schema`, `choice`, `lark` or `gbnf` to make one.

    >>> Grammar.regex(r"[0-9]{4}-[0-9]{2}")
    Grammar(kind='regex', source='[0-9]{4}-[0-9]{2}')
    >>> Grammar.regex("a(b")
    Traceback (most recent call last):
    gpt2xl.errors.RequestError: the regex 'a(b' is refused: unclosed group, at '(b'.
    """

    kind: Literal["regex", "JSON schema", "choice", "Lark grammar", "GBNF grammar"]
    source: str
    """What it was made of; choices and schemas as JSON."""
    compiled: str
    """In llguidance's own form."""

    @classmethod
    def regex(cls, pattern: str) -> "Grammar":
        r"""Texts that match ``pattern`` as a whole.

        Args:
            pattern: in the syntax of Rust's crate `regex`, which is Python's without look-around and backreferences.

        Raises:
            RequestError: not such a pattern, or llguidance is not installed.
        """
        source = _checked_text("regex", pattern)
        return cls("regex", source, llguidance().LLMatcher.grammar_from_regex(source))._checked()

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | str, *, max_whitespace: int = 0) -> "Grammar":
        """JSON values that ``schema`` describes, properties in its order.

        Args:
            schema: a JSON schema (draft 2020-12), or its text. ``{}`` allows any JSON. What llguidance does not support
                is refused, unless the schema has ``"x-guidance": {"lenient": true}``; then it is ignored with a warning.
            max_whitespace: characters of white space that may stand wherever JSON allows it. With 0 the text is one
                line with ", " and ": ", as `json.dumps` writes it.

        Raises:
            RequestError: not a schema, one that is not supported, or llguidance is not installed.
        """
        source = schema if isinstance(schema, str) else _as_json("schema", schema)
        try:
            content = json.loads(source)
        except ValueError as reason:
            raise RequestError(f"the JSON schema is not JSON: {reason}.") from None
        if not isinstance(content, dict):
            raise RequestError(
                f"a JSON schema has to be an object (a dict), but is {one_line(source, SHOWN_CHARACTERS)}."
            )
        spaces = _whitespace(max_whitespace)
        compiled = llguidance().LLMatcher.grammar_from_json_schema(source, defaults=spaces)
        return cls("JSON schema", source, compiled)._checked()

    @classmethod
    def choice(cls, choices: Sequence[str]) -> "Grammar":
        """One of ``choices``.

        Raises:
            RequestError: not a list of texts, an empty one, or llguidance is not installed.
        """
        if isinstance(choices, str) or not choices:
            raise RequestError(f"choices have to be a list of texts, but are {choices!r}.")
        literals = [json.dumps(_checked_text("choice", choice)) for choice in choices]
        compiled = f"start: CHOICE\nCHOICE: {' | '.join(literals)}"
        return cls("choice", _as_json("choices", list(choices)), compiled)._checked()

    @classmethod
    def lark(cls, text: str) -> "Grammar":
        """Texts of a grammar in llguidance's variant of Lark, whose first rule is ``start``.

        Raises:
            RequestError: an invalid grammar, or llguidance is not installed.
        """
        return cls("Lark grammar", _checked_text("Lark grammar", text), text)._checked()

    @classmethod
    def gbnf(cls, text: str) -> "Grammar":
        """Texts of a grammar in llama.cpp's GBNF, whose first rule is ``root``.

        Raises:
            RequestError: an invalid grammar, or llguidance is not installed.
        """
        source = _checked_text("GBNF grammar", text)
        return cls("GBNF grammar", source, _lark_of_gbnf(source))._checked()

    def __repr__(self) -> str:
        return f"Grammar(kind={self.kind!r}, source={self.source!r})"

    def __str__(self) -> str:
        return f"{self.kind} {one_line(repr(self.source), SHOWN_CHARACTERS)}"

    def refused(self, message: str) -> RequestError:
        """The error for llguidance's ``message`` about this grammar."""
        return RequestError(f"the {self} is refused: {problem(message)}.")

    def _checked(self) -> "Grammar":
        matcher = llguidance().LLMatcher
        is_refused, messages = matcher.validate_grammar_with_warnings(self.compiled)
        if is_refused:
            raise self.refused(messages[0])
        for message in messages:
            if not message.startswith(NO_TOKENIZER):
                warn(f"the {self}: {problem(message)}.", Gpt2xlWarning, stacklevel=3)
        return self


def _whitespace(most: int) -> dict[str, object]:
    if not isinstance(most, int) or most < 0:
        raise RequestError(f"max_whitespace has to be an integer >= 0, but is {most!r}.")
    if most:
        return {"whitespace_pattern": rf"[ \t\r\n]{{1,{most}}}"}
    return {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def _checked_text(name: str, text: object) -> str:
    if not isinstance(text, str):
        raise RequestError(f"a {name} has to be a str, but is {text!r}.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(
            f"the {name} {text!r} is not valid Unicode: it holds a lone surrogate."
        ) from None
    return text


def _as_json(name: str, value: object) -> str:
    try:
        return json.dumps(dict(value) if isinstance(value, Mapping) else value)
    except (TypeError, ValueError, RecursionError) as reason:
        raise RequestError(f"the {name} cannot be written as JSON: {reason}.") from None


def _lark_of_gbnf(source: str) -> str:
    converter = llguidance("gbnf_to_lark")
    try:
        return str(converter.gbnf_to_lark(GBNF_ESCAPE.sub(_unescaped, source)))
    except IndexError:
        reason = "it ends in the middle of a rule"
    except RecursionError:
        reason = "it is nested too deeply"
    except Exception as found:  # the converter raises bare Exceptions
        reason = str(found)
    raise RequestError(
        f"the GBNF grammar {one_line(repr(source), SHOWN_CHARACTERS)} is refused: {reason}."
    )


def _unescaped(match: "re.Match[str]") -> str:
    r"""The character of an escape such as \u00e9, which the converter passes on in a form that Lark refuses."""
    before, *digits = match.groups()
    code = int(next(filter(None, digits)), 16)
    character = chr(code) if code < 0x110000 else ""
    is_plain = character.isprintable() and character not in GBNF_SPECIAL and character
    return before + character if is_plain else match[0]
