"""The body of a request to /v1/completions."""

from typing import Any, Literal

import msgspec

Prompt = str | list[str | int | list[int]]
"""A text, a list of texts, ids, or a list of lists of ids."""


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What a stream carries beside its text."""

    include_usage: bool | None = None
    """Whether the last chunk counts the tokens."""
    include_obfuscation: bool | None = None
    """Taken for OpenAI's clients; nothing is padded here."""


class ResponseFormat(msgspec.Struct):
    """What the text has to be: JSON, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None
    """With "json_schema": an object whose ``schema`` is the schema."""


class TextRequest(msgspec.Struct, kw_only=True):
    """The fields that completions and chat share; null is as good as leaving one out."""

    model: str | None = None
    n: int | None = None
    """Texts of each prompt."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    temperature: float | None = None
    """1 unless given; 0 is greedy."""
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    """Taken for OpenAI's clients, and not used."""
    # Extensions with the names of vLLM, llama.cpp or transformers
    min_tokens: int | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    top_h: float | None = None
    top_n_sigma: float | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    dynatemp_range: float | None = None
    dynatemp_exponent: float | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    repetition_penalty: float | None = None
    repetition_window: int | None = None
    repetition_detection: int | None = None
    no_repeat_ngram_size: int | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_sequence_breakers: list[str] | None = None
    dry_window: int | None = None
    bad_words_ids: list[list[int]] | None = None
    suppress_tokens: list[int] | None = None
    allowed_token_ids: list[int] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    include_stop_str_in_output: bool | None = None
    end_at_sentence: bool | None = None
    max_time: float | None = None
    overflow: Literal["stop", "slide"] | None = None
    overflow_keep: int | None = None
    overflow_window: int | None = None
    grammar: str | None = None
    """In GBNF."""
    json_schema: dict[str, Any] | None = None
    regex: str | None = None
    choice: list[str] | None = None
    processed_logprobs: bool | None = None
    return_token_ids: bool | None = None
    """Whether choices carry the ids of prompt and text."""
    return_tokens_as_token_ids: bool | None = None
    """Whether log-probabilities name tokens as "token_id:ID"."""


class CompletionRequest(TextRequest, kw_only=True):
    """The body of a request to /v1/completions."""

    prompt: Prompt | None = None
    """Null or "" begins with beginning-of-text."""
    suffix: str | None = None
    """Refused: GPT-2 cannot infill."""
    max_tokens: int | None = None
    """16 unless given; 0 with ``echo`` scores the prompt."""
    best_of: int | None = None
    echo: bool | None = None
    logprobs: int | None = None
    add_special_tokens: bool | None = None
    parse_special: bool | None = None
    """Whether prompts may spell special tokens such as <|endoftext|>; true unless given."""
    truncate_prompt_tokens: int | None = None
    """Only the last so many tokens of a prompt are taken."""
