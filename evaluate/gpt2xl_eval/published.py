"""What others have published: the paper's table, and public reproductions of its rows.

Paper: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", Table 3. Accuracies are in percent, as there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gpt2xl import GPT2Config

COLUMNS = (
    "LAMBADA PPL", "LAMBADA ACC", "CBT-CN", "CBT-NE", "WikiText2", "PTB", "enwiki8", "text8", "WikiText103", "1BW",
)  # fmt: skip
"""Of the model card's table, in its order."""
PAPER: Mapping[str, tuple[float, ...]] = {
    "117M": (35.13, 45.99, 87.65, 83.4, 29.41, 65.85, 1.16, 1.17, 37.50, 75.20),
    "345M": (15.60, 55.48, 92.35, 87.1, 22.76, 47.33, 1.01, 1.06, 26.37, 55.72),
    "762M": (10.87, 60.12, 93.45, 88.0, 19.93, 40.31, 0.97, 1.02, 22.05, 44.575),
    "1542M": (8.63, 63.24, 93.30, 89.05, 18.34, 35.76, 0.93, 0.98, 17.48, 42.16),
}
"""By the size of the model, in the order of `COLUMNS`."""
SHAPES = {(12, 768): "117M", (24, 1024): "345M", (36, 1280): "762M", (48, 1600): "1542M"}
"""The size by the number of layers and the width."""
MODELS = {"117M": "gpt2", "345M": "gpt2-medium", "762M": "gpt2-large", "1542M": "gpt2-xl"}
"""The names of the released models."""


def sizes_like(config: GPT2Config) -> tuple[str, ...]:
    """The paper's size with the shape of ``config``; all of them where there is none."""
    size = SHAPES.get((config.n_layer, config.n_embd))
    return tuple(PAPER) if size is None else (size,)


def paper_value(size: str, column: str) -> float:
    """What the paper has in a column."""
    return PAPER[size][COLUMNS.index(column)]


@dataclass(frozen=True)
class Reproduction:
    """What somebody else got."""

    model: str
    figures: str
    setup: str
    source: str


