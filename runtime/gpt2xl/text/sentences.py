"""Where sentences end, as far as a text shows without its grammar."""

import re

CONSIDERED = 80
"""Last characters of a text that decide."""
_MARK = re.compile(r"""[.!?\u2026]["'\u201d\u2019\u00bb)\]*_]*(\s*)$""")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|vs|[A-HJ-Z])\.\s*$")


def ends_between(text: str, following: str) -> bool:
    r"""Whether a sentence, or a paragraph, of ``text`` is complete where ``following`` comes next.

    What comes next has to be known: it tells an end from the dot in 3.5, and shows quotes that close.

    >>> ends_between("It was late.", " She"), ends_between("at 3.", "5"), ends_between('"No!"', " said")
    (True, False, False)
    >>> ends_between("old Mr.", " Fox"), ends_between("Chapter one\n", "\n")
    (False, True)
    """
    last = text[-CONSIDERED:]
    next_word = following.lstrip()
    if not next_word:
        return following.count("\n") + last.endswith("\n") > 1 or (
            "\n" in following and _MARK.search(last) is not None
        )
    found = _MARK.search(last)
    is_apart = found is not None and (found[1] or following[0].isspace())
    return bool(is_apart) and not next_word[0].islower() and not _ABBREVIATION.search(last)
