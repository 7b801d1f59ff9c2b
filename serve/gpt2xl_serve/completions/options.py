"""From the fields of a request to the options of a text."""

from collections.abc import Mapping
from typing import Any

from gpt2xl import GenerationOptions, Grammar, RequestError
from gpt2xl_serve.completions.request import ResponseFormat, TextRequest
from gpt2xl_serve.errors import ApiError

LARGEST = 1e6
"""Of the numbers in a request that are no integers."""
OPENAI_DEFAULTS: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
OTHER_NAMES = {
    "stop": "stop_strings",
    "min_tokens": "min_new_tokens",
    "include_stop_str_in_output": "keep_stop_string",
}
"""Names of fields whose options are called otherwise."""
SAME_NAMES = (
    "seed", "temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "top_k", "min_p",
    "typical_p", "top_h", "top_n_sigma", "epsilon_cutoff", "eta_cutoff", "xtc_probability", "xtc_threshold",
    "dynatemp_range", "dynatemp_exponent", "mirostat_tau", "mirostat_eta", "repetition_penalty",
    "repetition_window", "repetition_detection", "no_repeat_ngram_size", "dry_multiplier", "dry_base",
    "dry_allowed_length", "dry_sequence_breakers", "dry_window", "bad_words_ids", "suppress_tokens",
    "allowed_token_ids", "stop_token_ids", "ignore_eos", "end_at_sentence", "max_time", "overflow",
    "overflow_keep", "overflow_window", "processed_logprobs",
)  # fmt: skip
REQUEST_NAMES = {option: field for field, option in OTHER_NAMES.items()} | {
    "max_new_tokens": "max_tokens"
}


def generation_options(
    request: TextRequest, *, max_tokens: int, logprobs: int | None, prompt_logprobs: int | None
) -> GenerationOptions:
    """The options of a text.

    Args:
        request: what the client asks for.
        max_tokens: at least 1.
        logprobs: as of `GenerationOptions`.
        prompt_logprobs: the same.

    Raises:
        ApiError: an option out of its range, or options that exclude each other.
    """
    names = {name: name for name in SAME_NAMES} | OTHER_NAMES
    _check_sizes({field: getattr(request, field) for field in names})
    given = {option: getattr(request, field) for field, option in names.items()}
    values = OPENAI_DEFAULTS | {name: value for name, value in given.items() if value is not None}
    try:
        return GenerationOptions(
            **values,
            max_new_tokens=max_tokens,
            logprobs=logprobs,
            prompt_logprobs=prompt_logprobs,
            grammar=_grammar(request),
        )
    except RequestError as reason:
        raise refused(reason) from None


def refused(reason: RequestError) -> ApiError:
    """The answer to a request whose option or prompt is refused, with the name that it has there."""
    name, space, rest = str(reason).partition(" ")
    name = REQUEST_NAMES.get(name, name)
    is_field = name in TextRequest.__struct_fields__ or name == "max_tokens"
    return ApiError(400, f"{name}{space}{rest}", param=name if is_field else None)


def _check_sizes(fields: Mapping[str, Any]) -> None:
    """Refuse numbers that overflow float32 when they are combined with logits."""
    for name, value in fields.items():
        values = value.values() if isinstance(value, dict) else (value,)
        for number in values:
            if isinstance(number, float) and abs(number) > LARGEST:
                raise ApiError(
                    400, f"{name} has to be at most {LARGEST:g}, but is {number:g}.", param=name
                )


def _grammar(request: TextRequest) -> Grammar | None:
    form = request.response_format
    made = {
        "grammar": request.grammar,
        "json_schema": request.json_schema,
        "regex": request.regex,
        "choice": request.choice,
        "response_format": None if form is None or form.type == "text" else form,
    }
    names = [name for name, value in made.items() if value is not None]
    if len(names) > 1:
        raise ApiError(
            400, f"{names[0]} and {names[1]} exclude each other: give only one.", param=names[1]
        )
    if request.grammar is not None:
        return Grammar.gbnf(request.grammar)
    if request.json_schema is not None:
        return Grammar.json_schema(request.json_schema)
    if request.regex is not None:
        return Grammar.regex(request.regex)
    if request.choice is not None:
        return Grammar.choice(request.choice)
    return _format_grammar(form) if names and form else None


def _format_grammar(form: ResponseFormat) -> Grammar:
    if form.type == "json_object":
        return Grammar.json_schema({"type": "object"})
    schema = (form.json_schema or {}).get("schema")
    if not isinstance(schema, dict):
        raise ApiError(
            400,
            "response_format.json_schema has to be an object with a schema.",
            param="response_format",
        )
    return Grammar.json_schema(schema)
