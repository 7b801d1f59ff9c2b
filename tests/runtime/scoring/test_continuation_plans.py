"""Which continuations are computed together."""

from gpt2xl.scores.continuation_plans import (
    AHEAD_TOKENS,
    MOST_TOGETHER,
    SHARED_TOKENS,
    STEP_TOKENS,
    Family,
    Text,
    Wanted,
    batches,
    blocks,
    families,
    merged,
)

PREFIX = list(range(SHARED_TOKENS))


def text(*ids: int, first: int = 0, number: int = 0) -> Text:
    return Text(list(ids), [Wanted(number, first, [*ids[first + 1 :], 5])])


def lengths(texts: list[Text]) -> list[int]:
    return [len(text.ids) for text in texts]


def test_texts_with_the_same_ids_are_one() -> None:
    found = list(merged([text(1, 2, number=0), text(1, 2, number=1), text(1, 3, number=2)]))
    assert [text.ids for text in found] == [[1, 2], [1, 3]]
    assert [[each.number for each in text.wanted] for text in found] == [[0, 1], [2]]
    many = list(merged(text(1, 2) for _ in range(2 * MOST_TOGETHER + 1)))
    assert [len(text.wanted) for text in many] == [MOST_TOGETHER, MOST_TOGETHER, 1]


def test_a_long_common_prefix_makes_a_family() -> None:
    question = [text(*PREFIX, 1, 2, 3), text(*PREFIX, 1, 4), text(*PREFIX, 7)]
    (found,) = families(question, rest=1)
    assert found == Family(question, SHARED_TOKENS)
    assert [len(family.texts) for family in families([text(9), *question, text(8)], 1)] == [1, 3, 1]


def test_the_rest_is_as_long_as_it_has_to_be() -> None:
    pair = [text(*PREFIX, *range(12)), text(*PREFIX, *range(9))]
    (found,) = families(pair, rest=9)
    assert found.shared == SHARED_TOKENS
    assert [family.shared for family in families(pair, rest=10)] == [0, 0]


def test_a_short_prefix_is_not_shared() -> None:
    pair = [text(*PREFIX[1:], 1), text(*PREFIX[1:], 2)]
    assert [family.shared for family in families(pair, rest=1)] == [0, 0]


def test_a_text_that_shares_much_less_begins_another_family() -> None:
    long = [*PREFIX] * 4
    texts = [text(*long, 1, 2), text(*long, 3), text(*PREFIX, 4, 5)]
    assert [family.shared for family in families(texts, rest=1)] == [len(long), 0]


def test_short_texts_wait_for_others_and_long_ones_do_not() -> None:
    short, long = Family([text(*range(20))]), Family([text(*range(STEP_TOKENS))])
    assert [len(block) for block in blocks([long, long])] == [1, 1]
    assert [len(block) for block in blocks([short, short, long, short])] == [4]
    (first, *_) = blocks([short] * AHEAD_TOKENS)
    assert sum(family.tokens for family in first) <= AHEAD_TOKENS


def test_a_batch_has_texts_of_about_one_length() -> None:
    texts = [text(*range(length)) for length in (70, 2, 60, 3, 200, 64)]
    found = [lengths(batch) for batch in batches(texts, 0, 16, None)]
    assert found == [[2, 3, 60, 64], [70], [200]]
    assert [lengths(batch) for batch in batches(texts, 0, 2, None)] == [
        [2, 3],
        [60, 64],
        [70],
        [200],
    ]


def test_short_steps_and_long_ones_are_apart() -> None:
    texts = [text(*range(length)) for length in (12, 8, 9, 1)]
    assert [lengths(batch) for batch in batches(texts, 0, 16, 9)] == [[1, 8], [9, 12]]
