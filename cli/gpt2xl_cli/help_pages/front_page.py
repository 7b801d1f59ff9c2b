"""What `gpt2xl` alone and `gpt2xl --help` print. Imports nothing but the table, so that it is there at once."""

from collections.abc import Iterator

from gpt2xl_cli.help_pages.boxes import Row, panel, paragraphs
from gpt2xl_cli.help_pages.command_table import COMMANDS, FIRST
from gpt2xl_cli.terminal import BOLD, DIM, painted

COMMAND_WIDTH, OPTION_WIDTH = 12, 22
SUMMARY = "Run GPT-2 XL, and any other GPT-2, without PyTorch."
OPTIONS = (
    Row("--version", "Show the version."),
    Row("--install-completion", "Make your shell complete commands, options, models and presets."),
    Row("--show-completion", "Print what --install-completion would install."),
    Row("-h, --help", "Show this page; `gpt2xl COMMAND --help` shows that of a command."),
)


def front_page() -> str:
    """The page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield f" {painted('Usage:', BOLD)} gpt2xl COMMAND [OPTIONS]"
    yield ""
    yield from paragraphs(SUMMARY)
    yield f" {painted('Try first', BOLD)}"
    width = max(map(len, FIRST))
    for command, purpose in FIRST.items():
        yield f"   {command:{width}}  {painted(purpose, DIM)}"
    yield ""
    for title in dict.fromkeys(entry.panel for entry in COMMANDS.values()):
        rows = (Row(n, entry.summary) for n, entry in COMMANDS.items() if entry.panel == title)
        yield from panel(title, rows, COMMAND_WIDTH)
    yield from panel("Options", OPTIONS, OPTION_WIDTH)
