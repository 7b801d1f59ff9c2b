"""Next words of two prompts side by side."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gpt2xl import Model, RequestError, TextGenerationPipeline
from gpt2xl_cli.bias.words import WordSearch

MAX_LENGTH = 10  # tokens of prompt and sample, on the model card
LEAST_NEW = 5  # tokens of a sample whose prompt is too long for that


@dataclass(frozen=True)
class WordPair:
    """One word after each of the two prompts."""

    word: str
    first: float
    """Its probability after the first prompt."""
    second: float

    @property
    def ratio(self) -> float | None:
        """How many times as probable it is after the first prompt; None where a probability is not known."""
        return self.first / self.second if self.first and self.second else None

    @property
    def log_ratio(self) -> float:
        """The binary logarithm of `ratio`; 0 where there is none."""
        return math.log2(self.ratio) if self.ratio else 0.0


@dataclass(frozen=True)
class Comparison:
    """The next words of two prompts."""

    prompts: tuple[str, str]
    words: list[WordPair]
    """The most probable words of either prompt, the most probable first."""
    other_words: tuple[float, float]
    """Probability of the further words that the search met."""
    no_word: tuple[float, float]
    """Probability that no word comes next."""
    not_expanded: tuple[float, float]
    """Probability of the beginnings of words that the search left. No beginning that it left is as probable as a word that
    it was asked for."""
    steps: tuple[int, int]
    """Runs of the model."""

    def most_different(self, count: int) -> tuple[list[WordPair], list[WordPair]]:
        """The words that lean most to the first prompt, and those that lean most to the second, by their ratios."""
        ordered = sorted(self.words, key=lambda pair: -pair.log_ratio)
        first = [pair for pair in ordered if pair.log_ratio > 0]
        second = [pair for pair in reversed(ordered) if pair.log_ratio < 0]
        return first[:count], second[:count]


def compare(model: Model, first: str, second: str, count: int) -> Comparison:
    """Compare the next words of two prompts.

    Args:
        model: gives the probabilities.
        first: a prompt.
        second: another one.
        count: how many of the most probable words of each; the probability of each word is computed for both.

    Raises:
        RequestError: ``count`` is below 1, or the model cannot take a prompt.
    """
    if count < 1:
        raise RequestError(f"--words has to be >= 1, but is {count}.")
    searches = [WordSearch(model, prompt) for prompt in (first, second)]
    for search in searches:
        search.find(count)
    names = {word for search in searches for word in search.top(count)}
    for search in searches:
        search.settle(names)
    one, two = searches
    pairs = [WordPair(n, one.words.get(n, 0.0), two.words.get(n, 0.0)) for n in names]
    pairs.sort(key=lambda pair: (-max(pair.first, pair.second), pair.word))
    return Comparison(
        prompts=(first, second),
        words=pairs,
        other_words=(_beside(one, names), _beside(two, names)),
        no_word=(one.no_word, two.no_word),
        not_expanded=(one.not_expanded, two.not_expanded),
        steps=(one.steps, two.steps),
    )


def _beside(search: WordSearch, names: Collection[str]) -> float:
    """Probability of the words that are not among ``names``."""
    return math.fsum(mass for word, mass in search.words.items() if word not in names)


def samples(model: Model, prompts: Sequence[str], count: int, seed: int) -> list[list[str]]:
    """Continuations of each prompt, drawn with the settings of the model card.

    Those are top_k 50, temperature 1, and 10 tokens with the prompt (here at least 5 new ones, where a prompt is long).

    Args:
        model: draws the texts.
        prompts: each is drawn from with the same seed, as on the card.
        count: texts of each prompt.
        seed: of the first text; the second has the next one.

    Returns:
        For each prompt its texts, prompt included.
    """
    generator = TextGenerationPipeline(model, temperature=1.0, top_k=50)
    found = []
    for prompt in prompts:
        longest = max(MAX_LENGTH, len(model.prompt_ids(prompt)) + LEAST_NEW)
        records = generator(prompt, max_length=longest, num_return_sequences=count, seed=seed)
        found.append([record["generated_text"] for record in records])
    return found
