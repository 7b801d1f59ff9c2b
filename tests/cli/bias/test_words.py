"""The probabilities of next words: sums, other ways to compute them, and samples."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gpt2xl import Model, load
from gpt2xl.decoding.logprobs import log_softmax
from gpt2xl_cli.bias.comparison import compare, samples
from gpt2xl_cli.bias.vocabulary import Kind, State, Vocabulary, read
from gpt2xl_cli.bias.words import WordSearch
from gpt2xl_export.exporting import export

DEMO = Path(__file__).parents[3] / "models" / "demo"
PROMPT = "The man worked as a"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    out = tmp_path_factory.mktemp("words") / "demo"
    export(DEMO, out)
    return load(out, threads=1)


def probabilities(model: Model, ids: list[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Of the next token, by one run without a cache."""
    logits = model.session.forward(np.array([ids]), model.session.new_cache())
    return np.asarray(np.exp(log_softmax(logits[0, -1])))


@pytest.mark.parametrize("prompt", [PROMPT, "The king", "The king ", "", "She said: “", "na"])
def test_all_probability_is_accounted_for(model: Model, prompt: str) -> None:
    search = WordSearch(model, prompt)
    search.find(5)
    search.settle(["man", "well-known", "naïve"])
    total = sum(search.words.values()) + search.no_word + search.not_expanded
    assert total == pytest.approx(1, abs=1e-6)
    assert min(search.words.values()) >= 0


def test_a_word_is_the_sum_over_its_spellings(model: Model) -> None:
    """Computed again for each way to spell it in up to three tokens, by runs without a cache."""
    search = WordSearch(model, PROMPT)
    search.find(10)
    names = search.top(3)
    search.settle(names)
    tokens = Vocabulary(model.tokenizer, model.config.vocab_size).tokens
    start = model.prompt_ids(PROMPT)
    first = probabilities(model, start)
    for word in names:
        total = 0.0
        for ids in spellings(f" {word}".encode(), tokens, 3):
            mass, before = float(first[ids[0]]), [*start, ids[0]]
            for token_id in ids[1:]:
                mass *= float(probabilities(model, before)[token_id])
                before.append(token_id)
            total += mass * end_probability(model, before, tokens)
        assert search.words[word] == pytest.approx(total, rel=0.01)


def end_probability(model: Model, ids: list[int], tokens: list[bytes]) -> float:
    """That a word ends after ``ids``: what follows is no letter, and no hyphen or apostrophe before a letter."""
    after, total = probabilities(model, ids), 0.0
    for token_id, token in enumerate(tokens):
        text = token.decode("utf-8", "replace")
        if text in ("-", "'"):
            later = probabilities(model, [*ids, token_id])
            goes_on = sum(float(later[i]) for i, t in enumerate(tokens) if t[:1].isalnum())
            total += float(after[token_id]) * (1 - goes_on)
        elif not (text[:1].isalnum() or (text[:1] in ("-", "'") and text[1:2].isalnum())):
            total += float(after[token_id])
    return total


def spellings(wanted: bytes, tokens: list[bytes], longest: int) -> list[list[int]]:
    """All ways to spell ``wanted`` in up to ``longest`` tokens."""
    if not wanted:
        return [[]]
    if longest == 0:
        return []
    heads = [(i, token) for i, token in enumerate(tokens) if token and wanted.startswith(token)]
    return [
        [i, *rest]
        for i, token in heads
        for rest in spellings(wanted[len(token) :], tokens, longest - 1)
    ]


@pytest.mark.slow
def test_sampled_texts_have_the_words_as_often(model: Model) -> None:
    search = WordSearch(model, PROMPT)
    search.find(5)
    search.settle(search.top(5))
    count, found = 1500, Counter[str]()
    texts = model.generate_batch(
        [PROMPT] * count, temperature=1.0, top_k=0, max_new_tokens=8, seed=3, rows=64
    )
    for _, text in texts:
        found[read(text.text.encode()).word] += 1
    for word in search.top(5):
        wanted = search.words[word]
        error = (wanted * (1 - wanted) / count) ** 0.5
        assert abs(found[word] / count - wanted) < 4 * error, word


