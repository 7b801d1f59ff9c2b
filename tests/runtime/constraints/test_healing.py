import copy
from collections.abc import Callable

import numpy as np
import pytest

from gpt2xl import Model
from gpt2xl.constraints.healing import Healing, heal
from gpt2xl.constraints.vocabulary import Vocabulary
from gpt2xl.errors import RequestError
from gpt2xl.text.tokenizer import StreamDecoder

Healed = tuple[list[int], Healing]


def healed(text: str, vocabulary: Vocabulary) -> Healed:
    ids, healing = heal(vocabulary.tokenizer.encode(text), vocabulary)
    assert healing is not None
    return ids, healing


def allowed(healing: Healing, ids: list[int], vocabulary: Vocabulary) -> set[bytes]:
    """The bytes of the tokens that may follow."""
    logits = np.arange(vocabulary.size, dtype=np.float32)
    found = healing(ids, logits)
    kept = np.flatnonzero(np.isfinite(found))
    assert (found[kept] == kept).all()
    return {vocabulary.tokens[token_id] for token_id in kept}


def test_a_url_may_go_on_with_a_token_of_colon_and_slashes(genuine: Vocabulary) -> None:
    ids, healing = healed("The url is http:", genuine)
    assert genuine.tokenizer.decode(ids) == "The url is http"
    assert healing.removed == b":"
    ways = allowed(healing, ids, genuine)
    assert {b":", b"://", b":]"} <= ways
    assert all(way.startswith(b":") for way in ways)
    assert allowed(healing, [*ids, 1378], genuine) > {b"a", b" the"}  # 1378 is "://"


def test_half_a_word_is_removed_with_all_its_tokens(genuine: Vocabulary) -> None:
    ids, healing = healed("most inconv", genuine)
    assert genuine.tokenizer.decode(ids) == "most"
    first, second = healing.removed_ids
    ways = allowed(healing, ids, genuine)
    assert ways == {b" incon", b" inconvenience", b" inconvenient", b" inconven"}
    # Chosen again as it was: then the rest has to be repeated.
    again = allowed(healing, [*ids, first], genuine)
    assert b"v" in again
    assert all(way.startswith(b"v") for way in again)
    assert len(allowed(healing, [*ids, first, second], genuine)) > 40000
    (longer,) = genuine.tokenizer.encode(" inconvenient")
    assert len(allowed(healing, [*ids, longer], genuine)) > 40000


def test_a_prompt_that_ends_in_a_space_goes_on_as_without_it(
    model: Model, vocabulary: Vocabulary
) -> None:
    for start in ("Once upon a", "There lived once", "She went into the wood and saw a"):
        ids, healing = healed(f"{start} ", vocabulary)
        assert model.tokenizer.decode(ids) == start
        plain = model.generate(start, greedy=True, max_new_tokens=12).text
        assert plain.startswith(" ")
        found = model.generate(ids, processors=(healing,), greedy=True, max_new_tokens=12)
        assert f"{start} {cut(model, found.new_ids, healing)}" == start + plain
        unhealed = model.generate(f"{start} ", greedy=True, max_new_tokens=12).text
        assert f"{start} {unhealed}" != start + plain


def cut(model: Model, new_ids: list[int], healing: Healing) -> str:
    decoder = StreamDecoder(model.tokenizer, skipped_bytes=len(healing.removed))
    return "".join(decoder.add(token_id) for token_id in new_ids) + decoder.finish()


def test_prompt_and_text_read_on(model: Model, vocabulary: Vocabulary, tales: list[str]) -> None:
    rng, count = np.random.default_rng(0), 0
    for number, tale in enumerate(tales):
        prompt = tale[: int(rng.integers(1, len(tale) + 1))]
        ids, healing = heal(model.prompt_ids(prompt), vocabulary)
        if healing is None:
            assert ids == model.prompt_ids(prompt)
            continue
        count += 1
        found = model.generate(
            ids, processors=(healing,), temperature=2.0, top_k=0, seed=number, max_new_tokens=8
        )
        whole = model.tokenizer.decode([*ids, *found.new_ids])
        assert whole == prompt + cut(model, found.new_ids, healing)
    assert count > 20


