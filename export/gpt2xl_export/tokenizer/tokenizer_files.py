"""Read a tokenizer.json, or the older vocab.json and merges.txt, as one JSON object."""

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from gpt2xl.errors import CheckpointError, Gpt2xlWarning
from gpt2xl.files.json_values import read_json
from gpt2xl.files.reading import MAX_BYTES, read_text
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl.text.tokenizer_json import parse

TOKENIZER_JSON_KEYS = (
    "version",
    "padding",
    "added_tokens",
    "normalizer",
    "pre_tokenizer",
    "post_processor",
    "decoder",
    "model",
)
SAMPLE = "Once upon a time"


def read_tokenizer_json(path: Path) -> dict[str, Any]:
    """Read the content of ``path``, without truncation.

    Raises:
        CheckpointError: it is not a byte-level BPE.
    """
    content = read_json(path, CheckpointError, MAX_BYTES)
    content = {key: content.get(key) for key in TOKENIZER_JSON_KEYS} | {"truncation": None}
    content["added_tokens"] = content["added_tokens"] or []
    model, decoder = content["model"], content["decoder"]
    kind = model.get("type", "BPE") if isinstance(model, dict) else None
    if kind != "BPE" or not isinstance(model.get("vocab"), dict):
        raise _not_as_gpt2(path, f"its model is {kind}")
    if not isinstance(content["pre_tokenizer"], dict):
        raise _not_as_gpt2(path, "it has no pre_tokenizer")
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise _not_as_gpt2(path, f"its {key} is {str(model[key])[:40]!r}")
    if model.get("dropout"):
        warnings.warn(
            f"'{path}' has dropout, which is ignored: ids would be random.",
            Gpt2xlWarning,
            stacklevel=2,
        )
        content["model"] = model | {"dropout": None}
    steps = decoder.get("decoders") if isinstance(decoder, dict) else None
    if isinstance(steps, list) and len(steps) == 1:
        content["decoder"] = steps[0]
    return content


def _not_as_gpt2(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"'{path}' is not a byte-level BPE as GPT-2 has it: {reason}.")


def read_vocab_and_merges(vocab: Path, merges: Path) -> dict[str, Any]:
    """Make the content of a tokenizer.json from GPT-2's own two files, without added tokens."""
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
        "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
        "ignore_merges": False,
        "vocab": read_json(vocab, CheckpointError, MAX_BYTES), "merges": _read_merges(merges),
    }  # fmt: skip
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": step,
        "post_processor": step | {"trim_offsets": False}, "decoder": dict(step), "model": model,
    }  # fmt: skip


def _read_merges(path: Path) -> list[list[str]]:
    """As in transformers' GPT2Tokenizer: the first line is a version, all others end in a newline."""
    lines = read_text(path, CheckpointError).split("\n")
    unread = (
        (lines[0].removeprefix("\ufeff"), "line 1 is not `#version` and is ignored, as in transformers 4 (5 reads it as a merge)"),
        (lines[-1], "the last line has no newline and is ignored, as in transformers 4 (5 reads it)"),
    )  # fmt: skip
    for line, reason in unread:
        if line.strip() and not line.startswith("#version"):
            warnings.warn(f"'{path}': {reason}: {line[:40]!r}.", Gpt2xlWarning, stacklevel=2)
    pairs = [line.split() for line in lines[1:-1]]
    for number, pair in enumerate(pairs, 2):
        if len(pair) != 2:
            raise CheckpointError(
                f"'{path}': line {number} has to be two tokens, but is {lines[number - 1][:40]!r}."
            )
    return pairs


def parse_content(
    what: str, content: Mapping[str, Any], *, is_file: bool = True
) -> tokenizers.Tokenizer:
    """Make the library's tokenizer from the content of a tokenizer.json.

    Args:
        what: the file or files, for the message.
        content: their content.
        is_file: whether ``content`` is that of a tokenizer.json.

    Raises:
        CheckpointError: the library refuses it, or gives a token another id than the stated one.
    """
    try:
        text = json.dumps(content)
        Tokenizer(text)  # has the better message
        parsed = parse(text)
    except (ValueError, RecursionError) as reason:
        said = re.sub(r" at line \d+ column \d+$", "", str(reason))  # not that of the file
        said = said if is_file else said.removeprefix("not a tokenizer.json: ")
        raise CheckpointError(f"{what}: {said}") from None
    if not _only_adds_special_tokens(parsed):
        raise CheckpointError(
            f"{what}: its post_processor does not only put tokens around the text."
        )
    for token in content["added_tokens"]:
        if (found := parsed.token_to_id(token["content"])) != token["id"]:
            raise CheckpointError(
                f"{what}: the added token {token['content'][:40]!r} states id {token['id']}, but"
                f" gets {found}."
            )
    return parsed


def _only_adds_special_tokens(tokenizer: tokenizers.Tokenizer) -> bool:
    """Whether the post-processor only puts ids around a text."""
    step = tokenizer.post_processor
    if step is None:
        return True
    around = tokenizer.encode(SAMPLE)
    tokenizer.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    plain: list[int] = tokenizer.encode(SAMPLE).ids
    tokenizer.post_processor = step
    marked = zip(around.ids, around.special_tokens_mask, strict=True)
    return plain == [token_id for token_id, is_special in marked if not is_special]


def pipeline_json(tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
    """The steps around the model, all with their type, as some readers need it."""
    names = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
    steps = {name: getattr(tokenizer, name) for name in names}
    return {
        name: None if step is None else json.loads(step.__getstate__())
        for name, step in steps.items()
    }


def list_added_tokens(tokenizer: tokenizers.Tokenizer) -> list[dict[str, Any]]:
    """The added tokens in the form of tokenizer.json."""
    flags = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
    return [
        {"id": token_id} | {flag: getattr(token, flag) for flag in flags}
        for token_id, token in sorted(tokenizer.get_added_tokens_decoder().items())
    ]
