"""`python -m gpt2xl`: the command line, found by its entry point, since the runtime imports nothing of it."""

import sys
from importlib.metadata import entry_points


def main() -> None:
    """Run the command line; one line says what to install where it is not there."""
    for found in entry_points(group="console_scripts", name="gpt2xl"):
        try:
            command = found.load()
        except ModuleNotFoundError:
            break
        sys.exit(command())
    sys.exit("error: the command line is not installed: pip install 'gpt2xl[cli]'")


if __name__ == "__main__":
    main()
