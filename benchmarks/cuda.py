"""Decode steps on a GPU: bundles beside transformers with a static cache, compiled.

    python benchmarks/cuda.py BUNDLE [BUNDLE...] --checkpoint CHECKPOINT --rows 1 64

All systems run in one process, in turns. A round is a prompt of ``--prompt`` random ids in each row, then ``--new``
greedy tokens; the result is the median time of a step over the rounds. The bound is the size of the weights divided
by the bandwidth of a copy on the device. Without ``--checkpoint`` only the bundles run, and torch only measures the
bandwidth.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import gpt2xl
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.protocol import Cache, Ids, TopLogits

Decode = Callable[[np.ndarray, int], float]
"""Ids [rows, prompt] and new tokens to seconds a step."""


def main() -> None:
    """Print a line for each number of rows and system."""
    options = _parser().parse_args()
    systems = _systems(options)
    rng = np.random.default_rng(0)
    for rows in options.rows:
        times: dict[str, list[float]] = {name: [] for name in systems}
        for _ in range(options.rounds + 1):  # the first one compiles and captures
            ids = rng.integers(0, 50257, (rows, options.prompt))
            for name, decode in systems.items():
                times[name].append(1e3 * decode(ids, options.new))
        for name, (_, *each) in times.items():
            every = " ".join(f"{one:.3f}" for one in each)
            print(f"{rows} rows, {name}: {statistics.median(each):.3f} ms/step ({every})")


def _systems(options: argparse.Namespace) -> dict[str, Decode]:
    """Each by its name; prints the lower bound of each bundle."""
    bandwidth = copy_bandwidth()
    print(f"{torch.cuda.get_device_name()}: {bandwidth / 1e12:.2f} TB/s")
    systems: dict[str, Decode] = {}
    for folder in options.bundles:
        size = open_bundle(folder).weights_size
        print(f"{folder.name}: {size / 1e9:.2f} GB, bound {1e3 * size / bandwidth:.3f} ms")
        systems[folder.name] = bundle_decode(folder, cuda_graph=True)
        if options.uncaptured:
            systems[f"{folder.name}, not captured"] = bundle_decode(folder, cuda_graph=False)
    if options.checkpoint:
        systems["transformers, static cache, compiled"] = transformers_decode(options.checkpoint)
    return systems


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of a copy of 2 GB on the device: the best of ten."""
    source = torch.zeros(1 << 31, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        target.copy_(source)
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * source.numel() / best


def bundle_decode(folder: Path, cuda_graph: bool) -> Decode:
    """Decode greedily as `gpt2xl.Model` does: each id is copied to the host before it is fed."""
    session = gpt2xl.load(folder, provider="cuda", cuda_graph=cuda_graph).session
    caches: dict[int, Cache] = {}

    def step(ids: Ids, cache: Cache) -> Ids:
        top = session.forward_top(ids, cache, 1)
        assert isinstance(top, TopLogits)
        return top.ids[:, -1]

    def decode(ids: np.ndarray, new: int) -> float:
        cache = caches.get(len(ids))
        if cache is None:
            cache = caches[len(ids)] = session.new_cache(len(ids))
        cache.truncate(0)
        ids = step(step(ids, cache), cache)
        start = time.perf_counter()
        for _ in range(new):
            ids = step(ids, cache)
        return (time.perf_counter() - start) / new

    return decode


def transformers_decode(checkpoint: Path) -> Decode:
    """Compiled forward and argmax in a loop, which is less work than transformers' ``generate``."""
    from transformers import GPT2LMHeadModel, StaticCache
    from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions

    model = GPT2LMHeadModel.from_pretrained(checkpoint, dtype=torch.float16)
    model.to(torch.device("cuda")).eval()
    compiled: Callable[..., CausalLMOutputWithCrossAttentions] = torch.compile(
        model.forward, mode="reduce-overhead", fullgraph=True
    )
    caches: dict[int, StaticCache] = {}

    def most_likely(output: CausalLMOutputWithCrossAttentions) -> torch.Tensor:
        assert output.logits is not None
        return output.logits[:, -1:].argmax(-1)

    def step(token: torch.Tensor, cache: StaticCache) -> torch.Tensor:
        return most_likely(compiled(token, past_key_values=cache)).clone()

    @torch.inference_mode()
    def decode(ids: np.ndarray, new: int) -> float:
        cache = caches.get(len(ids))
        if cache is None:
            cache = caches[len(ids)] = StaticCache(model.config, max_cache_len=1024)
        cache.reset()
        prompt = torch.from_numpy(ids).cuda()
        token = most_likely(model(prompt, past_key_values=cache))
        for _ in range(3):
            token = step(token, cache)
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(new):
            token = step(token, cache)
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / new

    return decode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Decode steps on a GPU.")
    add = parser.add_argument
    add("bundles", nargs="+", type=Path, metavar="BUNDLE", help="fp16 or int4-fp16")
    add("--checkpoint", type=Path, help="Hugging Face folder, for transformers")
    add("--rows", type=int, nargs="+", default=[1, 64])
    add("--prompt", type=int, default=64, help="ids in each row")
    add("--new", type=int, default=64, help="tokens to generate after each")
    add("--rounds", type=int, default=5)
    add("--uncaptured", action="store_true", help="run the bundles without a CUDA graph, too")
    return parser


if __name__ == "__main__":
    main()
