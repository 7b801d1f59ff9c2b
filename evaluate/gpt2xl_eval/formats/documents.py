"""Cut the text of a data set into documents."""

import re
from collections.abc import Callable, Mapping


def articles(text: str) -> list[str]:
    r"""WikiText's articles, each from a heading of the first level; blank lines before the first are left out.

    Source: `_generate_examples` of EleutherAI's wikitext_document_level, from which lm-evaluation-harness reads its pages.
    The line end before a heading belongs to no article.

    >>> articles(" \n = One = \n a \n = = Part = = \n b \n = Two = \n c \n")
    [' = One = \n a \n = = Part = = \n b ', ' = Two = \n c \n']
    """
    found, lines = list[str](), list[str]()
    for line in text.split("\n"):
        if _is_heading(line):
            if "".join(lines).strip():
                found.append("\n".join(lines))
            lines = []
        lines.append(line)
    return [*found, "\n".join(lines)]


def _is_heading(line: str) -> bool:
    marked = line.replace("= = =", "===").replace("= =", "==").strip()
    return marked.startswith("= ") and marked.endswith(" =")


def lines(text: str) -> list[str]:
    r"""Each line with its line end; blank lines are left out.

    >>> lines("a b\n\nc")
    ['a b\n', 'c']
    """
    return [line for line in re.findall(r"[^\n]*\n|[^\n]+", text) if line.strip()]


def one(text: str) -> list[str]:
    """The text as it is."""
    return [text]


CUTS: Mapping[str, Callable[[str], list[str]]] = {
    "one": one,
    "articles": articles,
    "lines": lines,
}
