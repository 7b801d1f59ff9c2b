"""From the options of a pipeline call to those of `Model`, with transformers' defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast
from warnings import warn

from gpt2xl.errors import Gpt2xlWarning, RequestError
from gpt2xl.model import MAX_ROWS, Model
from gpt2xl.options.defaults import set_options
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.options.keywords import updated
from gpt2xl.pipelines.fields import NOT_HERE, RENAMED, WITHOUT_EFFECT, translated, unknown_option
from gpt2xl.pipelines.prompts import PROMPT_OPTIONS, PromptRules, prompt_rules
from gpt2xl.pipelines.records import FORM_OPTIONS, Form, form_of
from gpt2xl.startup.options import checked_integer

ROWS = 16  # texts that share each step, where batch_size is not given
DEFAULTS: Mapping[str, Any] = {
    "max_new_tokens": 256,
    "do_sample": True,
    "temperature": 0.7,
    "top_k": 50,
    "keep_stop_string": True,
}
"""Where they differ from our own. Source: `TextGenerationPipeline` and `GenerationMixin` of transformers 5.24."""
OWN = frozenset(field.name for field in fields(GenerationOptions))
GENERATION = OWN | {*RENAMED} | {*NOT_HERE} | WITHOUT_EFFECT
CONFIG, TOKENIZER = "generation_config", "tokenizer"
KNOWN = GENERATION | FORM_OPTIONS | PROMPT_OPTIONS | {CONFIG, TOKENIZER, "batch_size"}


@dataclass(frozen=True)
class Call:
    """What one call asks for."""

    options: GenerationOptions
    prompt: PromptRules
    form: Form
    rows: int
    """Texts that share each step."""


def merged(of_pipeline: Mapping[str, Any], of_call: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call over those of its pipeline; a ``generation_config`` of the call replaces all that generate.

    Source: `_prepare_generate_kwargs` of transformers 5.24.
    """
    given = {name: value for name, value in of_call.items() if value is not None}
    dropped = GENERATION if CONFIG in given else frozenset[str]()
    return {name: value for name, value in of_pipeline.items() if name not in dropped} | given


def call_of(model: Model, given: Mapping[str, Any]) -> Call:
    """What a call with the options ``given`` asks for.

    Raises:
        TypeError: an option that does not exist; names the closest one.
        RequestError: an option out of its range, one that this library does not have, or two that clash.

    Warns:
        Gpt2xlWarning: ``clean_up_tokenization_spaces``, which has no effect.
    """
    for name in given:
        if name not in KNOWN:
            raise unknown_option(name, KNOWN)
    if given.get("clean_up_tokenization_spaces"):
        warn(
            "clean_up_tokenization_spaces has no effect: GPT-2's tokenizer gives every text back unchanged.",
            Gpt2xlWarning,
            4,
        )
    own = given.get(TOKENIZER)
    if own is not None and own is not model.tokenizer:
        raise RequestError("a pipeline decodes with its own tokenizer: leave tokenizer out.")
    rules, rows = prompt_rules(given), given.get("batch_size")
    return Call(
        _options(model, given, rules.prefix_length(model)),
        rules,
        form_of(given),
        checked_integer("batch_size", ROWS if rows is None else rows, 1, MAX_ROWS),
    )


def _options(model: Model, given: Mapping[str, Any], prefix_length: int) -> GenerationOptions:
    keywords = translated({name: value for name, value in given.items() if name in GENERATION})
    config = given.get(CONFIG)
    if isinstance(config, GenerationOptions):
        return updated(config, keywords)
    folder = model.bundle.folder if model.bundle else None
    chosen = set_options(model.defaults, folder) | translated(_config_values(config)) | keywords
    for length, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
        if length in chosen and new not in chosen:
            chosen[length] += prefix_length  # it counts the whole prompt
    return updated(GenerationOptions(), _defaults(chosen) | chosen)


def _defaults(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Those of transformers that the options ``chosen`` leave room for."""
    beside = {"max_new_tokens": "max_length", "do_sample": "greedy"}
    return {name: value for name, value in DEFAULTS.items() if beside.get(name, name) not in chosen}


def _config_values(config: object) -> dict[str, Any]:
    """The fields of a ``generation_config``."""
    if config is None:
        return {}
    if isinstance(config, Mapping):
        values = dict(config)
    elif callable(to_dict := getattr(config, "to_dict", None)):
        values = cast(dict[str, Any], to_dict())
    else:
        raise RequestError(
            "generation_config has to be a dict, gpt2xl.GenerationOptions, or an object with a method to_dict,"
            f" but is {type(config).__name__}."
        )
    for name in values:
        if name not in GENERATION:
            raise unknown_option(name, GENERATION)
    return values
