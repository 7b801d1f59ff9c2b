"""Tables for terminals and for Markdown."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], right: int) -> list[str]:
    """Columns to the left, from number ``right`` on to the right.

    >>> aligned([("", "value"), ("text8", "0.98")], right=1)
    ['       value', 'text8   0.98']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:{'>' if number >= right else '<'}{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def markdown_row(cells: Sequence[str]) -> str:
    r"""A row of a Markdown table.

    >>> markdown_row(["a|b", "1"])
    '| a\\|b | 1 |'
    """
    escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |"
