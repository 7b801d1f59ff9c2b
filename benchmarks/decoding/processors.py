"""What each logits processor costs for one token, at GPT-2's vocabulary, as a Markdown table.

The text has 900 tokens. `flat` are normally distributed logits of standard deviation 3, of which top-p 0.9 keeps 1,543;
`peaked` has 200 ids more that are raised by 10, and keeps 26.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from gpt2xl.decoding.samplers import Categorical, Mirostat
from gpt2xl.processors.biases import (
    allowed_token_ids,
    bad_words_ids,
    begin_suppress_tokens,
    logit_bias,
    sequence_bias,
    suppress_tokens,
)
from gpt2xl.processors.dry import dry
from gpt2xl.processors.endings import (
    exponential_decay_length_penalty,
    forced_eos_token_id,
    min_length,
    min_new_tokens,
)
from gpt2xl.processors.mass import top_h, top_p, typical_p
from gpt2xl.processors.penalties import (
    frequency_penalty,
    no_repeat_ngram,
    presence_penalty,
    repetition_penalty,
)
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.scaling import dynamic_temperature, renormalize, temperature
from gpt2xl.processors.truncation import epsilon_cutoff, eta_cutoff, min_p, top_k, top_n_sigma
from gpt2xl.processors.xtc import xtc
from gpt2xl.sessions.protocol import Logits

VOCABULARY, TOKENS, PROMPT, EOS = 50257, 900, 100, [50256]


def processors() -> dict[str, LogitsProcessor]:
    """Each processor, by its call, with settings that make it work."""
    bans = list(range(0, 5000, 50))
    return {
        "repetition_penalty(1.2)": repetition_penalty(1.2),
        "repetition_penalty(1.2, window=64)": repetition_penalty(1.2, 64),
        "presence_penalty(0.5)": presence_penalty(0.5, PROMPT),
        "frequency_penalty(0.5)": frequency_penalty(0.5, PROMPT),
        "no_repeat_ngram(3)": no_repeat_ngram(3),
        "dry(0.8)": dry(0.8),
        "exponential_decay_length_penalty(50, 1.01)": exponential_decay_length_penalty(
            50, 1.01, EOS, PROMPT
        ),
        "sequence_bias of 100 pairs": sequence_bias({(i, i + 1): 1.0 for i in bans}),
        "bad_words_ids of 100 pairs": bad_words_ids([(i, i + 1) for i in bans]),
        "logit_bias of 100 ids": logit_bias(dict.fromkeys(bans, 1.0)),
        "suppress_tokens of 100 ids": suppress_tokens(bans),
        "begin_suppress_tokens of 100 ids": begin_suppress_tokens(bans, TOKENS),
        "allowed_token_ids of 100 ids": allowed_token_ids(bans),
        "forced_eos_token_id": forced_eos_token_id(EOS, TOKENS + 1),
        "min_length": min_length(TOKENS + 1, EOS),
        "min_new_tokens": min_new_tokens(TOKENS, EOS, PROMPT),
        "temperature(0.8)": temperature(0.8),
        "dynamic_temperature(1.0, 0.5)": dynamic_temperature(1.0, 0.5),
        "top_h(0.7)": top_h(0.7),
        "top_k(40)": top_k(40),
        "top_k(40, keeps_ties=True)": top_k(40, keeps_ties=True),
        "top_p(0.9)": top_p(0.9),
        "min_p(0.05)": min_p(0.05),
        "typical_p(0.9)": typical_p(0.9),
        "epsilon_cutoff(0.0003)": epsilon_cutoff(0.0003),
        "eta_cutoff(0.0003)": eta_cutoff(0.0003),
        "top_n_sigma(1.0)": top_n_sigma(1.0),
        "xtc(1.0, 0.01)": xtc(1.0, 0.01, 0),
        "renormalize()": renormalize(),
    }


def median_microseconds(call: Callable[[], object], calls: int) -> float:
    """Median time of a call, after a tenth as many calls that do not count."""
    times = []
    for number in range(calls + calls // 10):
        start = time.perf_counter()
        call()
        if number >= calls // 10:
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def text_of(rng: np.random.Generator) -> list[int]:
    """Ids of a text that repeats itself as texts do: a third of them are among 20 frequent ones."""
    rare = rng.integers(0, VOCABULARY, TOKENS)
    frequent = rng.integers(0, 20, TOKENS)
    return [int(i) for i in np.where(rng.random(TOKENS) < 1 / 3, frequent, rare)[:-1]] + [7]


def parts(ids: Sequence[int], row: Logits) -> dict[str, Callable[[], object]]:
    """Each processor, then the samplers, applied to ``row``."""
    calls: dict[str, Callable[[], object]] = {
        name: partial(processor, ids, row) for name, processor in processors().items()
    }
    calls["the sampler Mirostat"] = partial(Mirostat(0), row)
    calls["the sampler Categorical, after top_k(40)"] = partial(Categorical(0), top_k(40)(ids, row))
    return calls


def main() -> None:
    """Measure every processor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300, help="calls that count, of each")
    arguments = parser.parse_args()
    # Until a large array is freed, as loading a model does, glibc gives memory back to the system at every call.
    np.zeros(2**21)
    rng = np.random.default_rng(0)
    flat = rng.normal(0, 3, VOCABULARY).astype(np.float32)
    peaked = flat.copy()
    peaked[rng.integers(0, VOCABULARY, 200)] += np.float32(10)
    ids = text_of(rng)
    flat_calls, peaked_calls = parts(ids, flat), parts(ids, peaked)
    print("| processor | flat, us | peaked, us |\n| --- | --- | --- |")
    for name, call in flat_calls.items():
        times = [median_microseconds(each, arguments.calls) for each in (call, peaked_calls[name])]
        print(f"| {name} | {times[0]:.0f} | {times[1]:.0f} |")


if __name__ == "__main__":
    main()