_LM_EVAL = "context: all but the last word; the model has to choose every token of it"
_NEO = "EleutherAI/gpt-neo, README"
_13761 = "huggingface/transformers issue 13761"
_GPT2EVAL = "joeshmoe0112358/gpt2eval, karpathy/llm.c PR 340"
_GPT2EVAL_SETUP = "validation set, disjoint windows of 1024, mean of the windows' means"
REPRODUCTIONS: Mapping[str, tuple[Reproduction, ...]] = {
    "lambada": (
        Reproduction(
            "gpt2-xl",
            "perplexity 10.63, accuracy 51.21",
            f"lambada_openai; {_LM_EVAL}",
            f"EleutherAI/lm-evaluation-harness issue 911; {_NEO}",
        ),
        Reproduction(
            "gpt2",
            "perplexity 40.06, accuracy 32.56",
            f"lambada_openai; {_LM_EVAL}",
            "EleutherAI/lm-evaluation-harness issue 2159",
        ),
        Reproduction(
            "gpt2-xl",
            "perplexity 15.97, accuracy 46.23; 52.73 with a stop-word filter",
            "lower-cased text of cimec/lambada, last word",
            "skeptric.com/perplexity",
        ),
        Reproduction(
            "gpt2",
            "accuracy 46.67; 46.89 with plain quotes and a newline before",
            "last token",
            f"cybertronai/bflm; {_13761}",
        ),
        Reproduction(
            "gpt2",
            "accuracy 41.98 to 42.01",
            "last word, stop-word filter, beam of 128",
            "cybertronai/bflm",
        ),
        Reproduction(
            "345M",
            "accuracy 46.42; 46.26 by Megatron-LM",
            "last token",
            "PaddlePaddle/PaddleNLP PR 23",
        ),
    ),
    "cbt-cn": (Reproduction("gpt2", "accuracy 84.35", "setup not stated", _13761),),
    "cbt-ne": (Reproduction("gpt2", "accuracy 73.65", "setup not stated", _13761),),
    "wikitext2": (
        Reproduction(
            "gpt2-large",
            "perplexity per token 19.44 with stride 1024, 16.44 with stride 512",
            "raw text, lines joined by two newlines, context 1024",
            "huggingface.co/docs/transformers/perplexity",
        ),
        Reproduction(
            "gpt2",
            "perplexity per token 29.17 with context 1024, 43.3 with context 256",
            "setup not stated",
            "huggingface/transformers issue 483",
        ),
        Reproduction(
            "gpt2",
            "perplexity per token 29.94; per word 37.37",
            "per word: lm-evaluation-harness",
            _13761,
        ),
    ),
    "ptb": (
        Reproduction(
            "gpt2",
            "perplexity per token 52.53; per word 79.65",
            "setup not stated",
            "huggingface/transformers issue 13786",
        ),
    ),
    "enwik8": (
        Reproduction(
            "gpt2-xl",
            "bits per byte 1.016; 0.981 with a context of 256 at least; 0.9688 with 768",
            "random windows of 1024 bytes",
            "skeptric.com/perplexity",
        ),
    ),
    "wikitext103": (
        Reproduction(
            "gpt2-xl",
            "perplexity per token 17.914",
            f"{_GPT2EVAL_SETUP}, rows joined by two newlines",
            _GPT2EVAL,
        ),
        Reproduction(
            "gpt2-xl",
            "perplexity per token 17.459",
            f"{_GPT2EVAL_SETUP}, rows joined by nothing",
            _GPT2EVAL,
        ),
        Reproduction(
            "gpt2-xl", "perplexity per token 16.912", f"{_GPT2EVAL_SETUP}, raw file", _GPT2EVAL
        ),
        Reproduction(
            "gpt2",
            "perplexity per token 31.042",
            f"{_GPT2EVAL_SETUP}, rows joined by two newlines",
            _GPT2EVAL,
        ),
        Reproduction(
            "gpt2-medium",
            "perplexity per token 22.511",
            f"{_GPT2EVAL_SETUP}, rows joined by two newlines",
            _GPT2EVAL,
        ),
        Reproduction(
            "gpt2-large",
            "perplexity per token 20.088",
            f"{_GPT2EVAL_SETUP}, rows joined by two newlines",
            _GPT2EVAL,
        ),
        Reproduction(
            "gpt2-xl",
            "perplexity 17.48",
            "setup not stated; digit for digit the paper's value",
            _NEO,
        ),
        Reproduction("gpt2", "perplexity per word 37.37", "lm-evaluation-harness", _13761),
        Reproduction(
            "345M",
            "perplexity 19.37",
            "windows with 32 new tokens each",
            "PaddlePaddle/PaddleNLP PR 23",
        ),
    ),
    "1bw": (Reproduction("gpt2", "perplexity 45.88", "setup not stated", _13761),),
    "multiple-choice": (
        Reproduction(
            "gpt2-xl",
            "accuracy 38.42; 48.93 with the mean log-probability of a token",
            "HellaSwag, 10,042 questions of the validation set",
            "karpathy/llm.c, dev/data/hellaswag.py",
        ),
        Reproduction(
            "gpt2-xl",
            "accuracy 40.04; 50.89 with length normalisation",
            "HellaSwag, lm-evaluation-harness",
            "karpathy/llm.c, dev/data/hellaswag.py",
        ),
    ),
}
"""By the name of the task."""


def reproductions(task: str, config: GPT2Config) -> tuple[Reproduction, ...]:
    """Those of ``task`` with a model of the shape of ``config``; all of them where there is none."""
    found = REPRODUCTIONS.get(task, ())
    size = SHAPES.get((config.n_layer, config.n_embd))
    alike = tuple(each for each in found if size and each.model == MODELS[size])
    return alike or found
