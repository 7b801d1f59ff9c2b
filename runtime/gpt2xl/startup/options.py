"""Where and how a bundle is loaded."""

from dataclasses import dataclass
from operator import index
from typing import Any, Literal, TypedDict, get_args

from gpt2xl.errors import RequestError

Provider = Literal["cpu", "cuda", "auto"]
MAX_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Where and how a bundle is loaded.

    Example:
        >>> LoadOptions(threads=4).provider
        'auto'

    Raises:
        RequestError: an option is out of its range.
    """

    provider: Provider = "auto"
    """``cpu``, ``cuda``, or ``auto``: CUDA where onnxruntime has it, it starts, and the bundle is in float16."""
    threads: int = 0
    """Threads for one operator; 0 leaves the number to onnxruntime, about one for each core."""
    spinning: bool = True
    """Whether threads wait for the next operator at full speed. That is a little faster alone, and much slower
    beside another session that runs in turn with it: pass False for a draft model."""
    exact_prompts: bool = False
    """With an int8 KV cache, whether prompts attend as single tokens do: then the steps that a prompt is fed in
    change no bit. Up to 1.5 times as slow; `fast` bundles then compute each step in 8 bits."""
    cuda_graph: bool = True
    """On CUDA, whether the decode step is captured once and then replayed."""
    generation_config: Literal["model", "none"] = "model"
    """Whether the model's generation_config.json sets the defaults of texts (`Model.defaults`)."""

    def __post_init__(self) -> None:
        if self.provider not in get_args(Provider):
            raise RequestError(
                f"provider has to be one of cpu, cuda, auto, but is {self.provider!r}."
            )
        if self.generation_config not in ("model", "none"):
            raise RequestError(
                f"generation_config has to be one of model, none, but is {self.generation_config!r}."
            )
        meaning = " (0: as onnxruntime chooses)"
        threads = checked_integer("threads", self.threads, 0, MAX_THREADS, meaning)
        object.__setattr__(self, "threads", threads)
        for name in ("spinning", "exact_prompts", "cuda_graph"):
            if (value := getattr(self, name)) not in (True, False):
                raise RequestError(f"{name} has to be True or False, but is {value!r}.")


class LoadKeywords(TypedDict, total=False):
    """The fields of `LoadOptions` as keyword arguments."""

    provider: Provider
    threads: int
    spinning: bool
    exact_prompts: bool
    cuda_graph: bool
    generation_config: Literal["model", "none"]


def checked_integer(
    name: str, value: Any, lowest: int, highest: int | None = None, meaning: str = ""
) -> int:
    """``value`` as a Python int.

    >>> checked_integer("top_k", -1, 0, meaning=" (0 keeps the whole vocabulary)")
    Traceback (most recent call last):
    gpt2xl.errors.RequestError: top_k has to be >= 0 (0 keeps the whole vocabulary), but is -1.

    Raises:
        RequestError: not an integer, or out of its range.
    """
    try:
        number = index(value)
    except TypeError:
        raise RequestError(
            f"{name} has to be an integer >= {lowest}{meaning}, but is {value!r}."
        ) from None
    if number < lowest:
        raise RequestError(f"{name} has to be >= {lowest}{meaning}, but is {value}.")
    if highest is not None and number > highest:
        raise RequestError(f"{name} has to be <= {highest}, but is {value}.")
    return number
