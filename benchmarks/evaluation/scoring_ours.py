"""Adapter of `scoring.py` for gpt2xl: MODEL is a bundle."""

import argparse
from collections.abc import Iterable

import scoring_work

import gpt2xl


def load(options: argparse.Namespace) -> scoring_work.Score:
    """`Model.score_continuations`."""
    model = gpt2xl.load(options.model, threads=options.threads)

    def score(work: scoring_work.Work) -> Iterable[float]:
        texts = [gpt2xl.Continuation(context, ids) for context, ids in work]
        scores = model.score_continuations(texts, rows=options.rows)
        return (float(score.logprobs.sum()) for score in scores)

    return score


if __name__ == "__main__":
    scoring_work.run(load)
