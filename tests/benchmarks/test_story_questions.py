"""The questions that benchmarks/evaluation/story_questions.py makes of stories."""

import json
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "evaluation"))

from story_questions import lambada_style, multiple_choice, passages, sentences

STORY = "".join(
    f'The old fox went to the {place} again. "Is there a hen in the {place}?" asked he.\n\nNobody said a word to'
    f" him, and so he lay down before the door of the {place}. " for place in ("barn", "mill", "yard", "wood")
)  # fmt: skip
OTHERS = [STORY.replace("fox", name).replace("hen", "egg") for name in ("cat", "dog", "owl", "rat")]


def test_sentences_join_to_the_story() -> None:
    assert "".join(sentences(STORY)) == STORY
    assert sentences(STORY)[1] == '"Is there a hen in the barn?" asked he.\n\n'


def test_the_last_word_of_a_passage_stands_in_a_sentence_before() -> None:
    found = list(passages(STORY))
    assert found
    for text in found:
        word = text.rsplit(" ", 1)[1]
        assert word in ("barn", "mill", "yard", "wood")
        assert text.count(word) > 1
        assert text in STORY


@pytest.mark.parametrize("make", [lambada_style, multiple_choice])
def test_a_seed_gives_the_same_questions(make: object) -> None:
    assert callable(make)
    made = [json.dumps(make([[STORY, *OTHERS]], 9, random.Random(seed))) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def test_the_right_choice_is_the_next_sentence_of_the_story() -> None:
    questions = multiple_choice([[STORY, *OTHERS]], 9, random.Random(0))
    assert len(questions) == 9
    for question in questions:
        context, choices, answer = question["context"], question["choices"], question["answer"]
        assert isinstance(choices, list)
        assert isinstance(answer, int)
        joined = [text for text in (STORY, *OTHERS) if str(context) in text]
        assert any(choices[answer] in text.split(str(context))[1][:200] for text in joined)
        assert len(set(choices)) == 4
