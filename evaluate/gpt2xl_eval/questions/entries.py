"""The tasks that ask questions."""

from collections.abc import Mapping
from functools import partial

from gpt2xl_eval.entry import OptionName, TaskEntry
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.questions.blimp import make_blimp
from gpt2xl_eval.questions.cbt import make_cbt
from gpt2xl_eval.questions.lambada import ACCURACY, PERPLEXITY, make_lambada
from gpt2xl_eval.questions.multiple_choice import make_multiple_choice

OPTIONS: frozenset[OptionName] = frozenset({"context", "detokenizer", "prefix"})


def _cbt(kind: str, words: str) -> TaskEntry:
    return TaskEntry(
        partial(make_cbt, f"cbt-{kind.lower()}"),
        f"Accuracy at filling in {words} of the Children's Book Test.",
        f"cbtest_{kind}_valid_2000ex.txt",
        (f"cbtest_{kind}_valid_2000ex.txt", f"cbtest_{kind}_test_2500ex.txt"),
        EvalOptions(detokenizer="treebank", denominator="token", prefix="none"),
        OPTIONS,
        {f"CBT-{kind}": "accuracy"},
    )


QUESTIONS: Mapping[str, TaskEntry] = {
    "lambada": TaskEntry(
        make_lambada,
        "Perplexity and accuracy of the last word of LAMBADA's passages.",
        "lambada_test.jsonl or lambada_test_plain_text.txt",
        ("lambada_test.jsonl", "lambada_test_plain_text.txt"),
        EvalOptions(detokenizer="auto", denominator="word", prefix="newline"),
        OPTIONS,
        {"LAMBADA PPL": PERPLEXITY, "LAMBADA ACC": ACCURACY},
    ),
    "cbt-cn": _cbt("CN", "common nouns"),
    "cbt-ne": _cbt("NE", "named entities"),
    "multiple-choice": TaskEntry(
        make_multiple_choice,
        "Accuracy at choosing how a text goes on: HellaSwag, or questions of your own.",
        "hellaswag_val.jsonl, or lines with context, choices and answer",
        ("hellaswag_val.jsonl",),
        EvalOptions(detokenizer="hellaswag", denominator="token", prefix="none"),
        OPTIONS,
    ),
    "blimp": TaskEntry(
        make_blimp,
        "Accuracy at telling grammatical sentences from others, by phenomenon.",
        "a file of minimal pairs, or BLiMP's folder data",
        ("blimp/data/",),
        EvalOptions(detokenizer="none", denominator="token", prefix="endoftext"),
        frozenset({"context", "prefix"}),
    ),
}
