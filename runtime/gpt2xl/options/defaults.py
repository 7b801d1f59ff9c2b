"""The options that a model's generation_config.json sets."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from warnings import warn

from gpt2xl.errors import BundleError, Gpt2xlWarning, RequestError
from gpt2xl.files.json_values import Value
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.options.keywords import updated

FILE = "generation_config.json"
READ_WITH_CONFIG = ("bos_token_id", "eos_token_id")
NOT_SUPPORTED = (
    "watermarking_config", "constraints", "force_words_ids", "dola_layers", "encoder_repetition_penalty",
    "encoder_no_repeat_ngram_size",
)  # fmt: skip
"""Fields of transformers that would change a text, and that this library does not have."""


def model_defaults(folder: Path) -> GenerationOptions:
    """Our own defaults, with what generation_config.json in ``folder`` sets in their place, as in transformers.

    Raises:
        BundleError: it is not a JSON object, or a value is out of its range.

    Warns:
        Gpt2xlWarning: it asks for what this library does not have.
    """
    path = folder / FILE
    content = _content(path)
    given = {name: value for name, value in content.items() if value not in (None, False, [], {})}
    for name in NOT_SUPPORTED:
        if name in given:
            warn(
                f"'{path}' has {name}, which gpt2xl does not support: it has no effect.",
                Gpt2xlWarning,
                3,
            )
    try:
        return updated(GenerationOptions(), options_in(content))
    except RequestError as reason:
        ignoring = "or ignore the file with generation_config 'none'"
        raise BundleError(f"'{path}': {str(reason).rstrip('.')}: correct it, {ignoring}.") from None


def options_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a generation_config.json sets of our options; a null is no value.

    Its other fields are left out: they are of other models, or name no option of a text.
    """
    names = {field.name for field in fields(GenerationOptions)} - {*READ_WITH_CONFIG}
    return {name: value for name, value in content.items() if name in names and value is not None}


def set_options(defaults: GenerationOptions, folder: Path | None) -> dict[str, Any]:
    """The options that ``defaults`` set on purpose, even to a value that is our own default.

    Args:
        defaults: of a model.
        folder: of its bundle; None where there is none. Its generation_config.json counts if it gives these defaults: a
            model that was loaded without it, though it sets nothing but our own defaults, is taken for one with it.
    """
    in_file = {} if folder is None else options_in(_content(folder / FILE))
    differs = differing(defaults)
    return in_file if differs == differing(updated(GenerationOptions(), in_file)) else differs


def _content(path: Path) -> dict[str, Any]:
    if not (path.is_symlink() or path.exists()):
        return {}
    return Value.read(path, BundleError).mapping()


def differing(options: GenerationOptions) -> dict[str, Any]:
    """The fields that have not their default value, by name."""
    default = GenerationOptions()
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    return {name: value for name, value in values.items() if value != getattr(default, name)}
