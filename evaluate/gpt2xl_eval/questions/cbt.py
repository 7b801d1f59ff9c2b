"""The Children's Book Test: fill in the blank of a sentence."""

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

from gpt2xl import Tokenizer
from gpt2xl_eval.detokenizers.treebank import rejoined
from gpt2xl_eval.formats.cbt import BLANK, ClozeQuestion, read_cbt
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.questions.candidates import Candidate, Candidates, Question, alone, total
from gpt2xl_eval.questions.contexts import Encoder
from gpt2xl_eval.questions.detokenizing import detokenizer
from gpt2xl_eval.task import Setting

DETOKENIZERS: Mapping[str, Callable[[str], str]] = {"none": str, "treebank": rejoined}
MERITS = {"accuracy": total, "accuracy, candidate alone": alone}


def make_cbt(
    name: str, path: Path, tokenizer: Tokenizer, n_positions: int, options: EvalOptions
) -> Candidates:
    """Read the questions of task ``name``."""
    detokenize = detokenizer(name, options.detokenizer, DETOKENIZERS)
    context = options.context or n_positions
    encoder = Encoder(tokenizer, options.prefix, context)
    read = list(islice(read_cbt(path), options.limit))
    settings: dict[str, Setting] = {
        "scored": "the candidate and the rest of the sentence",
        "detokenizer": options.detokenizer,
        "prefix": options.prefix,
        "context": context,
        "candidates left out": sum(question.left_out for question in read),
    }
    questions = [_question(each, detokenize, encoder) for each in read]
    return Candidates(name, questions, MERITS, settings)


def _question(read: ClozeQuestion, detokenize: Callable[[str], str], encoder: Encoder) -> Question:
    """The sentence is de-tokenized with its blank, so that all candidates stand in the same text."""
    before, _, rest = detokenize(read.sentence).partition(BLANK)
    kept = before.rstrip()
    space = before[len(kept) :] if kept else " "
    context = detokenize(" ".join(read.context))
    shared = f" {kept}" if kept else ""
    endings = [space + text + rest.replace(BLANK, text) for text in read.candidates]
    scored = encoder.continuations(read.line, context, endings, shared)
    shared_count = encoder.count(shared)
    candidates = (
        Candidate(each, encoder.count(shared + space + text) - shared_count, text)
        for each, text in zip(scored.items, read.candidates, strict=True)
    )
    return Question(tuple(candidates), read.answer, scored.is_cut)
