"""Parse a tokenizer.json from anybody; files that would make the tokenizers library panic are refused before."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import tokenizers

T = TypeVar("T")
# Parts that no byte-level BPE has and on which the library panics while it parses, printing to stderr.
FOREIGN = re.compile(
    r'"type"\s*:\s*"(Precompiled)"|"(continuing_subword_prefix|end_of_word_suffix)"\s*:\s*"[^"]'
)
MAX_TOKEN_CHARACTERS = 10_000  # of an added token; longer ones take the library minutes to load
LONG_TOKEN = re.compile(rf'"content"\s*:\s*"[^"]{{{MAX_TOKEN_CHARACTERS}}}')
MAX_STEP_CHARACTERS = 1000  # of a text that a step inserts
MAX_STEPS = 32  # of the normalizer, and of the pre-tokenizer


def parse(text: str) -> tokenizers.Tokenizer:
    """The tokenizer that ``text`` describes, without padding and truncation, which are up to the caller.

    Raises:
        ValueError: ``text`` is not a tokenizer.json, or not that of a byte-level BPE.
    """
    if "\\u00" in text:  # an escape, which may hide a name that is refused below
        text = _without_escapes(text)
    if LONG_TOKEN.search(text):
        raise ValueError(f"an added token has more than {MAX_TOKEN_CHARACTERS} characters")
    if found := FOREIGN.search(text):
        raise ValueError(f"not a byte-level BPE as GPT-2 has it: it has {found[1] or found[2]}")
    try:
        tokenizer = without_panic(lambda: tokenizers.Tokenizer.from_str(text))
    except Exception as reason:  # tokenizers raises a bare Exception
        raise ValueError(f"not a tokenizer.json: {str(reason)[:200]}") from None
    _check_steps(tokenizer)
    if not _decodes_bytes(tokenizer.decoder):
        kind = type(tokenizer.decoder).__name__
        raise ValueError(f"not a byte-level BPE as GPT-2 has it: its decoder is {kind}")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _without_escapes(text: str) -> str:
    """The same JSON without the escapes that JSON does not need."""
    try:
        return json.dumps(json.loads(text))
    except (ValueError, RecursionError) as reason:
        raise ValueError(f"not a tokenizer.json: {str(reason)[:200]}") from None


def without_panic(call: Callable[[], T]) -> T:
    """The result of ``call``; raises ValueError for a panic of tokenizers, which is not an Exception."""
    try:
        return call()
    except BaseException as reason:
        if type(reason).__name__ != "PanicException":
            raise
        raise ValueError(str(reason).partition("\n")[0][:200]) from None


def _check_steps(tokenizer: tokenizers.Tokenizer) -> None:
    """Refuse steps that fail on every text or that make any text very long."""
    normalizing = list(_steps(tokenizer.normalizer, "normalizers"))
    splitting = list(_steps(tokenizer.pre_tokenizer, "pretokenizers"))
    for step in (*normalizing, *splitting):
        if (step["type"], step.get("prepend")) == ("Prepend", "") or step.get("length") == 0:
            raise ValueError(f"its {step['type']} is empty")
        if any(
            isinstance(value, str) and len(value) > MAX_STEP_CHARACTERS for value in step.values()
        ):
            raise ValueError(f"its {step['type']} has more than {MAX_STEP_CHARACTERS} characters")
    repeated = [step["type"] for step in (*normalizing, *splitting)].count("ByteLevel") > 1
    if repeated or max(len(normalizing), len(splitting)) > MAX_STEPS:
        raise ValueError("not a byte-level BPE as GPT-2 has it: it splits bytes more than once")


def _steps(part: Any, key: str) -> Iterator[dict[str, Any]]:
    """The steps of a normalizer, pre-tokenizer or decoder, with sequences unrolled."""
    waiting = [] if part is None else [json.loads(part.__getstate__())]
    while waiting:
        step = waiting.pop()
        if step["type"] == "Sequence":
            waiting += step[key]
        else:
            yield step


def _decodes_bytes(decoder: Any) -> bool:
    """Whether ``decoder`` is ByteLevel, alone or as the only step of a sequence."""
    return [step["type"] for step in _steps(decoder, "decoders")] == ["ByteLevel"]
