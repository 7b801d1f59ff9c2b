"""Edit a text in the user's editor."""

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from gpt2xl import RequestError
from gpt2xl_cli.signals import on_interrupt


def editor_command(environment: Mapping[str, str]) -> list[str]:
    """The words of $VISUAL, else of $EDITOR; none where neither is set.

    >>> editor_command({"EDITOR": "code --wait"})
    ['code', '--wait']
    """
    return shlex.split(environment.get("VISUAL") or environment.get("EDITOR") or "")


def edited_text(text: str, command: list[str]) -> str:
    """``text`` as the user leaves it in the editor.

    A line end that the editor adds after the last line is not part of it.

    Raises:
        RequestError: there is no such editor, it fails, or it leaves no UTF-8.
    """
    with TemporaryDirectory(prefix="gpt2xl-") as folder:
        path = Path(folder, "text.txt")
        path.write_bytes(text.encode())
        try:
            with on_interrupt(lambda: None):  # Ctrl-C is the editor's
                status = subprocess.run([*command, path], check=False).returncode
            content = path.read_bytes().decode()
        except OSError as reason:
            raise RequestError(
                f"'{command[0]}' cannot be used as editor: {reason.strerror}."
            ) from None
        except UnicodeDecodeError:
            raise RequestError(
                "the editor left a text that is not UTF-8: it stays as it was."
            ) from None
    if status:
        raise RequestError(f"'{command[0]}' ended with status {status}: the text stays as it was.")
    return content if text.endswith("\n") else content.removesuffix("\n")
