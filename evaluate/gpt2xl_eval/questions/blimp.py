"""Minimal pairs: the good sentence has to be the more probable one."""

from itertools import islice
from pathlib import Path

from gpt2xl import Tokenizer
from gpt2xl_eval.formats.blimp import MinimalPair, read_blimp
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.questions.candidates import Candidate, Candidates, Question, total
from gpt2xl_eval.questions.contexts import Encoder
from gpt2xl_eval.task import Setting


def make_blimp(
    path: Path, tokenizer: Tokenizer, n_positions: int, options: EvalOptions
) -> Candidates:
    """Read the pairs. The prefix is the context, so that the first word counts too."""
    context = options.context or n_positions
    encoder = Encoder(tokenizer, options.prefix, context)
    pairs = islice(read_blimp(path), options.limit)
    settings: dict[str, Setting] = {
        "scored": "whole sentences",
        "prefix": options.prefix,
        "context": context,
    }
    questions = [_question(pair, encoder) for pair in pairs]
    return Candidates("blimp", questions, {"accuracy": total}, settings)


def _question(pair: MinimalPair, encoder: Encoder) -> Question:
    sentences = (pair.good, pair.bad)
    scored = encoder.continuations(pair.line, "", sentences)
    candidates = (
        Candidate(each, len(each.ids), text)
        for each, text in zip(scored.items, sentences, strict=True)
    )
    return Question(tuple(candidates), answer=0, is_cut=scored.is_cut, group=pair.phenomenon)
