"""Turn the tokens of Stanford CoreNLP, and of the Penn Treebank, into text as people write it.

CBT and the plain text of LAMBADA were split by CoreNLP. These rules are our own; the authors of GPT-2 have not published
theirs. They lose what the tokens do not say, such as on which side of a single quote the space was.
"""

import re

BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}
QUOTES = {"``": '"', "''": '"', "`": "'"}
WRITTEN = {name.lower(): text for name, text in (BRACKETS | QUOTES).items()}
OPENING = frozenset(("``", "`", "-lrb-", "-lsb-", "-lcb-", "(", "[", "{", "$", "#", "£"))
CLOSING = frozenset(("''", "'", "-rrb-", "-rsb-", "-rcb-", ")", "]", "}", "%"))
SUFFIXES = frozenset(("n't", "'s", "'m", "'d", "'re", "'ve", "'ll"))
ESCAPED = re.compile(r"\\([/*])")
PUNCTUATION = re.compile(r"[,;:?!]+|\.+")
WORDS_SPLIT_IN_TWO = re.compile(r"\b(gon|wan) (na)\b|\b(got) (ta)\b|\b(gim|lem) (me)\b", re.I)


def rejoined(text: str) -> str:
    r"""Text from tokens with spaces between them.

    >>> rejoined("`` You 've seen it -LRB- the cat -RRB- , have n't you ? '' he said .")
    '"You\'ve seen it (the cat), haven\'t you?" he said.'
    """
    pieces, is_glued = list[str](), True
    for token in text.split():
        name = token.lower()
        if not is_glued and not _joins_the_one_before(name):
            pieces.append(" ")
        pieces.append(ESCAPED.sub(r"\1", WRITTEN.get(name, token)))
        is_glued = name in OPENING
    joined = "".join(pieces)
    return WORDS_SPLIT_IN_TWO.sub(lambda found: "".join(filter(None, found.groups())), joined)


def _joins_the_one_before(token: str) -> bool:
    return token in CLOSING or token in SUFFIXES or bool(PUNCTUATION.fullmatch(token))
