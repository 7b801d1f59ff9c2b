"""Resolve the tokenizer files of a checkpoint folder to one complete tokenizer.json.

The result is the tokenizer that `AutoTokenizer.from_pretrained` of transformers 4.57 makes of the folder.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from gpt2xl.errors import CheckpointError, Gpt2xlWarning
from gpt2xl.files.json_values import read_json_if_there
from gpt2xl.files.reading import read_text
from gpt2xl_export.source.own_files import is_carried
from gpt2xl_export.tokenizer.added_tokens import (
    LISTS,
    NAMED,
    SpecialTokens,
    add_special_tokens,
    read_special_tokens,
)
from gpt2xl_export.tokenizer.tokenizer_files import (
    list_added_tokens,
    parse_content,
    pipeline_json,
    read_tokenizer_json,
    read_vocab_and_merges,
)

GPT2_CLASSES = ("GPT2Tokenizer", "GPT2TokenizerFast")
GENERIC_CLASSES = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend")


@dataclass(frozen=True)
class SourceTokenizer:
    """A checkpoint's tokenizer."""

    content: Mapping[str, Any]
    """The content of tokenizer.json."""
    settings: Mapping[str, Any]
    """The content of tokenizer_config.json, which changes no id."""

    @property
    def json(self) -> str:
        """The text of tokenizer.json."""
        return json.dumps(self.content, ensure_ascii=False, separators=(",", ":"))

    @property
    def vocab(self) -> Mapping[str, int]:
        """Token -> id, without added tokens."""
        found: Mapping[str, int] = self.content["model"]["vocab"]
        return found


def read_source_tokenizer(folder: Path, n_positions: int) -> SourceTokenizer:
    """Read tokenizer.json, or vocab.json and merges.txt, and the settings beside them.

    Args:
        folder: a checkpoint, or a bundle.
        n_positions: the model's; model_max_length is at most this.

    Raises:
        CheckpointError: there is no tokenizer, it is not a byte-level BPE, or files contradict each
            other.
    """
    try:
        return _read(folder, n_positions)
    except UnicodeEncodeError:
        raise CheckpointError(
            f"'{folder}': its tokenizer has a token that is not valid Unicode (a lone surrogate)."
        ) from None


def _read(folder: Path, n_positions: int) -> SourceTokenizer:
    settings = _optional(folder / "tokenizer_config.json")
    kind = _tokenizer_class(folder, settings)
    path, vocab, merges = (folder / n for n in ("tokenizer.json", "vocab.json", "merges.txt"))
    if whole := path.is_file():
        content = read_tokenizer_json(path)
        parsed = parse_content(f"'{path}'", content)
    elif vocab.is_file() and merges.is_file():
        content = read_vocab_and_merges(vocab, merges)
        parsed = parse_content(f"'{vocab}' and '{merges}' are no BPE", content, is_file=False)
    else:
        raise CheckpointError(
            f"'{folder}' holds neither tokenizer.json nor vocab.json and merges.txt."
        )
    content |= pipeline_json(parsed)
    gpt2 = kind in GPT2_CLASSES or not whole
    tokens = read_special_tokens(folder, settings, content if whole else {}, gpt2=gpt2)
    content["padding"] = None
    if not whole:
        tokens = _with_slow_class_defaults(tokens)
    add_special_tokens(parsed, tokens)
    content["added_tokens"] = list_added_tokens(parsed)
    _settle_prefix_space(path, content["pre_tokenizer"], settings, kind, whole)
    if not whole:
        _add_bos(folder, content, settings, tokens.content("bos_token"))
    _warn_of_what_is_left_out(folder, settings)
    settings = _bundle_settings(folder, content, settings, tokens, n_positions)
    return SourceTokenizer(content, settings)


def check_ids(tokenizer: SourceTokenizer, source: Path, vocab_size: int) -> None:
    """Refuse ids that the model does not have, except for a few added tokens.

    Fine-tuning scripts often add a padding token without resizing the embedding.

    Raises:
        CheckpointError: an id is too large, or two tokens have the same id.

    Warns:
        Gpt2xlWarning: the model has no embedding for an added token.
    """
    added = {token["content"]: token["id"] for token in tokenizer.content["added_tokens"]}
    owners: dict[int, str] = {}
    for token, token_id in {**tokenizer.vocab, **added}.items():
        if (other := owners.setdefault(token_id, token)) != token:
            raise CheckpointError(
                f"'{source}': tokens {other[:40]!r} and {token[:40]!r} both have id {token_id}."
            )
        limit = vocab_size + len(added) if token in added else vocab_size
        if token_id >= limit:
            raise CheckpointError(
                f"'{source}': token {token[:40]!r} has id {token_id}, but config.json has"
                f" vocab_size {vocab_size}: they do not belong together."
            )
    beyond = [
        f"{token[:40]!r} ({number})" for token, number in added.items() if number >= vocab_size
    ]
    if beyond:
        warnings.warn(
            f"the model's vocab_size is {vocab_size}: it has no embedding for the added"
            f" {', '.join(beyond[:5])}; a text with one of them is refused.",
            Gpt2xlWarning,
            stacklevel=2,
        )


