"""Entry point: answer what needs no typer; handle signals before slow imports."""

import os
import sys
from contextlib import suppress
from importlib.util import find_spec

try:
    from gpt2xl_cli import signals
    from gpt2xl_cli.help_pages.front_page import front_page
    from gpt2xl_cli.help_pages.version import version_line
    from gpt2xl_cli.native_output import keep_off_stderr
except KeyboardInterrupt:  # before signals.install
    sys.stderr.write("error: interrupted.\n")
    sys.exit(130)

QUICK = {(): front_page, ("-h",): front_page, ("--help",): front_page, ("--version",): version_line}
COMPLETION = "_GPT2XL_COMPLETE"  # set where a shell asks for completions


def main() -> None:
    """Run the command line."""
    signals.install()
    if not (find_spec("rich") and find_spec("typer")):
        sys.exit("error: the command line needs `pip install 'gpt2xl[cli]'`.")
    answer = QUICK.get(tuple(sys.argv[1:]))
    if answer and sys.stdout and COMPLETION not in os.environ:
        with suppress(OSError):  # which typer's way reports
            sys.stdout.buffer.write(f"{answer()}\n".encode())
            sys.stdout.flush()
            return
    keep_off_stderr()
    from gpt2xl_cli.app import run

    run()


if __name__ == "__main__":
    main()
