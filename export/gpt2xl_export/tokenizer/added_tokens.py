"""The special and added tokens that the files of a checkpoint name, as transformers reads them.

The rules are those of transformers 4.57: `_from_pretrained` in tokenization_utils_base.py and
`PreTrainedTokenizerFast.__init__` in tokenization_utils_fast.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from gpt2xl.errors import CheckpointError
from gpt2xl.files.json_values import read_json, read_json_if_there
from gpt2xl.text.tokenizer_json import MAX_TOKEN_CHARACTERS

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
LISTS = ("additional_special_tokens", "extra_special_tokens")
END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class SpecialTokens:
    """The special and added tokens that the files beside a vocabulary name."""

    special: Mapping[str, list[str | AddedToken]]
    """By attribute (bos_token, ..., additional_special_tokens), in transformers' order."""
    added: Mapping[int, AddedToken]
    """By id, as a file states it."""
    ids_path: Path
    """The file that states the ids."""

    def content(self, name: str) -> str | None:
        """The text of a single token such as bos_token; None if there is none."""
        return next((str(token) for token in self.special[name]), None)


def read_special_tokens(
    folder: Path, settings: Mapping[str, Any], content: Mapping[str, Any], *, gpt2: bool
) -> SpecialTokens:
    """Collect the special and added tokens of ``folder``.

    Args:
        folder: the checkpoint.
        settings: its tokenizer_config.json.
        content: its tokenizer.json, checked; empty without that file.
        gpt2: whether the class is GPT2Tokenizer: bos, eos and unk are end-of-text by default.
    """
    path = folder / "tokenizer_config.json"
    special: dict[str, Any] = dict.fromkeys(NAMED[:3], END_OF_TEXT) if gpt2 else {}
    special |= {key: settings[key] for key in (*NAMED, *LISTS) if key in settings}
    if (decoder := settings.get("added_tokens_decoder")) is not None:
        added = _by_id(path, decoder)
    else:
        # Files that older versions of transformers wrote.
        for key, value in _optional(folder / "special_tokens_map.json").items():
            before = special.get(key) if key == LISTS[0] else None
            special[key] = [*(before or []), *value] if isinstance(value, list) else value
        path = folder / "added_tokens.json"
        added = _without_flags(path, special) if path.is_file() else {}
        listed = content.get("added_tokens", ())
        added |= {int(token["id"]): _token(folder / "tokenizer.json", token) for token in listed}
    flags = {token.content: token for token in added.values()}
    tokens: dict[str, list[str | AddedToken]] = {}
    for key in (*NAMED, *LISTS):
        found = _tokens(folder, key, special.get(key))
        tokens[key] = found if key in LISTS else [flags.get(str(token), token) for token in found]
    if "pad_token" not in special and content.get("padding"):
        tokens["pad_token"] = [str(content["padding"]["pad_token"])]
    return SpecialTokens(tokens, added, path)


def add_special_tokens(tokenizer: tokenizers.Tokenizer, tokens: SpecialTokens) -> None:
    """Add ``tokens`` to ``tokenizer``: new ones get new ids, known ones get the stated flags.

    If several attributes name a special token, the first one counts, as in transformers'
    `all_special_tokens_extended`. It overrides the token's flags in added_tokens_decoder,
    tokenizer.json and added_tokens.json.

    Raises:
        CheckpointError: a token is too long or cannot have the stated id.
    """
    present = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    queue: list[AddedToken] = [token for _, token in sorted(tokens.added.items())]
    known = present | {token.content for token in queue}
    named: list[str | AddedToken] = []
    special: set[str] = set()
    for values in tokens.special.values():
        named += [token for token in values if str(token) not in special]
        special |= set(map(str, values))
    for token in named:
        if isinstance(token, AddedToken):
            queue.append(token)
        elif token not in known:
            queue.append(AddedToken(token, special=True))
    for token in queue:
        token.special = token.special or token.content in special
        if len(token.content) > MAX_TOKEN_CHARACTERS:
            raise CheckpointError(
                f"'{tokens.ids_path.parent}': an added token has more than {MAX_TOKEN_CHARACTERS}"
                f" characters: {token.content[:40]!r}..."
            )
    tokenizer.add_tokens([token for token in queue if token.content])
    _check_stated_ids(tokenizer, tokens)
    others = {i: token for token, i in tokenizer.get_vocab(with_added_tokens=False).items()}
    for token_id, token in tokenizer.get_added_tokens_decoder().items():
        if (other := others.get(token_id, token.content)) != token.content:
            raise CheckpointError(
                f"'{tokens.ids_path.parent}': {token.content[:40]!r}, an added token, has the id"
                f" {token_id} of {other[:40]!r}: the vocabulary has holes."
            )


