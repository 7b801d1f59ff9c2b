"""Random requests for texts, and the same texts by `Model.generate`."""

import random
from dataclasses import dataclass
from typing import Any

import gpt2xl

PROMPTS = (
    "Once upon a time",
    "The king said to his daughter",
    "",
    "One day, a little girl went to the park. ",
    "and the wolf " * 40,
    "When the youngest son had gone a long way through the forest, he came to a house, and there",
    "L'été à la café, naïve “and then” 😀",
)
BEGINNING = (
    "There was once a miller who left no more estate to the three sons he had than his mill. " * 4
)
"""What several prompts have in common, so that kept prompts are used."""
OPENAI_DEFAULTS = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
OPTION_NAMES = {
    "stop": "stop_strings",
    "max_tokens": "max_new_tokens",
    "min_tokens": "min_new_tokens",
}
"""Fields that options call otherwise."""
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"temperature": 0.0},
    {"temperature": 0.7, "top_k": 40},
    {"top_p": 0.9, "repetition_penalty": 1.2},
    {"min_p": 0.05, "temperature": 1.3},
    {"typical_p": 0.9, "frequency_penalty": 0.3, "presence_penalty": 0.2},
    {"logit_bias": {"13": 2.0, "198": -5.0}},
    {"stop": [".", "\n"]},
    {"stop": "the", "min_tokens": 5},
    {"dry_multiplier": 0.8, "top_k": 100},
    {"mirostat_tau": 5.0},
    {"ignore_eos": True, "no_repeat_ngram_size": 3},
    {"xtc_probability": 0.5, "top_n_sigma": 1.5},
)


@dataclass(frozen=True)
class Wanted:
    """A request: fields of its body, and what it asks of each text."""

    prompts: list[str]
    n: int
    seed: int
    fields: dict[str, Any]
    streams: bool

    @property
    def body(self) -> dict[str, Any]:
        """For /v1/completions."""
        prompt = self.prompts if len(self.prompts) > 1 else self.prompts[0]
        return {"prompt": prompt, "n": self.n, "seed": self.seed} | self.fields

    def expected(self, model: gpt2xl.Model) -> list[tuple[str, list[int]]]:
        """The text and the ids of each choice, one `Model.generate` after the other."""
        values = OPENAI_DEFAULTS | {
            OPTION_NAMES.get(name, name): value for name, value in self.fields.items()
        }
        values.pop("return_token_ids", None)
        if "logit_bias" in values:
            values["logit_bias"] = {int(key): each for key, each in values["logit_bias"].items()}
        found = list[tuple[str, list[int]]]()
        for number in range(len(self.prompts) * self.n):
            options = gpt2xl.GenerationOptions(**values, seed=self.seed + number)
            text = model.generate(self.prompts[number // self.n], options)
            found.append((text.text, text.new_ids))
        return found


def random_requests(texts: int, seed: int, most_tokens: int = 48) -> list[Wanted]:
    """Requests for at least ``texts`` texts: plain ones and streams, lists, n > 1, and many options."""
    rng, found, count = random.Random(seed), list[Wanted](), 0
    while count < texts:
        found.append(random_request(rng, most_tokens))
        count += len(found[-1].prompts) * found[-1].n
    return found


def random_request(rng: random.Random, most_tokens: int) -> Wanted:
    """One of them, of texts below ``most_tokens`` tokens."""
    prompts = [_prompt(rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    fields = rng.choice(SETTINGS) | {
        "max_tokens": rng.randrange(1, most_tokens),
        "return_token_ids": True,
    }
    return Wanted(
        prompts, rng.choice((1, 1, 1, 2)), rng.randrange(2**32), fields, rng.random() < 0.5
    )


def _prompt(rng: random.Random) -> str:
    beginning = BEGINNING if rng.random() < 0.3 else ""
    return beginning + rng.choice(PROMPTS)
