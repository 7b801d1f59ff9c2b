"""Entry point: install signal handlers before slow imports; name the extra if typer is missing."""

import sys

try:
    from gpt2xl_cli import signals
    from gpt2xl_cli.native_output import keep_off_stderr
except KeyboardInterrupt:  # before signals.install
    sys.stderr.write("error: interrupted.\n")
    sys.exit(130)


def main() -> None:
    """Run the command line."""
    signals.install()
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        sys.exit("error: the command line needs `pip install 'gpt2xl[cli]'`.")
    keep_off_stderr()
    from gpt2xl_cli.app import run

    run()


if __name__ == "__main__":
    main()
