"""Generate texts under random regexes and JSON schemas, and check each of them.

    python tests/stress/grammars.py --count 10000

Logits are random, so no model is needed; the tokenizers are the demo's and, where the shared data is present,
GPT-2's. A grammar ends as one of: a complete text that fits it; a text cut at the limit of tokens ("length"); refused
with a clear error; a dead end, where no token is allowed; or wrong, which makes the exit status 1. It is run by hand.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.conftest import DATA
from tests.runtime.constraints.following import Follower, Found, Outcome

from gpt2xl import Tokenizer
from gpt2xl.constraints.vocabulary import Vocabulary
from gpt2xl_export.tokenizer.source_tokenizer import read_source_tokenizer

DEMO = Path(__file__).parents[2] / "models" / "demo" / "tokenizer.json"
SHOWN_NOTES = 60


def tokenizers() -> dict[str, Tokenizer]:
    """The demo's, and GPT-2's where its files are."""
    found = {"demo": Tokenizer.from_file(DEMO)}
    files = {"vocab.json": "encoder.json", "merges.txt": "vocab.bpe"}
    if not DATA.is_dir():
        print(f"{DATA} is not here: GPT-2's tokenizer is left out")
        return found
    with tempfile.TemporaryDirectory() as folder:
        for name, published in files.items():
            (Path(folder) / name).symlink_to(DATA / "tokenizer" / published)
        found["GPT-2"] = Tokenizer(read_source_tokenizer(Path(folder), 1024).json)
    return found


def report(name: str, found: Found) -> None:
    """Print what became of the texts."""
    kinds = sorted({kind for kind, _ in found.outcomes})
    print(f"{name}: {sum(found.outcomes.values())} grammars, {len(found.seconds)} tokens")
    for kind in kinds:
        counts = (f"{outcome} {found.outcomes[kind, outcome]}" for outcome in get_args(Outcome))
        print(f"  {kind}: {', '.join(counts)}")
    microseconds = np.array(found.seconds) * 1e6
    median, late, most = np.quantile(microseconds, (0.5, 0.99, 1))
    print(f"  mask and logits: median {median:.0f} us, 99 % {late:.0f} us, most {most:.0f} us")
    for message, count in found.messages.most_common(15):
        print(f"  refused {count}: {message}")
    for note in found.notes[:SHOWN_NOTES]:
        print(f"  {note}")


def main() -> None:
    """Follow ``--count`` grammars with each tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="grammars for each tokenizer")
    parser.add_argument("--seed", type=int, default=0, help="of the first grammar")
    options = parser.parse_args()
    wrong = 0
    for name, tokenizer in tokenizers().items():
        (eos_id,) = tokenizer.encode("<|endoftext|>")
        # Three ids more than the tokenizer has, as in models whose vocabulary is padded.
        follower = Follower(Vocabulary(tokenizer, tokenizer.vocab_size + 3), (eos_id,))
        found = Found()
        for seed in range(options.seed, options.seed + options.count):
            follower.follow(seed, found)
        report(name, found)
        wrong += found.total("WRONG")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