def _tokenizer_class(folder: Path, settings: Mapping[str, Any]) -> str:
    """The tokenizer class by the rules of AutoTokenizer; GPT2Tokenizer if none is named."""
    config = _optional(folder / "config.json")
    named = settings.get("tokenizer_class") or config.get("tokenizer_class") or GPT2_CLASSES[0]
    if named not in GPT2_CLASSES + GENERIC_CLASSES:
        _warn(
            f"'{folder}' names tokenizer_class {str(named)[:80]!r}; its files are read, but the defaults"
            " of that class, such as its special tokens, are not known."
        )
    return str(named)


def _with_slow_class_defaults(tokens: SpecialTokens) -> SpecialTokens:
    """Make four special tokens `normalized`, as the slow GPT2Tokenizer does before it is converted."""
    special = dict(tokens.special)
    for key in ("bos_token", "eos_token", "unk_token", "pad_token"):
        special[key] = [
            AddedToken(token, normalized=True) if isinstance(token, str) else token
            for token in special[key]
        ]
    return SpecialTokens(special, tokens.added, tokens.ids_path)


def _settle_prefix_space(
    path: Path, step: dict[str, Any], settings: Mapping[str, Any], kind: str, whole: bool
) -> None:
    """Let tokenizer_config.json decide, with false as its default, as transformers 4 does."""
    wanted = settings.get("add_prefix_space") or False
    if type(wanted) is not bool:
        raise CheckpointError(
            f"'{path.parent / 'tokenizer_config.json'}': add_prefix_space cannot be {str(wanted)[:40]!r}."
        )
    if step.get("add_prefix_space", wanted) == wanted:
        return
    if whole and kind in GENERIC_CLASSES:
        _warn(
            f"'{path}' has add_prefix_space {str(not wanted).lower()}, tokenizer_config.json means"
            f" {str(wanted).lower()}, which transformers 4 uses (5 uses tokenizer.json's)."
        )
    step["add_prefix_space"] = wanted


def _add_bos(
    folder: Path, content: dict[str, Any], settings: Mapping[str, Any], bos: str | None
) -> None:
    """Apply add_bos_token, for vocab.json and merges.txt; a tokenizer.json has a post-processor."""
    wanted = settings.get("add_bos_token") or False
    if type(wanted) is not bool:
        raise CheckpointError(
            f"'{folder / 'tokenizer_config.json'}': add_bos_token cannot be {str(wanted)[:40]!r}."
        )
    if not wanted or bos is None:
        return
    token_id = next(t["id"] for t in content["added_tokens"] if t["content"] == bos)
    first = {"SpecialToken": {"id": bos, "type_id": 0}}
    texts = [{"Sequence": {"id": name, "type_id": number}} for number, name in enumerate("AB")]
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [first, texts[0]],
        "pair": [first, *texts],
        "special_tokens": {bos: {"id": bos, "ids": [token_id], "tokens": [bos]}},
    }


def _warn_of_what_is_left_out(folder: Path, settings: Mapping[str, Any]) -> None:
    path = folder / "tokenizer_config.json"
    reasons = {
        "add_eos_token": "is ignored, as in transformers 4: a prompt should not end the text",
        "split_special_tokens": "is ignored: --no-special (parse_special=False) does the same",
        "auto_map": "names Python code, which is not run",
        "fast_tokenizer_files": "is ignored: only tokenizer.json is read",
    }
    for key, reason in reasons.items():
        if settings.get(key):
            _warn(f"'{path}': {key} {reason}.")


def _bundle_settings(
    folder: Path,
    content: Mapping[str, Any],
    settings: Mapping[str, Any],
    tokens: SpecialTokens,
    n_positions: int,
) -> dict[str, Any]:
    """A tokenizer_config.json with which every reader uses tokenizer.json as it is.

    It repeats add_prefix_space, as transformers 4 takes it from here.
    """
    longest = settings.get("model_max_length")
    known = type(longest) in (int, float) and 1 <= longest < n_positions  # type: ignore[operator]
    result: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": int(longest) if known else n_positions,  # type: ignore[arg-type]
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],  # without token_type_ids
    }
    if content["pre_tokenizer"].get("add_prefix_space"):
        result["add_prefix_space"] = True
    result |= {key: str(tokens.special[key][0]) for key in NAMED if tokens.special[key]}
    if further := [str(token) for key in LISTS for token in tokens.special[key]]:
        result["additional_special_tokens"] = list(dict.fromkeys(further))
    for key in ("padding_side", "truncation_side"):
        if settings.get(key) in ("left", "right"):
            result[key] = settings[key]
    template = _chat_template(folder, settings)
    return result | ({"chat_template": template} if template else {})


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> Any:
    """The chat template, or a list of named ones; chat_template.jinja has precedence."""
    path = folder / "chat_template.jinja"
    if is_carried(path):
        return read_text(path, CheckpointError)
    found = settings.get("chat_template")
    if isinstance(found, list) and all(isinstance(one, dict) for one in found):
        return [{key: str(one.get(key)) for key in ("name", "template")} for one in found]
    return found if isinstance(found, str) else None


def _optional(path: Path) -> dict[str, Any]:
    return read_json_if_there(path, CheckpointError)


def _warn(message: str) -> None:
    warnings.warn(message, Gpt2xlWarning, stacklevel=2)
