"""The core of the suite without pytest, for an emulated processor: prints one JSON object for each bundle.

    python core.py TEXT_FILE TOKENS BUNDLE...

Of each bundle: perplexities of TOKENS tokens of the text, read as one prompt and token by token; texts, greedy and seeded;
and whether texts are the same alone, in rows, from a prompt that comes in pieces, and with draft tokens.
"""

import json
import math
import platform
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import gpt2xl
from gpt2xl.decoding.context import Context

PROMPTS = (
    "Once upon a time",
    "The king said",
    "One day the old fox",
    "The king said, the king said, the",
)
NEW_TOKENS = 12


def stepwise_perplexity(model: gpt2xl.Model, ids: list[int]) -> float:
    """Of tokens that are fed one by one, as in decoding."""
    context, nats = Context(model.session), 0.0
    for count, following in enumerate(ids[1:], 1):
        logits = np.asarray(context.advance(ids[:count]), np.float64).reshape(-1)
        peak = logits.max()
        nats += peak + math.log(np.exp(logits - peak).sum()) - logits[following]
    return math.exp(nats / (len(ids) - 1))


def texts_alone(
    model: gpt2xl.Model, *, greedy: bool = False, prompt_lookup: bool = False
) -> list[str]:
    """Each computed from nothing."""
    found = []
    for number, prompt in enumerate(PROMPTS):
        model.clear_cache()
        result = model.generate(
            prompt,
            seed=number,
            max_new_tokens=NEW_TOKENS,
            greedy=greedy,
            prompt_lookup=prompt_lookup,
        )
        found.append(result.text)
    return found


def texts_in_rows(model: gpt2xl.Model) -> list[str]:
    """All in one batch."""
    batch = dict(model.generate_batch(PROMPTS, seed=0, rows=4, max_new_tokens=NEW_TOKENS))
    return [batch[number].text for number in range(len(PROMPTS))]


def texts_in_pieces(model: gpt2xl.Model) -> list[str]:
    """Each from a cache that holds the beginning of its prompt, where the model may use it."""
    found = []
    for number, prompt in enumerate(PROMPTS):
        model.clear_cache()
        model.generate(model.tokenizer.encode(prompt)[:2], greedy=True, max_new_tokens=1)
        found.append(
            model.generate(prompt, seed=number, max_new_tokens=NEW_TOKENS, prompt_lookup=False).text
        )
    return found


def measure(bundle: Path, text: str, tokens: int) -> dict[str, object]:
    """What this processor makes of a bundle."""
    start = time.perf_counter()
    model = gpt2xl.load(bundle, threads=1)
    ids = model.tokenizer.encode(text)[:tokens]
    alone, greedy = texts_alone(model), texts_alone(model, greedy=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        in_rows = texts_in_rows(model)
    guessed = texts_alone(model, greedy=True, prompt_lookup=True)
    return {
        "bundle": bundle.name,
        "machine": platform.machine(),
        "perplexity": model.score(ids).perplexity,
        "stepwise": stepwise_perplexity(model, ids[: tokens // 2]),
        "texts": alone,
        "greedy": greedy,
        "rows_are_exact": in_rows == alone,
        "pieces_are_exact": texts_in_pieces(model) == alone,
        "guesses_are_exact": guessed == greedy,
        "seeds_are_exact": texts_alone(model) == alone,
        "shares_steps": model.shares_steps,
        "merges_steps": model.exactness.may_merge_steps,
        "warnings": [str(item.message) for item in caught],
        "seconds": round(time.perf_counter() - start, 1),
    }


if __name__ == "__main__":
    text = Path(sys.argv[1]).read_text("utf-8")
    for folder in sys.argv[3:]:
        print(json.dumps(measure(Path(folder), text, int(sys.argv[2]))), flush=True)
