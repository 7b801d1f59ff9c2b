"""All commands: name, summary, panel, examples and where the code is. Importing this imports no command."""

from collections.abc import Mapping
from dataclasses import dataclass

WRITE, LOOK, MODELS, SETTINGS = "Generate text", "Look inside", "Models", "Settings"


@dataclass(frozen=True)
class Entry:
    """A command.

    Tests compare ``summary`` with the command's docstring, and run or parse the ``examples``.
    """

    place: str
    """"module:attribute" of a function, or of a `typer.Typer` with commands of its own."""
    panel: str
    summary: str
    examples: tuple[str, ...]


COMMANDS: Mapping[str, Entry] = {
    "generate": Entry(
        "generate:generate",
        WRITE,
        "Continue a text.",
        (
            'gpt2xl generate "Once upon a time" -s 1 -n 100 --end-at-sentence',
            "gpt2xl generate -m gpt2 --prompt-file prompt.txt -t 0.7 -p 0.9",
        ),
    ),
    "repl": Entry(
        "repl:repl",
        WRITE,
        "Write a text with a model at a prompt: continue, undo, try alternatives.",
        ("gpt2xl repl", "gpt2xl repl -m gpt2 -n 40 --preset creative"),
    ),
    "batch": Entry(
        "batch:batch",
        WRITE,
        "Continue many texts; after an interruption, the same command generates what is missing.",
        (
            "gpt2xl batch prompts.jsonl texts.jsonl -s 1 -n 40",
            "gpt2xl batch --lines prompts.txt texts.jsonl --greedy",
        ),
    ),
    "serve": Entry(
        "serve:serve",
        WRITE,
        "Serve a model over HTTP, with OpenAI's protocol and a page to play with it.",
        ("gpt2xl serve", "gpt2xl serve -m gpt2-xl --port 8080 --rows 8 --grace 10"),
    ),
    "features": Entry(
        "features:features",
        LOOK,
        "Compute features of texts: the hidden state after the final layer norm.",
        (
            'gpt2xl features "a king" --pooling mean',
            "gpt2xl features -f texts.txt --pooling last -o features.npy",
        ),
    ),
    "bias": Entry(
        "bias:bias",
        LOOK,
        "Compare the next words of two prompts: the bias probe of GPT-2's model card.",
        (
            "gpt2xl bias --samples 0",
            'gpt2xl bias "The boy was" "The girl was" --words 10 --samples 2',
        ),
    ),
    "tokenize": Entry(
        "tokens:tokenize",
        LOOK,
        "Turn text into token ids.",
        ('gpt2xl tokenize "Once upon a time"', "gpt2xl tokenize --json < prompt.txt"),
    ),
    "detokenize": Entry(
        "tokens:detokenize",
        LOOK,
        "Turn token ids into text.",
        ("gpt2xl detokenize 257 281", 'gpt2xl tokenize "a king" | gpt2xl detokenize'),
    ),
    "export": Entry(
        "export:export",
        MODELS,
        "Export a checkpoint to an ONNX bundle, and check it against the checkpoint.",
        (
            "gpt2xl export gpt2 my-gpt2 -p int8",
            "gpt2xl export my-checkpoint my-bundle -p int4 --block-size 32",
        ),
    ),
    "verify": Entry(
        "verify:verify",
        MODELS,
        "Check a bundle: file hashes, tokenization, graphs, parity, and published outputs of its model.",
        ("gpt2xl verify my-gpt2", "gpt2xl verify -m gpt2"),
    ),
    "info": Entry(
        "info:info",
        MODELS,
        "Show what a bundle holds, where it comes from and how exact it is.",
        ("gpt2xl info", "gpt2xl info my-gpt2 --json"),
    ),
    "bench": Entry(
        "bench:bench",
        MODELS,
        "Measure how fast models are on this machine, and how much memory they take.",
        ("gpt2xl bench", "gpt2xl bench my-gpt2 my-gpt2-int4 --recommend"),
    ),
    "eval": Entry(
        "eval:evaluate",
        MODELS,
        "Measure how well a model predicts text: perplexities and accuracies of GPT-2's model card.",
        (
            "gpt2xl eval perplexity --data text.txt",
            "gpt2xl eval --table datasets -m gpt2-xl --format markdown",
        ),
    ),
    "compare": Entry(
        "compare:compare",
        MODELS,
        "Compare how two models predict a text: perplexity, KL divergence and agreement.",
        (
            "gpt2xl compare my-gpt2 my-gpt2-int4",
            "gpt2xl compare my-gpt2 my-gpt2-int4 --data wiki.txt --picture wiki.png",
        ),
    ),
    "models": Entry(
        "groups.models:app",
        MODELS,
        "List, find and remove the models on this machine.",
        ("gpt2xl models", "gpt2xl models rm gpt2-xl --only checkpoint"),
    ),
    "config": Entry(
        "groups.config:app",
        SETTINGS,
        "Show or change the defaults and presets of options.",
        ("gpt2xl config set temperature 0.7", "gpt2xl config presets"),
    ),
}
"""In the order in which they are listed."""

FIRST = {
    'gpt2xl generate "Once upon a time"': "continue a text with the built-in demo",
    "gpt2xl repl": "write a text together with a model",
    'gpt2xl generate -m gpt2 "The sea"': "the same with GPT-2: downloads 0.5 GB",
    "gpt2xl generate --help": "all options of a text",
}
"""What to try first."""
