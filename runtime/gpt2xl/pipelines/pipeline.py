"""`pipeline`: a task and a model, as transformers' function of this name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Unpack, cast, overload
from warnings import warn

from gpt2xl.errors import Gpt2xlWarning, RequestError
from gpt2xl.loading import load
from gpt2xl.model import Model
from gpt2xl.pipelines.feature_extraction import FeatureExtractionPipeline
from gpt2xl.pipelines.keywords import FeatureKeywords, LoadingKeywords, TextGenerationKeywords
from gpt2xl.pipelines.text_generation import TextGenerationPipeline
from gpt2xl.startup.options import Provider
from gpt2xl.text.tokenizer import Tokenizer

TASKS = {
    "text-generation": TextGenerationPipeline,
    "feature-extraction": FeatureExtractionPipeline,
}
LOADING = frozenset(LoadingKeywords.__annotations__)
NOT_HERE = {
    "config": "a bundle has its own config.json",
    "revision": "export that revision: gpt2xl export NAME OUT --revision REVISION",
    "token": "set HF_TOKEN",
    "use_auth_token": "set HF_TOKEN",
    "model_kwargs": "give a model of gpt2xl.load(..., options)",
    "trust_remote_code": "no code of a model is ever run",
    "feature_extractor": "GPT-2 reads text only",
    "image_processor": "GPT-2 reads text only",
    "processor": "GPT-2 reads text only",
    "pipeline_class": "use the returned object inside a class of your own",
}
"""Arguments of transformers' function, and what to do instead."""
NOTHING: tuple[object, ...] = (None, False, {}, "main")
"""Their values that ask for nothing."""


class _TextGeneration(TextGenerationKeywords, LoadingKeywords, total=False):
    pass


class _Features(FeatureKeywords, LoadingKeywords, total=False):
    pass


@overload
def pipeline(
    task: Literal["text-generation"] | None = None,
    model: str | Path | Model | None = None,
    **options: Unpack[_TextGeneration],
) -> TextGenerationPipeline: ...


@overload
def pipeline(
    task: Literal["feature-extraction"],
    model: str | Path | Model | None = None,
    **options: Unpack[_Features],
) -> FeatureExtractionPipeline: ...


def pipeline(
    task: str | None = None,
    model: str | Path | Model | None = None,
    **options: object,
) -> TextGenerationPipeline | FeatureExtractionPipeline:
    """A function that continues texts, or gives their features, as transformers' ``pipeline``.

    >>> generator = pipeline("text-generation", model=model)
    >>> generator("The king said", do_sample=False, max_new_tokens=8)
    [{'generated_text': 'The king said, "I have a great many friends'}]

    Args:
        task: "text-generation", which None means, or "feature-extraction".
        model: a bundle's folder, a model's name (made at the first use, as `load` does), or a loaded model.
        **options: device (-1 or "cpu"; 0, "cuda" or "cuda:0"; None lets `load` choose), and options for all calls of the
            pipeline. Also taken as far as they agree with the model: tokenizer, framework, dtype and torch_dtype, since
            precision and tokenizer are those of the bundle.

    Raises:
        BundleError, ExportError, ProviderError: as `load`.
        RequestError: no such task, no model, or an option that cannot work here.
        TypeError: an option that does not exist.

    Warns:
        Gpt2xlWarning: ``dtype`` is another than the bundle's, or as `load` warns.
    """
    chosen = TASKS.get(task or "text-generation")
    if chosen is None:
        raise RequestError(f"task has to be one of {', '.join(TASKS)}, but is {task!r}.")
    for name, instead in NOT_HERE.items():
        if options.pop(name, None) not in NOTHING:
            raise RequestError(f"a pipeline has no {name}: leave it out; {instead}.")
    options.pop("use_fast", None)  # there is one tokenizer only
    given = {name: options.pop(name) for name in LOADING if name in options}
    loaded = _loaded(model, given)
    if chosen is TextGenerationPipeline:
        return TextGenerationPipeline(loaded, **cast(TextGenerationKeywords, options))
    return FeatureExtractionPipeline(loaded, **cast(FeatureKeywords, options))


def _loaded(model: str | Path | Model | None, given: Mapping[str, object]) -> Model:
    """The model, where ``given`` asks for; raises RequestError where it cannot."""
    device = given.get("device") if given.get("device") is not None else given.get("device_map")
    provider = provider_of(device)
    if given.get("framework") not in (None, "np"):
        raise RequestError(
            f"framework is {given['framework']!r}, but gpt2xl needs none: leave it out."
        )
    if isinstance(model, str | Path):
        loaded = load(model, provider=provider)
    elif isinstance(model, Model):
        loaded = model
        if provider not in ("auto", loaded.device):
            raise RequestError(
                f"device is {device!r}, but this model runs on {loaded.device}: leave device out, or load it with"
                f" provider={provider!r}."
            )
    else:
        raise RequestError(
            "model has to be a bundle's folder, a model's name such as 'gpt2-xl' or 'demo', or a model of"
            f" gpt2xl.load, but is {type(model).__name__}."
        )
    _check_tokenizer(given.get("tokenizer"), model, loaded)
    for name in ("dtype", "torch_dtype"):
        _check_dtype(name, given.get(name), loaded)
    return loaded


def provider_of(device: object) -> Provider:
    """The provider that transformers' ``device`` or ``device_map`` means; torch.device objects are taken, too.

    >>> provider_of(-1), provider_of("cuda:0"), provider_of(None)
    ('cpu', 'cuda', 'auto')

    Raises:
        RequestError: a device that gpt2xl does not run on.
    """
    if device in (None, "auto"):
        return "auto"
    name = str(device)
    if name in ("cpu", "-1", "cpu:0"):
        return "cpu"
    if name in ("cuda", "cuda:0", "0"):
        return "cuda"
    raise RequestError(
        f"device has to be -1, 'cpu', 0, 'cuda' or 'cuda:0', but is {name!r}; CUDA_VISIBLE_DEVICES chooses among several GPUs."
    )


def _check_tokenizer(tokenizer: object, model: object, loaded: Model) -> None:
    is_own = isinstance(tokenizer, Tokenizer) and tokenizer == loaded.tokenizer
    same_name = isinstance(tokenizer, str | Path) and str(tokenizer) == str(model)
    if not (tokenizer is None or is_own or same_name):
        raise RequestError(
            "tokenizer has to be None or the model's own, since a bundle has its tokenizer: leave it out."
        )


def _check_dtype(name: str, dtype: object, model: Model) -> None:
    """Warn where ``dtype`` is not the one of the bundle's weights."""
    asked = str(dtype).removeprefix("torch.")
    if asked in ("None", "auto") or model.bundle is None:
        return
    manifest = model.bundle.manifest
    precision = (manifest.precision if manifest else None) or "unknown"
    if {"float32": "fp32", "float": "fp32", "float16": "fp16", "half": "fp16"}.get(
        asked
    ) != precision:
        warn(
            f"{name} {asked} has no effect: this bundle's precision is {precision}, chosen by gpt2xl export"
            " --precision.",
            Gpt2xlWarning,
            4,
        )
