"""The demo's held-out stories, and questions about them as JSON lines: LAMBADA-style passages and multiple choice.

    python benchmarks/evaluation/story_questions.py ../shared/data/corpora OUT

OUT/lambada.jsonl: passages of whole sentences whose last word also stands in a sentence before. OUT/choices.jsonl: some
sentences, the next one, and three of other stories from the same source. The same seed gives the same files.
OUT/stories.txt: every third held-out story, with a blank line between them.
"""

import argparse
import json
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "models"))

from gpt2xl_eval.questions.stop_words import STOP_WORDS

SENTENCE_END = re.compile(r"(?<=[.!?])['\"]?\s+(?![a-z\s])")
LAST_WORD = re.compile(r"(.*) ([A-Za-z]{3,})[.!?]['\"]?", re.DOTALL)
PASSAGE_CHARACTERS = range(200, 700)
CONTEXT_SENTENCES, CHOICES = 4, 4
CHOICE_CHARACTERS = range(30, 200)
EVERY_NTH = 3
"""Of the held-out stories, in stories.txt: all of them take minutes to score."""
WORD = re.compile(r"[A-Za-z]+")


def held_out_stories(corpora: Path) -> list[list[str]]:
    """Those that the demo was not trained on, by source."""
    from story_texts import read

    return [source.held_out for source in read(corpora)]


def sentences(story: str) -> list[str]:
    """Each with the white space after it, so that they join to the story."""
    ends = [found.end() for found in SENTENCE_END.finditer(story)]
    return [story[start:end] for start, end in zip([0, *ends], [*ends, len(story)], strict=True)]


def passages(story: str) -> Iterator[str]:
    """Texts that end before the last mark of a sentence.

    The last word is no stop word, stands in a sentence before, and once in its own.
    """
    parts = sentences(story)
    for end in range(2, len(parts) + 1):
        start = end - 1
        while start and len("".join(parts[start - 1 : end])) < PASSAGE_CHARACTERS.stop:
            start -= 1
        text = "".join(parts[start:end]).strip()
        found = LAST_WORD.fullmatch(text)
        if not found or len(text) not in PASSAGE_CHARACTERS:
            continue
        word = found[2]
        earlier, own = WORD.findall("".join(parts[start : end - 1])), WORD.findall(parts[end - 1])
        if word.lower() not in STOP_WORDS and word in earlier and own.count(word) == 1:
            yield f"{found[1]} {word}"


def lambada_style(
    sources: Sequence[Sequence[str]], count: int, rng: random.Random
) -> list[dict[str, object]]:
    """``count`` passages at most, from all stories."""
    found = [text for stories in sources for story in stories for text in passages(story)]
    return [{"text": text} for text in rng.sample(found, min(count, len(found)))]


def next_sentences(story: str) -> list[tuple[str, str]]:
    """Contexts with the sentence after them."""
    parts = sentences(story)
    pairs = (
        ("".join(parts[end - CONTEXT_SENTENCES : end]).strip(), parts[end].strip())
        for end in range(CONTEXT_SENTENCES, len(parts))
    )
    return [pair for pair in pairs if len(pair[1]) in CHOICE_CHARACTERS]


def multiple_choice(
    sources: Sequence[Sequence[str]], count: int, rng: random.Random
) -> list[dict[str, object]]:
    """``count`` questions at most; the wrong choices come from other stories of the same source."""
    questions = list[dict[str, object]]()
    for stories in sources:
        by_story = [found for story in stories if (found := next_sentences(story))]
        for number, pairs in enumerate(by_story):
            others = [each for n, each in enumerate(by_story) if n != number]
            for context, right in pairs:
                wrong = [rng.choice(each)[1] for each in rng.sample(others, CHOICES - 1)]
                choices = rng.sample([right, *wrong], CHOICES)
                if len(set(choices)) == CHOICES:
                    answer = choices.index(right)
                    questions.append({"context": context, "choices": choices, "answer": answer})
    return rng.sample(questions, min(count, len(questions)))


def write_files(corpora: Path, out: Path, count: int, seed: int) -> Iterator[str]:
    """Write the files; yield a line about each."""
    sources = held_out_stories(corpora)
    out.mkdir(parents=True, exist_ok=True)
    for name, make in (("lambada", lambada_style), ("choices", multiple_choice)):
        records = make(sources, count, random.Random(seed))
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (out / f"{name}.jsonl").write_text("".join(lines), "utf-8")
        yield f"{out / name}.jsonl: {len(records)} questions"
    stories = [story for source in sources for story in source][::EVERY_NTH]
    (out / "stories.txt").write_text("\n\n".join(stories) + "\n", "utf-8")
    yield f"{out / 'stories.txt'}: {len(stories)} stories"


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1000, help="questions of each kind, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for line in write_files(options.corpora, options.out, options.count, options.seed):
        print(line)


if __name__ == "__main__":
    main()
