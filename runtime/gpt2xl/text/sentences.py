"""Where sentences end, as far as a text shows without its grammar."""

import re

CONSIDERED = 400
"""Last characters of a text that decide."""
_MARK = re.compile(r"""[.!?\u2026]["'\u201d\u2019\u00bb)\]*_]*(\s*)$""")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|vs|[A-HJ-Z])\.\s*$")
_OPENING = re.compile(
    r"""[\u201c\u2018]|(?:(?<=[\s(\[\u201c\u2018\u2014"'])|^)["'](?=[\w"'\u201c\u2018(\u2026])"""
)
_CLOSING = re.compile(r"""\u201d|(?<=\S)["'\u2019](?!\w)""")
_ELISION = re.compile(r"['\u2018\u2019](?:tis|twas|em)\b", re.IGNORECASE)
_DOUBLE = '"\u201c\u201d'


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
    if not next_word and following.count("\n") + last.endswith("\n") > 1:
        return True
    found = _MARK.search(last)
    if found is None or not following:
        return False
    if not next_word:
        return "\n" in following
    is_apart = found[1] or following[0].isspace()
    return bool(is_apart) and not next_word[0].islower() and not _ABBREVIATION.search(last)


def is_quoting(text: str) -> bool:
    """Whether ``text`` ends within quotation marks that its last paragraph has opened.

    An apostrophe in a word is no mark. One before a word, as in 'cause, passes for an opening mark, and one after it, as in
    the kings' gold, for a closing one.

    >>> is_quoting('"Come. '), is_quoting('He said, "Come." '), is_quoting("I don't. ")
    (True, False, False)
    """
    paragraph = text[-CONSIDERED:].rpartition("\n\n")[2]
    is_open = {"double": False, "single": False}
    for place, character in enumerate(paragraph):
        kind = "double" if character in _DOUBLE else "single"
        if _ELISION.match(paragraph, place):
            continue
        if _OPENING.match(paragraph, place):
            is_open[kind] = True
        elif _CLOSING.match(paragraph, place):
            is_open |= {"single": False, kind: False}
    return any(is_open.values())
