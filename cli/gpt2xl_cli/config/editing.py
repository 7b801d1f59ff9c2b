"""Change one option in the text of a config file; the rest of it, comments included, stays."""

import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any

HEADER = re.compile(r"\s*\[")


def toml_value(value: object) -> str:
    r"""A value as TOML.

    >>> toml_value(True), toml_value(0.9), toml_value(["a\n", "é\x7f"])
    ('true', '0.9', '["a\\n", "é\\u007f"]')
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def edited(text: str, table: Sequence[str], key: str, value: object | None) -> str | None:
    r"""``text`` with ``key`` of ``table`` set to ``value``; None removes it.

    >>> edited("[defaults]  # mine\ntop-k = 5\n", ["defaults"], "seed", 1)
    '[defaults]  # mine\ntop-k = 5\nseed = 1\n'

    Args:
        text: valid TOML.
        table: the names of the table, the outermost first.
        key: of the option, as it is spelled in the file.
        value: a TOML value.

    Returns:
        The new text; None where it is written in a way that this simple editor does not understand.
    """
    lines = text.splitlines()
    start = _header(lines, table)
    line = f"{_key(key)} = {toml_value(value)}"
    if start is None:
        gap = [""] if lines else []
        new = [*lines, *gap, f"[{'.'.join(map(_key, table))}]", line]
    else:
        end = next((n for n in range(start, len(lines)) if HEADER.match(lines[n])), len(lines))
        spelled = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
        at = next((n for n in range(start, end) if spelled.match(lines[n])), None)
        if at is None:
            while end > start and not lines[end - 1].strip():
                end -= 1
            at, stop = end, end
        else:
            stop = at + 1
        new = [*lines[:at], *([] if value is None else [line]), *lines[stop:]]
    result = "".join(f"{line}\n" for line in new)
    return result if _is_as_wanted(text, result, table, key, value) else None


def _header(lines: Sequence[str], table: Sequence[str]) -> int | None:
    """The number of the line after the table's header."""
    names = r"\s*\.\s*".join(rf"""["']?{re.escape(name)}["']?""" for name in table)
    header = re.compile(rf"\s*\[\s*{names}\s*\]\s*(#.*)?")
    return next((n + 1 for n, line in enumerate(lines) if header.fullmatch(line)), None)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def _is_as_wanted(
    before: str, after: str, table: Sequence[str], key: str, value: object | None
) -> bool:
    wanted: dict[str, Any] = tomllib.loads(before)
    inner = wanted
    for name in table:
        inner = inner.setdefault(name, {})
    if value is None:
        inner.pop(key, None)
    else:
        inner[key] = value
    try:
        return tomllib.loads(after) == wanted
    except ValueError:
        return False
