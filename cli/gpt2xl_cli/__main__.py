"""Entry point: one line instead of a traceback for a missing extra or an early Ctrl-C."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        _main()
    except KeyboardInterrupt:  # while importing; later ones are typer's
        sys.exit("error: interrupted.")


def _main() -> None:
    try:
        import platformdirs  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        sys.exit("error: the command line needs `pip install 'gpt2xl[cli]'`.")
    from gpt2xl_cli.app import run

    run()


if __name__ == "__main__":
    main()
