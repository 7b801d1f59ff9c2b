r"""Grammars: the texts that a model may generate, as a regular expression, JSON schema, choices, Lark or GBNF.

llguidance compiles them (the extra "grammar"). It refuses what it does not support, and so do the constructors here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from warnings import warn

from gpt2xl.constraints.gbnf import lark_of_gbnf
from gpt2xl.constraints.json_schemas import (
    as_json,
    ignored_bound,
    schema_content,
    whitespace_options,
)
from gpt2xl.constraints.llguidance_api import checked_text, llguidance, problem, shown
from gpt2xl.errors import Gpt2xlWarning, RequestError

NO_TOKENIZER = "no tokenizer"  # llguidance's warning that it checks names of special tokens later


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
        source = checked_text("regex", pattern)
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
        source = schema if isinstance(schema, str) else as_json("schema", schema)
        content, spaces = schema_content(source), whitespace_options(max_whitespace)
        grammar = cls("JSON schema", source, compiled="")
        try:
            compiled = llguidance().LLMatcher.grammar_from_json_schema(source, defaults=spaces)
        except ValueError as reason:
            raise grammar.refused(str(reason)) from None
        grammar = replace(grammar, compiled=compiled)._checked()
        if fault := ignored_bound(content):
            raise grammar.refused(fault)
        return grammar

    @classmethod
    def choice(cls, choices: Sequence[str]) -> "Grammar":
        """One of ``choices``.

        Raises:
            RequestError: not a list of texts, an empty one, or llguidance is not installed.
        """
        if isinstance(choices, str) or not isinstance(choices, Sequence) or not choices:
            raise RequestError(f"choices have to be a list of texts, but are {choices!r}.")
        literals = [json.dumps(checked_text("choice", choice)) for choice in choices]
        compiled = f"start: CHOICE\nCHOICE: {' | '.join(literals)}"
        return cls("choice", as_json("choices", list(choices)), compiled)._checked()

    @classmethod
    def lark(cls, text: str) -> "Grammar":
        """Texts of a grammar in llguidance's variant of Lark, whose first rule is ``start``.

        Raises:
            RequestError: an invalid grammar, or llguidance is not installed.
        """
        return cls("Lark grammar", checked_text("Lark grammar", text), text)._checked()

    @classmethod
    def gbnf(cls, text: str) -> "Grammar":
        """Texts of a grammar in llama.cpp's GBNF, whose first rule is ``root``.

        Raises:
            RequestError: an invalid grammar, or llguidance is not installed.
        """
        source = checked_text("GBNF grammar", text)
        return cls("GBNF grammar", source, lark_of_gbnf(source))._checked()

    def __repr__(self) -> str:
        return f"Grammar(kind={self.kind!r}, source={self.source!r})"

    def __str__(self) -> str:
        return f"{self.kind} {shown(self.source)}"

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
