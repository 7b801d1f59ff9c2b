"""Compare bundles of this project with other ways to run the same checkpoint, on this machine.

    python benchmarks/compare.py BUNDLE [NAME=BUNDLE...] --peers PEERS.toml --json FIGURES.json

Rounds are interleaved, because the speed of a machine drifts: within a round every system runs each case once, one
after the other, each in a new process. Ratios are taken within a round.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from figures import Case, Figure, show, write_figures
from systems import Settings, System, our_system, read_peers, run


def main() -> None:
    """Run all rounds, save the figures after each, and show them."""
    options = _parser().parse_args()
    systems = [our_system(bundle, options.python) for bundle in options.bundles]
    systems += read_peers(options.peers) if options.peers else []
    figures: list[Figure] = []
    for round_ in range(options.rounds):
        figures += _round(systems, options, round_)
        if options.json:
            write_figures(options.json, figures)
    show(figures)
    if options.picture:
        from picture import draw  # matplotlib is optional

        from gpt2xl_cli.benchmark.machine import this_machine

        draw(figures, options.picture, this_machine().hardware)


def _round(systems: list[System], options: argparse.Namespace, round_: int) -> Iterator[Figure]:
    settings = Settings(options.new, options.threads, options.vocabulary, options.seconds)
    for case in _cases(options):
        for system in _rotated(systems, round_):
            figure = run(system, case, settings, round_)
            print(figure or f"{system.name} has no figure for {case}", file=sys.stderr)
            if figure:
                yield figure


def _cases(options: argparse.Namespace) -> list[Case]:
    single = [Case(1, prompt) for prompt in options.prompts]
    return single + [Case(rows, options.batch_prompt) for rows in options.rows]


def _rotated(systems: list[System], by: int) -> list[System]:
    """Start with another system each round, so that none always runs after the same one."""
    by %= len(systems)
    return systems[by:] + systems[:by]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare bundles with other systems.")
    add = parser.add_argument
    add("bundles", nargs="+", metavar="[NAME=]BUNDLE", help="folders that gpt2xl export wrote")
    add("--peers", type=Path, help="TOML file of the peers installed here")
    add("--python", default=sys.executable, help="interpreter that has our library")
    add("--rounds", type=int, default=3)
    add("--prompts", type=int, nargs="*", default=[64, 128, 900], help="ids, one row")
    add("--rows", type=int, nargs="*", default=[8, 16], help="batches")
    add("--batch-prompt", type=int, default=64, help="ids in each row of a batch")
    add("--new", type=int, default=32, help="tokens to generate")
    add("--threads", type=int, default=2)
    add("--vocabulary", type=int, default=50257, help="random ids are below this")
    add("--seconds", type=float, default=600, help="stop a run that takes longer")
    add("--json", type=Path, help="keep every run's figures here")
    add("--picture", type=Path, help="draw the medians into this PNG; needs matplotlib")
    return parser


if __name__ == "__main__":
    main()