def _check_stated_ids(tokenizer: tokenizers.Tokenizer, tokens: SpecialTokens) -> None:
    vocab = tokenizer.get_vocab(with_added_tokens=False)
    for stated, token in sorted(tokens.added.items()):
        if (found := tokenizer.token_to_id(token.content)) == stated:
            continue
        message = f"'{tokens.ids_path}': added token {token.content[:40]!r} has id {stated}, but"
        if token.content in vocab or found is None:
            raise CheckpointError(f"{message} the vocabulary gives it {found}.")
        raise CheckpointError(
            f"{message} the next free id is {found}: number added tokens without gaps, from the"
            " end of the vocabulary."
        )


def _by_id(path: Path, decoder: Any) -> dict[int, AddedToken]:
    """The tokens of an added_tokens_decoder, whose keys are ids as strings."""
    if not isinstance(decoder, dict):
        raise CheckpointError(f"'{path}': added_tokens_decoder has to be an object.")
    wrong = [key for key in decoder if not (key.isascii() and key.isdigit() and len(key) < 11)]
    if wrong:
        raise CheckpointError(f"'{path}': added_tokens_decoder has the id {wrong[0][:40]!r}.")
    return {int(key): _token(path, value) for key, value in decoder.items()}


def _without_flags(path: Path, special: Mapping[str, Any]) -> dict[int, AddedToken]:
    """The tokens of an added_tokens.json, which maps texts to ids."""
    names = {
        str(token.get("content") if isinstance(token, dict) else token)
        for value in special.values()
        for token in (value if isinstance(value, list) else [value])
    }
    ids = read_json(path, CheckpointError)
    for content, token_id in ids.items():
        if type(token_id) is not int:
            raise CheckpointError(
                f"'{path}': {content[:40]!r} cannot have id {str(token_id)[:40]!r}."
            )
    return {
        token_id: AddedToken(content, normalized=content not in names, special=content in names)
        for content, token_id in ids.items()
    }


def _tokens(folder: Path, key: str, value: Any) -> list[str | AddedToken]:
    """The tokens of an attribute such as bos_token or additional_special_tokens."""
    if isinstance(value, dict) and key == "extra_special_tokens":
        value = list(value.values())
    if value is None or value == "":
        return []
    values = value if isinstance(value, list) and key in LISTS else [value]
    for token in values:
        content = token.get("content") if isinstance(token, dict) else token
        if not isinstance(content, str):
            raise CheckpointError(
                f"'{folder}': {key} in tokenizer_config.json or special_tokens_map.json has to be a"
                f" string or an object with content, but is {str(token)[:80]}."
            )
    path = folder / "tokenizer_config.json"
    return [v if isinstance(v, str) else _token(path, v, special=True) for v in values if v != ""]


def _token(path: Path, value: Any, *, special: bool = False) -> AddedToken:
    """Parse an added token."""
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, str):
        raise CheckpointError(f"'{path}' has a token {str(value)[:80]!r} without content.")
    stated = {flag: value[flag] for flag in flags if value.get(flag) is not None}
    if wrong := [flag for flag in stated if type(stated[flag]) is not bool]:
        raise CheckpointError(
            f"'{path}': {wrong[0]} of {content[:40]!r} has to be true or false,"
            f" but is {str(stated[wrong[0]])[:40]!r}."
        )
    return AddedToken(content, **(stated | {"special": special or stated.get("special", False)}))


def _optional(path: Path) -> dict[str, Any]:
    return read_json_if_there(path, CheckpointError)
