"""Tasks that ask questions, beside a plain computation with transformers: whole texts, no cache, one at a time."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2xl import load
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.questions.stop_words import STOP_WORDS
from gpt2xl_eval.running import evaluate
from gpt2xl_eval.tasks import make_task
from gpt2xl_export.exporting import export

torch = pytest.importorskip("torch", reason="parity with transformers needs torch")
transformers = pytest.importorskip("transformers", reason="parity with transformers needs it")

DEMO = Path(__file__).parents[3] / "models" / "demo"
END = "<|endoftext|>"
OPENINGS = ("Once upon a time there was a", "The king said to his", "In the forest there lived")


@dataclass(frozen=True)
class Pair:
    """A model of transformers and the bundle of the same checkpoint."""

    original: Any
    tokenizer: Any
    bundle: Path
    limit: int

    def figures(self, task: str, data: Path, **options: Any) -> dict[str, float]:
        """Ours."""
        model = load(self.bundle, threads=1)
        made = make_task(
            task, data, model.tokenizer, model.config.n_positions, EvalOptions(**options)
        )
        return dict(evaluate(model, made).figures)

    def rows(self, context: str, ending: str) -> tuple[Any, list[int]]:
        """Log-probabilities at the positions of ``ending`` after ``context``, [n, vocab_size], and its ids."""
        ids = self.tokenizer(context + ending)["input_ids"]
        count = len(ids) - len(self.tokenizer(context.rstrip())["input_ids"])
        ids = ids[-self.limit :]
        with torch.no_grad():
            logits = self.original(torch.tensor([ids])).logits[0, -count - 1 : -1].double()
        return torch.log_softmax(logits, -1).numpy(), ids[-count:]

    def logprobs(self, context: str, word: str, rest: str) -> tuple[float, float]:
        """The log-probability of ``word`` after ``context``, and of both ``word`` and ``rest``."""
        rows, ids = self.rows(context, word + rest)
        count = len(ids) - len(self.tokenizer(rest)["input_ids"])
        each = rows[range(len(ids)), ids]
        return float(each[:count].sum()), float(each.sum())

    def logprob(self, context: str, ending: str) -> float:
        """The log-probability of ``ending`` after ``context``."""
        return self.logprobs(context, ending, "")[1]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    bundle = tmp_path_factory.mktemp("questions") / "demo"
    export(DEMO, bundle)
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    original = transformers.GPT2LMHeadModel.from_pretrained(DEMO, **options).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO)
    return Pair(original, tokenizer, bundle, original.config.n_positions)


@pytest.fixture(scope="module")
def passages(demo: Pair) -> list[str]:
    """Texts that the demo itself goes on with, up to a word, so that it predicts some of the last words."""
    found = []
    for opening in OPENINGS:
        ids = demo.tokenizer(opening, return_tensors="pt")["input_ids"]
        made = demo.original.generate(ids, do_sample=False, max_new_tokens=30)
        words = demo.tokenizer.decode(made[0]).split(" ")
        found += [" ".join(words[:end]) for end in range(len(words) - 9, len(words) - 1)]
    wrong = [f"{text}  and then\n\n“there was a clock-tower” in the" for text in OPENINGS]
    return [text for text in found if text[-1].isalpha()] + [f"{text} xylophone" for text in wrong]


def write_lines(path: Path, records: Sequence[dict[str, object]]) -> Path:
    path.write_text("\n".join(map(json.dumps, records)), "utf-8")
    return path


def last_word_figures(pair: Pair, texts: Sequence[str], prefix: str = "") -> dict[str, float]:
    """By the definitions, from scratch."""
    vocabulary = [pair.tokenizer.decode([n]) for n in range(len(pair.tokenizer))]
    stop = [n for n, text in enumerate(vocabulary) if text.strip().lower() in STOP_WORDS]
    words, lasts, tokens, verdicts = list[float](), list[float](), 0, list[list[bool]]()
    for text in texts:
        parts = text.split(" ")
        rows, ids = pair.rows(prefix + " ".join(parts[:-1]), " " + parts[-1])
        logprobs, greedy = rows[range(len(ids)), ids], rows.argmax(-1) == ids
        rows[0, stop] = -np.inf
        allowed = rows[0].argmax() == ids[0] and bool(greedy[1:].all())
        words.append(logprobs.sum())
        lasts.append(logprobs[-1])
        tokens += len(ids)
        verdicts.append([allowed, bool(greedy.all()), bool(greedy[-1])])
    accuracies = np.mean(verdicts, 0)
    return {
        "perplexity per last word": math.exp(-np.mean(words)),
        "perplexity per token of the last word": math.exp(-np.sum(words) / tokens),
        "perplexity per last token": math.exp(-np.mean(lasts)),
        "accuracy of the last word, with stop-word filter": accuracies[0],
        "accuracy of the last word": accuracies[1],
        "accuracy of the last token": accuracies[2],
    }


def test_lambada_in_the_recipe_of_lm_eval(demo: Pair, passages: list[str], tmp_path: Path) -> None:
    data = write_lines(tmp_path / "lambada.jsonl", [{"text": text} for text in passages])
    found = demo.figures("lambada", data, detokenizer="none", prefix="none")
    wanted = last_word_figures(demo, passages)
    assert 0 < wanted["accuracy of the last word"] < 1
    assert found == pytest.approx(wanted, rel=1e-4)


def test_lambada_by_default(demo: Pair, passages: list[str], tmp_path: Path) -> None:
    data = write_lines(tmp_path / "lambada.jsonl", [{"text": text} for text in passages])
    straight = [text.replace("“", '"').replace("”", '"').strip() for text in passages]
    wanted = last_word_figures(demo, straight, "\n")
    assert demo.figures("lambada", data) == pytest.approx(wanted, rel=1e-4)


def best(scores: Sequence[float]) -> int:
    return int(np.argmax(scores))


def test_multiple_choice(demo: Pair, passages: list[str], tmp_path: Path) -> None:
    records, verdicts = list[dict[str, object]](), list[list[bool]]()
    for n, text in enumerate(passages):
        context, word = text.rsplit(" ", 1)
        choices = [word, "a clock-tower.", "andante", "the sea was very blue — indeed"]
        choices = [*choices[n % 4 :], *choices[: n % 4]]
        records.append({"context": context, "choices": choices, "answer": choices.index(word)})
        totals = np.array([demo.logprob(context, f" {choice}") for choice in choices])
        lengths = [
            [1.0] * 4,
            [len(demo.tokenizer(f" {choice}")["input_ids"]) for choice in choices],
            [len(choice.encode()) for choice in choices],
            [len(choice) for choice in choices],
        ]
        verdicts.append([choices[best(totals / np.array(each))] == word for each in lengths])
    names = ("accuracy", "accuracy, per token", "accuracy, per byte", "accuracy, per character")
    wanted = dict(zip(names, np.mean(verdicts, 0), strict=True)) | {"tied questions": 0}
    found = demo.figures("multiple-choice", write_lines(tmp_path / "data.jsonl", records))
    assert found == pytest.approx(wanted)
    assert 0 < found["accuracy"] < 1


def cbt_questions(passages: Sequence[str]) -> list[tuple[list[str], str, list[str], str]]:
    """Sentences, the one with a blank, candidates and answer; all as tokens."""
    questions = []
    for number, text in enumerate(passages):
        sentences = [f"`` It is n't {n} , '' said -LRB- the -RRB- king ." for n in range(20)]
        *start, word = text.translate(dict.fromkeys(map(ord, "'“”\""), " ")).split()
        blank = ("`` XXXXX , '' he said .", f"{' '.join(start)} XXXXX , and he went .")
        candidates = sorted({word, "king", "sea", "clock-tower", "cat", "three"})
        questions.append((sentences, blank[number % 2], candidates, word))
    return questions


def plain_text(tokens: str) -> str:
    """By replacements, for the artefacts of `cbt_questions` alone."""
    for old, new in (
        ("`` ", '"'), (" ''", '"'), (" n't", "n't"), ("-LRB- ", "("), (" -RRB-", ")"), (" ,", ","), (" .", "."),
        (" ;", ";"), (" :", ":"), (" !", "!"), (" ?", "?"),
    ):  # fmt: skip
        tokens = tokens.replace(old, new)
    return tokens


def test_cbt(demo: Pair, passages: list[str], tmp_path: Path) -> None:
    lines, whole, alone = list[str](), list[bool](), list[bool]()
    for sentences, blank, candidates, answer in cbt_questions(passages[::3]):
        lines += [f"{n} {sentence}" for n, sentence in enumerate(sentences, 1)]
        lines += [f"21 {blank}\t{answer}\t\t{'|'.join(candidates)}", ""]
        before, after = plain_text(" ".join([*sentences, blank])).split("XXXXX")
        scores = [demo.logprobs(before, text, after) for text in candidates]
        alone_best, whole_best = np.argmax(scores, 0)
        alone.append(candidates[alone_best] == answer)
        whole.append(candidates[whole_best] == answer)
    data = tmp_path / "cbtest_NE_valid_2000ex.txt"
    data.write_text("\n".join(lines), "utf-8")
    assert demo.figures("cbt-ne", data) == {
        "accuracy": pytest.approx(np.mean(whole)),
        "accuracy, candidate alone": pytest.approx(np.mean(alone)),
        "tied questions": 0,
    }
    assert 0 < np.mean(whole) < 1


def test_blimp(demo: Pair, tmp_path: Path) -> None:
    pairs = [
        (f"{text} house.", f"{text} houses.", f"kind {n % 2}") for n, text in enumerate(OPENINGS)
    ]
    pairs += [(bad, good, kind) for good, bad, kind in pairs[:1]]
    records: list[dict[str, object]] = [
        {"sentence_good": g, "sentence_bad": b, "UID": kind} for g, b, kind in pairs
    ]
    found = demo.figures("blimp", write_lines(tmp_path / "data.jsonl", records))
    rights = [demo.logprob(END, good) > demo.logprob(END, bad) for good, bad, _ in pairs]
    assert found["accuracy"] == pytest.approx(np.mean(rights))
    assert 0 < found["accuracy"] < 1
    for kind in ("kind 0", "kind 1"):
        of_kind = [right for right, pair in zip(rights, pairs, strict=True) if pair[2] == kind]
        assert found[f"accuracy, {kind}"] == pytest.approx(np.mean(of_kind))


@pytest.mark.parametrize("recipe", ["lm-eval", "default"])
def test_a_part_of_lambada_itself(
    build: Callable[..., Any], genuine_files: Path, shared_data: Path, tmp_path: Path, recipe: str
) -> None:
    """With GPT-2's vocabulary and a context that some passages do not fit into."""
    original = build({"vocab_size": 50257, "n_positions": 100, "bos_token_id": 50256})
    folder = tmp_path / "model"
    original.save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes((genuine_files / name).read_bytes())
    tokenizer = transformers.GPT2TokenizerFast.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    export(folder, tmp_path / "bundle")
    pair = Pair(original, tokenizer, tmp_path / "bundle", 100)
    data = shared_data / "eval" / "lambada" / "lambada_test.jsonl"
    with open(data, encoding="utf-8") as file:
        texts = [json.loads(next(file))["text"] for _ in range(60)]
    assert any(len(tokenizer(text)["input_ids"]) > 100 for text in texts)
    if recipe == "lm-eval":
        found = pair.figures("lambada", data, detokenizer="none", prefix="none", limit=len(texts))
        wanted = last_word_figures(pair, texts)
    else:
        found = pair.figures("lambada", data, limit=len(texts))
        texts = [text.translate({0x201C: '"', 0x201D: '"'}).replace("''", '"') for text in texts]
        wanted = last_word_figures(pair, [text.strip() for text in texts], "\n")
    assert found == pytest.approx(wanted, rel=1e-4)
