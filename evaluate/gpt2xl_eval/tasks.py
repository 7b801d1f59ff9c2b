"""The tasks by name."""

from collections.abc import Callable, Mapping
from pathlib import Path

from gpt2xl import RequestError, Tokenizer
from gpt2xl_eval.corpora.perplexity import Perplexity
from gpt2xl_eval.corpora.windows import Windows
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.task import Setting, Task

MakeTask = Callable[[Path, Tokenizer, int, EvalOptions], Task]
"""From the data, the tokenizer, n_positions and the options."""


def text_file(path: Path, tokenizer: Tokenizer, n_positions: int, options: EvalOptions) -> Task:
    """Perplexity of any text file."""
    text = path.read_text("utf-8")
    context, stride = options.context or n_positions, options.stride or n_positions // 2
    ids = [tokenizer.encode("<|endoftext|>", parse_special=True)[0], *tokenizer.encode(text)]
    units = {"word": len(text.split()), "byte": len(text.encode()), "character": len(text)}
    settings: dict[str, Setting] = {"context": context, "stride": stride, "prefix": "endoftext"}
    return Perplexity("perplexity", Windows(ids, context, stride), settings, units)


TASKS: Mapping[str, MakeTask] = {"perplexity": text_file}


def make_task(
    name: str, path: Path, tokenizer: Tokenizer, n_positions: int, options: EvalOptions
) -> Task:
    """Read the data of a task.

    Raises:
        RequestError: there is no such task, or its data cannot be read.
    """
    if name not in TASKS:
        raise RequestError(f"there is no task '{name}'; tasks are {', '.join(TASKS)}.")
    return TASKS[name](path, tokenizer, n_positions, options)
