"""What pipelines and their calls may be given, beside the input."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypedDict

from gpt2xl.options.generation import GenerationOptions
from gpt2xl.options.keywords import GenerationKeywords
from gpt2xl.text.prompts import Prompt
from gpt2xl.text.tokenizer import Tokenizer


class HasToDict(Protocol):
    """Such as transformers' GenerationConfig."""

    def to_dict(self) -> dict[str, Any]:
        """Its fields; None where one is not set."""


GenerationConfig = GenerationOptions | Mapping[str, Any] | HasToDict


class LoadingKeywords(TypedDict, total=False):
    """Where and how a pipeline loads its model; each may be None."""

    tokenizer: str | Tokenizer | None
    device: int | str | object
    device_map: str | None
    dtype: object
    torch_dtype: object
    framework: str | None


class TextGenerationKeywords(GenerationKeywords, total=False):
    """Options of a call of `TextGenerationPipeline`, which may be given to `pipeline` as well."""

    return_full_text: bool | None
    return_text: bool | None
    return_tensors: bool | None
    clean_up_tokenization_spaces: bool | None
    skip_special_tokens: bool | None
    prefix: str | None
    truncation: bool | str | None
    add_special_tokens: bool | None
    tokenizer_encode_kwargs: Mapping[str, Any] | None
    handle_long_generation: Literal["hole"] | None
    stop_sequence: str | list[str] | None
    generation_config: GenerationConfig | None
    negative_prompt_ids: Prompt | None
    batch_size: int | None
    num_workers: int | None
    pad_token_id: int | None
    padding: bool | str | None
    use_cache: bool | None


class FeatureKeywords(TypedDict, total=False):
    """Options of a call of `FeatureExtractionPipeline`, which may be given to `pipeline` as well."""

    truncation: bool | str | None
    tokenize_kwargs: Mapping[str, Any] | None
    return_tensors: bool | Literal["np"] | None
    batch_size: int | None
    num_workers: int | None
