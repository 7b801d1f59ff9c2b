"""Wrong usage in one line."""

import re

from typer._click.exceptions import BadParameter, ClickException, UsageError

from gpt2xl_cli.help_pages.remedies import NUMBERS

WORDINGS = (
    (r"^Invalid value: ", ""),
    (r"^Invalid value for (--\S+): (?=cannot )", r"\1 "),
    (r"Value error, ", ""),
    (r"Input should be a valid integer,.*", "it has to be a whole number{details}"),
    (r"Input should be a valid number,.*", "it has to be a number{details}"),
    (r" \(Possible options: (.*)\)", r"; did you mean \1?"),
)
"""What typer and pydantic say, and what we say."""


def usage_line(error: ClickException) -> str:
    """What is wrong, and the help to look at.

    >>> usage_line(UsageError("No such option: --nope"))
    'no such option: --nope. Try `gpt2xl --help`.'
    """
    message = " ".join(error.format_message().split())
    for theirs, ours in WORDINGS:
        message = re.sub(theirs, ours, message)
    message = message.replace("{details}", _example(error) + _given(error))
    message = message[:1].lower() + message[1:]
    end = "" if message.endswith((".", "?")) else "."
    context = error.ctx if isinstance(error, UsageError) else None
    return f"{message}{end} Try `{context.command_path if context else 'gpt2xl'} --help`."


def _example(error: ClickException) -> str:
    if not (isinstance(error, BadParameter) and error.param):
        return ""
    value = NUMBERS.get(error.param.name or "")
    return f", such as {value}" if value else ""


def _given(error: ClickException) -> str:
    """The value that is no number, which pydantic knows."""
    errors = getattr(error.__cause__, "errors", None)
    return f", but is {str(errors()[0]['input'])!r}" if callable(errors) else ""