def test_a_half_word_becomes_a_word(model: Model, vocabulary: Vocabulary) -> None:
    ids, healing = healed("There was once a king who had a beautif", vocabulary)
    found = model.generate(ids, processors=(healing,), greedy=True, max_new_tokens=4)
    assert cut(model, found.new_ids, healing).startswith("ul")


@pytest.mark.parametrize("text", ["", "x", "The end.<|endoftext|>", "a 😀"])
def test_nothing_to_heal_changes_nothing(genuine: Vocabulary, text: str) -> None:
    ids = genuine.tokenizer.encode(text)
    assert heal(ids, genuine) == (ids, None)


def test_special_tokens_stay_and_what_is_before_them(genuine: Vocabulary) -> None:
    ids = genuine.tokenizer.encode("Once <|endoftext|> ")
    assert heal(ids, genuine)[0] == ids[:-1]
    assert heal(ids[:-1], genuine) == (ids[:-1], None)


def test_no_special_token_is_completed(genuine: Vocabulary) -> None:
    ids = genuine.tokenizer.encode("Once <|endoftext|", parse_special=False)
    kept, healing = heal(ids, genuine)
    assert len(kept) >= len(ids) - 1
    assert healing is None or b"<|endoftext|>" not in allowed(healing, kept, genuine)


def test_one_id_stays(genuine: Vocabulary) -> None:
    (space,) = genuine.tokenizer.encode(" ")
    assert heal([space], genuine) == ([space], None)
    assert heal([], genuine) == ([], None)
    assert heal([space, space], genuine)[0] == [space]


def test_a_whole_character_is_not_continued(genuine: Vocabulary) -> None:
    """Ids of emojis end in tokens of one byte, which longer tokens of other characters begin with."""
    continuing = [t for t in genuine.tokens if len(t) > 1 and all(0x80 <= b < 0xC0 for b in t)]
    assert continuing
    for token in continuing:
        ids = genuine.tokenizer.encode("a " + (b"\xf0\x9f\x98" + token[:1]).decode())
        kept, healing = heal(ids, genuine)
        assert not healing or token not in allowed(healing, kept, genuine)


def test_ids_that_end_inside_a_character_may_be_completed(genuine: Vocabulary) -> None:
    dash = genuine.tokenizer.encode("so \u2014")  # one token of three bytes
    first = genuine.tokens.index(b"\xe2")
    kept, healing = heal([*dash[:-1], first], genuine)
    assert healing is not None
    assert kept == dash[:-1]
    assert np.isfinite(healing(kept, np.zeros(genuine.size, np.float32)))[
        genuine.tokens.index("\u2014".encode())
    ]


def test_a_text_that_ends_in_the_repetition_is_empty(model: Model, vocabulary: Vocabulary) -> None:
    _, healing = healed("There was once a king who had a beautif", vocabulary)
    assert cut(model, [], healing) == ""
    assert cut(model, list(healing.removed_ids[:1]), healing) == ""


def test_a_copy_does_the_same(vocabulary: Vocabulary) -> None:
    ids, healing = healed("Once upon a ", vocabulary)
    assert allowed(copy.deepcopy(healing), ids, vocabulary) == allowed(healing, ids, vocabulary)


def test_processors_that_exclude_the_repetition_leave_a_clear_error(
    vocabulary: Vocabulary,
) -> None:
    ids, healing = healed("Once upon a ", vocabulary)
    with pytest.raises(RequestError, match="token healing cannot generate b' ' again"):
        healing(ids, np.full(vocabulary.size, -np.inf, np.float32))


@pytest.mark.parametrize("prompt", ["Once upon a ", "There was a beautif"])
def test_a_draft_model_changes_nothing(
    demo: Callable[[str], Model], model: Model, vocabulary: Vocabulary, prompt: str
) -> None:
    ids, healing = healed(prompt, vocabulary)
    plain = model.generate(ids, processors=(healing,), seed=2, max_new_tokens=30)
    drafted = model.generate(
        ids, processors=(healing,), seed=2, max_new_tokens=30, draft=demo("draft")
    )
    assert drafted.new_ids == plain.new_ids
