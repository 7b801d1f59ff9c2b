"""Choose how a text goes on: HellaSwag and questions of its kind."""

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

from gpt2xl import Tokenizer
from gpt2xl_eval.detokenizers.hellaswag import without_marks
from gpt2xl_eval.formats.multiple_choice import EndingQuestion, read_multiple_choice
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.questions.candidates import (
    Candidate,
    Candidates,
    Question,
    per_byte,
    per_character,
    per_token,
    total,
)
from gpt2xl_eval.questions.contexts import Encoder
from gpt2xl_eval.questions.detokenizing import detokenizer
from gpt2xl_eval.task import Setting

Texts = tuple[str, tuple[str, ...]]
"""The context, and the choices."""
MERITS = {
    "accuracy": total,
    "accuracy, per token": per_token,
    "accuracy, per byte": per_byte,
    "accuracy, per character": per_character,
}


def as_distributed(read: EndingQuestion) -> Texts:
    """The texts of the file."""
    return read.context, read.choices


def as_in_lm_eval(read: EndingQuestion) -> Texts:
    """The activity, then the context, all without marks; in the plain form the texts of the file."""
    if read.parts is None:
        return as_distributed(read)
    activity, start, rest = read.parts.activity, read.parts.start, read.parts.rest
    context = without_marks(f"{activity}: {start} {rest.capitalize()}")
    return context, tuple(map(without_marks, read.choices))


DETOKENIZERS: Mapping[str, Callable[[EndingQuestion], Texts]] = {
    "none": as_distributed,
    "hellaswag": as_in_lm_eval,
}


def make_multiple_choice(
    path: Path, tokenizer: Tokenizer, n_positions: int, options: EvalOptions
) -> Candidates:
    """Read the questions."""
    detokenize = detokenizer("multiple-choice", options.detokenizer, DETOKENIZERS)
    context = options.context or n_positions
    encoder = Encoder(tokenizer, options.prefix, context)
    read = list(islice(read_multiple_choice(path), options.limit))
    of_hellaswag = sum(question.parts is not None for question in read)
    settings: dict[str, Setting] = {
        "form": {0: "plain", len(read): "HellaSwag"}.get(of_hellaswag, "plain and HellaSwag"),
        "detokenizer": options.detokenizer if of_hellaswag else "none",
        "prefix": options.prefix,
        "context": context,
    }
    questions = [_question(each, detokenize, encoder) for each in read]
    return Candidates("multiple-choice", questions, MERITS, settings)


def _question(
    read: EndingQuestion, detokenize: Callable[[EndingQuestion], Texts], encoder: Encoder
) -> Question:
    context, choices = detokenize(read)
    if not all(choices):
        read.line.refuse("a choice is empty without its marks in brackets.")
    endings = [_spaced(context, text) for text in choices]
    scored = encoder.continuations(read.line, context, endings)
    candidates = (
        Candidate(each, len(each.ids), text)
        for each, text in zip(scored.items, choices, strict=True)
    )
    return Question(tuple(candidates), read.answer, scored.is_cut)


def _spaced(context: str, choice: str) -> str:
    """``choice`` with a space before it, unless there is white space already."""
    is_spaced = not context or context[-1].isspace() or choice[0].isspace()
    return choice if is_spaced else f" {choice}"
