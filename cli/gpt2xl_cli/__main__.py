"""Entry point: names a missing extra instead of a traceback."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        import platformdirs  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        sys.exit("gpt2xl: the command line needs `pip install 'gpt2xl[cli]'`.")
    from gpt2xl_cli.app import run

    run()


if __name__ == "__main__":
    main()
