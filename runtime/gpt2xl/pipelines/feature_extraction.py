"""The pipeline "feature-extraction"."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Unpack, cast

from gpt2xl.errors import RequestError
from gpt2xl.features import Features
from gpt2xl.model import Model
from gpt2xl.pipelines.fields import unknown_option
from gpt2xl.pipelines.keywords import FeatureKeywords
from gpt2xl.pipelines.prompts import truncates
from gpt2xl.startup.options import checked_integer
from gpt2xl.text.prompts import Prompt, text_ids

KNOWN = frozenset(FeatureKeywords.__annotations__)
Nested = list[list[list[float]]]
"""[1][tokens][n_embd], as transformers nests it."""


class FeatureExtractionPipeline:
    """The hidden state after the final layer norm: takes the calls of transformers' class of this name.

    >>> from gpt2xl import pipeline
    >>> extractor = pipeline("feature-extraction", model=model)
    >>> features = extractor("Once upon a time")
    >>> len(features), len(features[0]), len(features[0][0]) == model.config.n_embd
    (1, 4, True)
    >>> extractor("Once upon a time", return_tensors="np").shape[:2]
    (1, 4)
    """

    task: Literal["feature-extraction"] = "feature-extraction"

    def __init__(self, model: Model, **options: Unpack[FeatureKeywords]) -> None:
        """Keep ``options`` for all calls; raises as a call does.

        Args:
            model: its bundle's graph has to have the hidden state as an output.
            **options: of each call that does not give others.
        """
        self.model = model
        self.tokenizer = model.tokenizer
        self._options = cast(Mapping[str, Any], options)
        _check(self._options)

    def __repr__(self) -> str:
        return f"<FeatureExtractionPipeline of {self.model!r}>"

    @property
    def device(self) -> str:
        """Where the model runs: "cpu" or "cuda"."""
        return self.model.device

    def __call__(
        self, inputs: Prompt | Iterable[Prompt], **options: Unpack[FeatureKeywords]
    ) -> Nested | list[Nested] | Features | list[Features]:
        """The features of one text or of several, which are computed one after the other.

        Args:
            inputs: a text, or an iterable of texts. Token ids stand for a text everywhere.
            **options: return_tensors ("np" or True: float32 arrays [1, tokens, n_embd]), truncation (True: tokens beyond
                the context are left out), tokenize_kwargs (truncation and max_length); batch_size and num_workers change
                nothing.

        Returns:
            For a text a nested list of shape 1, tokens, n_embd, or an array; for several texts a list of those.

        Raises:
            TypeError: an option that does not exist.
            RequestError: an option out of its range, a text longer than the context, or a bundle without this output.
        """
        given = {**self._options, **cast(Mapping[str, Any], options)}
        _check(given)
        if isinstance(inputs, str) or _is_ids(inputs):
            return self._features(cast(Prompt, inputs), given)
        return [self._features(text, given) for text in cast(Iterable[Prompt], inputs)]  # type: ignore[return-value]

    def _features(self, text: Prompt, given: Mapping[str, Any]) -> Nested | Features:
        of_tokenizer = given.get("tokenize_kwargs") or {}
        if truncates(given.get("truncation") or of_tokenizer.get("truncation")):
            length = of_tokenizer.get("max_length", self.model.config.n_positions)
            text = text_ids(text, self.tokenizer, self.model.config)
            text = text[: checked_integer("max_length", length, 1)]
        features = self.model.features(text)[None]
        return features if given.get("return_tensors") else cast(Nested, features.tolist())


def _is_ids(inputs: object) -> bool:
    return isinstance(inputs, list | tuple) and bool(inputs) and isinstance(inputs[0], int)


def _check(given: Mapping[str, Any]) -> None:
    """Raise TypeError or RequestError for an option that is not taken."""
    for name in given:
        if name not in KNOWN:
            raise unknown_option(name, KNOWN)
    tensors = given.get("return_tensors")
    if tensors not in (None, True, False, "np"):
        raise RequestError(
            f"return_tensors has to be True, False or 'np', but is {tensors!r}: torch.from_numpy makes a tensor"
            " of an array."
        )
    of_tokenizer = given.get("tokenize_kwargs") or {}
    if given.get("truncation") is not None and "truncation" in of_tokenizer:
        raise RequestError("truncation is given twice: leave it out of tokenize_kwargs.")
    for name in of_tokenizer:
        if name not in ("truncation", "max_length", "padding"):
            raise RequestError(
                f"tokenize_kwargs takes truncation and max_length, but has {name}: leave it out."
            )
