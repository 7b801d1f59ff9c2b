"""Entry point: answer what needs no typer; handle signals before slow imports."""

import os
import signal
import sys
from contextlib import suppress
from importlib.util import find_spec

COMPLETION = "_GPT2XL_COMPLETE"  # set where a shell asks for completions
if COMPLETION in os.environ:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what is printed would land in the command line
try:
    from gpt2xl_cli import signals
    from gpt2xl_cli.help_pages.front_page import front_page
    from gpt2xl_cli.help_pages.version import version_line
    from gpt2xl_cli.native_output import keep_off_stderr
except KeyboardInterrupt:  # before signals.install
    sys.stderr.write("error: interrupted.\n")
    sys.exit(130)

QUICK = {(): front_page, ("-h",): front_page, ("--help",): front_page, ("--version",): version_line}


def main() -> None:
    """Run the command line."""
    is_completion = COMPLETION in os.environ
    if not is_completion:
        signals.install()
    if not (find_spec("rich") and find_spec("typer")):
        sys.exit("error: the command line needs `pip install 'gpt2xl[cli]'`.")
    answer = QUICK.get(tuple(sys.argv[1:]))
    if answer and sys.stdout and not is_completion:
        with suppress(OSError):  # which typer's way reports
            sys.stdout.buffer.write(f"{answer()}\n".encode())
            sys.stdout.flush()
            return
    keep_off_stderr()
    from gpt2xl_cli.app import run

    run()


if __name__ == "__main__":
    main()
