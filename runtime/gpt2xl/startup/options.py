"""Where and how a bundle is loaded."""

from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

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
    change no bit. Up to 1.5 times as slow."""
    cuda_graph: bool = True
    """On CUDA, whether the decode step is captured once and then replayed."""

    def __post_init__(self) -> None:
        if self.provider not in get_args(Provider):
            raise RequestError(
                f"provider has to be one of cpu, cuda, auto, but is {self.provider!r}."
            )
        if self.threads < 0:
            raise RequestError(
                f"threads has to be >= 0 (0: as onnxruntime chooses), but is {self.threads}."
            )
        if self.threads > MAX_THREADS:
            raise RequestError(f"threads has to be <= {MAX_THREADS}, but is {self.threads}.")


class LoadKeywords(TypedDict, total=False):
    """The fields of `LoadOptions` as keyword arguments."""

    provider: Provider
    threads: int
    spinning: bool
    exact_prompts: bool
    cuda_graph: bool
