"""Adapter of `scoring.py` for transformers in float32: MODEL is a checkpoint.

As lm-evaluation-harness scores: continuations from the longest to the shortest in batches, padded on the right, log-softmax of
all logits; each continuation is fed with the whole of its context. Batches of long windows have fewer rows.
"""

import argparse
from collections.abc import Iterator

import scoring_work
import torch
from transformers import GPT2LMHeadModel

BATCH_TOKENS = 4096  # 4 windows of 1024: twice as many take 2 GB for logits and are no faster


def load(options: argparse.Namespace) -> scoring_work.Score:
    """Batches of at most ``--rows`` rows."""
    torch.set_num_threads(options.threads)
    model = GPT2LMHeadModel.from_pretrained(options.model, dtype=torch.float32).eval()

    @torch.no_grad()
    def score(work: scoring_work.Work) -> Iterator[float]:
        work = sorted(work, key=lambda each: -len(each[0]) - len(each[1]))
        while work:
            longest = len(work[0][0]) + len(work[0][1]) - 1
            rows = max(1, min(options.rows, BATCH_TOKENS // longest))
            batch, work = work[:rows], work[rows:]
            fed = torch.zeros(len(batch), longest, dtype=torch.long)
            for row, (context, ids) in zip(fed, batch, strict=True):
                row[: len(context) + len(ids) - 1] = torch.tensor([*context, *ids][:-1])
            values = torch.log_softmax(model(fed, use_cache=False).logits, -1)
            for row, (context, ids) in zip(values, batch, strict=True):
                part = row[len(context) - 1 : len(context) + len(ids) - 1]
                yield float(part.gather(1, torch.tensor(ids)[:, None]).sum())

    return score


if __name__ == "__main__":
    scoring_work.run(load)