def test_no_word_outside_the_list_is_more_probable(model: Model) -> None:
    few, many = WordSearch(model, PROMPT), WordSearch(model, PROMPT)
    few.find(5)
    many.find(60)
    assert set(few.top(5)) == set(many.top(5))
    assert few.steps < many.steps


def test_the_number_of_runs_is_bounded(model: Model) -> None:
    search = WordSearch(model, PROMPT)
    search.find(1000, max_steps=7)
    assert search.steps == 8  # the first token took one
    search.settle(["man", "little"], max_steps=2)
    assert search.steps <= 10


def test_a_prompt_near_the_context_is_taken(model: Model) -> None:
    full = "a" + " a" * (model.config.n_positions - 1)
    search = WordSearch(model, full)
    search.find(3)
    assert search.words
    total = sum(search.words.values()) + search.no_word + search.not_expanded
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("found", "word", "state"),
    [
        (b" doctor", "doctor", State.OPEN),
        (b" doctor ", "doctor", State.ENDED),
        (b" self-", "self", State.JOINED),
        (b" self-employed", "self-employed", State.OPEN),
        (b" self--", "self", State.ENDED),
        (b" doctor's", "doctor's", State.OPEN),
        (b" na\xc3", "na", State.PARTIAL),
        (b" na\xc3\xafve", "naïve", State.OPEN),
        (b" it\xe2\x80", "it", State.PARTIAL),
        ("it\u2019".encode(), "it", State.JOINED),
        (b"\n", "", State.ENDED),
        (b"", "", State.ENDED),
    ],
)
def test_words_end_where_readers_end_them(found: bytes, word: str, state: State) -> None:
    reading = read(found)
    assert (reading.word, reading.state) == (word, state)


def test_every_id_of_the_model_has_a_kind(model: Model) -> None:
    vocabulary = Vocabulary(model.tokenizer, model.config.vocab_size + 3)
    assert len(vocabulary.kinds) == model.config.vocab_size + 3
    assert (vocabulary.kinds[-4:] == Kind.OTHER).all()  # end-of-text, and ids without a text
    assert vocabulary.kinds[model.tokenizer.encode(" man")[0]] == Kind.SPACED


def test_both_prompts_get_every_word(model: Model) -> None:
    found = compare(model, PROMPT, "The woman worked as a", 8)
    assert len(found.words) >= 8
    assert all(pair.first and pair.second for pair in found.words)
    for number, values in enumerate(
        ([p.first for p in found.words], [p.second for p in found.words])
    ):
        rest = found.other_words[number] + found.no_word[number] + found.not_expanded[number]
        assert sum(values) + rest == pytest.approx(1, abs=1e-6)
    first, second = found.most_different(2)
    assert first[0].log_ratio == max(pair.log_ratio for pair in found.words)
    assert second[0].log_ratio == min(pair.log_ratio for pair in found.words)


def test_a_prompt_beside_itself_has_ratios_of_1(model: Model) -> None:
    found = compare(model, PROMPT, PROMPT, 4)
    assert {pair.ratio for pair in found.words} == {1.0}
    assert found.most_different(3) == ([], [])


def test_samples_follow_the_seed_and_have_the_length_of_the_card(model: Model) -> None:
    long = "The man worked as a man who worked as a man who worked as a"
    first = samples(model, [PROMPT, long], 3, 42)
    assert first == samples(model, [PROMPT, long], 3, 42)
    assert first != samples(model, [PROMPT, long], 3, 43)
    texts = model.generate_sequences(
        PROMPT, num_return_sequences=3, seed=42, max_length=10, temperature=1.0, top_k=50
    )
    assert first[0] == [PROMPT + text.text for text in texts]
    assert all(text.startswith(long) and len(text) > len(long) for text in first[1])
