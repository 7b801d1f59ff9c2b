"""Decoding after a long prompt, with and without prompt lookup, beside a peer.

    python benchmarks/guesses.py BUNDLE --corpora CORPORA --peers peers.toml

BUNDLE is an export of what models/wide_demo.py made: the cost of GPT-2 XL, the texts of the demo. In each round the peer
decodes after a prompt of random ids, and the bundle decodes greedily after held-out windows of the same length,
with and without prompt lookup. Prints a Markdown table: tokens a second, and medians of the ratios within a round.
"""

import argparse
from pathlib import Path
from statistics import median

from figures import Case
from held_out import held_out_windows
from systems import Settings, read_peers, run

import gpt2xl

WAYS = {"plain": False, "prompt lookup": True}


def rates(folder: Path, corpora: Path, args: argparse.Namespace) -> dict[str, float]:
    """Tokens a second of each way, and the share of draft tokens that were accepted."""
    model = gpt2xl.load(folder, threads=args.threads)
    windows = held_out_windows(corpora, model.tokenizer, args.prompt)
    seconds, tokens = dict.fromkeys(WAYS, 0.0), dict.fromkeys(WAYS, 0)
    guessed = accepted = 0
    for window in windows[:: max(1, len(windows) // args.texts)][: args.texts]:
        prompt, texts = model.tokenizer.decode(window.tolist()), set()
        for way, lookup in WAYS.items():
            result = model.generate(
                prompt, greedy=True, max_new_tokens=args.new, prompt_lookup=lookup
            )
            seconds[way] += result.timings.decode
            tokens[way] += len(result.new_ids) - 1
            guessed += result.guesses.guessed
            accepted += result.guesses.accepted
            texts.add(tuple(result.new_ids))
        assert len(texts) == 1, "speculation has changed a text"
    share = accepted / max(1, guessed)
    return {way: tokens[way] / seconds[way] for way in WAYS} | {"accepted": share}


def main() -> None:
    """Run all rounds, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=900)
    parser.add_argument("--new", type=int, default=100)
    parser.add_argument("--texts", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    (peer,) = read_peers(args.peers)
    settings = Settings(args.new, args.threads, 50257, 600)
    rows = []
    for number in range(args.rounds):
        figure = run(peer, Case(1, args.prompt), settings, number)
        assert figure is not None, "the peer failed"
        rows.append(rates(args.bundle, args.corpora, args) | {"peer": figure.decode_tok_s})
    print(f"| | tokens/s | / {peer.name} |\n| --- | --- | --- |")
    for way in (*WAYS, "peer"):
        ratio = median(row[way] / row["peer"] for row in rows)
        print(f"| {way} | {median(row[way] for row in rows):.1f} | {ratio:.2f} |")
    print(f"accepted: {median(row['accepted'] for row in rows):.0%}")


if __name__ == "__main__":
    main()
