"""What to type instead of a usual mistake: a command that does not exist, a text without quotes, an option too early."""

import shlex
from collections.abc import Mapping, Sequence

LIST = "`gpt2xl models` lists the models on this machine"
REMOVE = "`gpt2xl models rm NAME` removes a model"
DOWNLOAD = "a model is downloaded at its first use, such as `gpt2xl generate -m gpt2`; `gpt2xl export gpt2 my-gpt2` makes a bundle"
VERSION = "`gpt2xl --version` shows the version"
WRITE = "`gpt2xl generate` continues a text, `gpt2xl repl` writes one together with you"
CHAT = f"GPT-2 is a base model, which continues texts and does not answer: {WRITE}"
COMMANDS: Mapping[str, str] = {
    "gpt2xl chat": CHAT,
    "gpt2xl ask": CHAT,
    "gpt2xl run": WRITE,
    "gpt2xl download": DOWNLOAD,
    "gpt2xl pull": DOWNLOAD,
    "gpt2xl models download": DOWNLOAD,
    "gpt2xl models pull": DOWNLOAD,
    "gpt2xl list": LIST,
    "gpt2xl ls": LIST,
    "gpt2xl models list": LIST,
    "gpt2xl models ls": LIST,
    "gpt2xl rm": REMOVE,
    "gpt2xl models remove": REMOVE,
    "gpt2xl models delete": REMOVE,
    "gpt2xl version": VERSION,
    "gpt2xl convert": "`gpt2xl export SOURCE OUT` makes a bundle of a checkpoint",
    "gpt2xl quantize": "`gpt2xl export SOURCE OUT --precision int8` makes a quantized bundle",
}
"""By command as typed: other programs have one of that name."""
TEXTS: Mapping[str, str] = {"gpt2xl generate": "prompt", "gpt2xl tokenize": "text"}
"""Commands that take one text, and the name of that argument."""
NUMBERS: Mapping[str, str] = {
    "temperature": "0.7",
    "top_p": "0.9",
    "min_p": "0.05",
    "top_k": "40",
    "max_new_tokens": "100",
    "seed": "1",
    "repetition_penalty": "1.1",
    "rows": "8",
}
"""By option: a usual value."""


def for_command(typed: str) -> str:
    """What to use in place of a command that does not exist, if it is one of other programs; else nothing.

    >>> for_command("gpt2xl models list")
    '`gpt2xl models` lists the models on this machine'
    """
    return COMMANDS.get(typed, "")


def for_extra_words(command: str, values: Mapping[str, object], words: Sequence[str]) -> str:
    """What is wrong with ``words`` after the arguments of ``command``.

    Args:
        command: with its groups, such as "gpt2xl generate".
        values: of its parameters.
        words: that it does not take.

    >>> for_extra_words("gpt2xl generate", {"prompt": "Once"}, ["upon", "a time"])
    "the prompt has to be in quotes: gpt2xl generate 'Once upon a time'"
    >>> for_extra_words("gpt2xl export", {}, ["third"])
    "unexpected argument 'third'"
    """
    if (name := TEXTS.get(command)) and isinstance(first := values.get(name), str):
        text = shlex.quote(" ".join([first, *words]))
        return f"the {name} has to be in quotes: {command} {text}"
    noun = "argument" if len(words) == 1 else "arguments"
    return f"unexpected {noun} {', '.join(map(repr, words))}"


def for_early_option(arguments: Sequence[str]) -> str:
    """What to type where ``arguments`` begin with an option of a command, but name no command.

    >>> for_early_option(["-n", "5", "Once upon"])
    "a command comes first: gpt2xl generate -n 5 'Once upon'"
    >>> for_early_option(["-p", "Once upon"])
    "a command comes first, and a prompt needs no option: gpt2xl generate 'Once upon'"
    >>> for_early_option(["-v"])
    '`gpt2xl --version` shows the version'
    """
    if arguments[0] in ("-v", "-V"):
        return VERSION
    if arguments[0] in ("-p", "--prompt") and len(arguments) > 1:
        command = f"gpt2xl generate {shlex.join(arguments[1:])}"
        return f"a command comes first, and a prompt needs no option: {command}"
    return f"a command comes first: gpt2xl generate {shlex.join(arguments)}"
