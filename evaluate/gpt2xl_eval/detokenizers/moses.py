"""The English rules of the Moses tokenizer, with which WikiText and the One Billion Word Benchmark were made.

Source: ``scripts/tokenizer/tokenizer.perl`` and ``share/nonbreaking_prefixes/nonbreaking_prefix.en`` of
moses-smt/mosesdecoder. Only the rules are taken that act on what `joined` joins; characters that it leaves alone stand between
spaces already.
"""

import re
from collections.abc import Iterator, Sequence

PREFIXES = frozenset((
    "Adj", "Adm", "Adv", "Asst", "Bart", "Bldg", "Brig", "Bros", "Capt", "Cmdr", "Col",
    "Comdr", "Con", "Corp", "Cpl", "DR", "Dr", "Drs", "Ens", "Gen", "Gov", "Hon", "Hr",
    "Hosp", "Insp", "Lt", "MM", "MR", "MRS", "MS", "Maj", "Messrs", "Mlle", "Mme", "Mr",
    "Mrs", "Ms", "Msgr", "Op", "Ord", "Pfc", "Ph", "Prof", "Pvt", "Rep", "Reps", "Res",
    "Rev", "Rt", "Sen", "Sens", "Sfc", "Sgt", "Sr", "St", "Supt", "Surg", "v", "vs", "i.e",
    "rev", "e.g", "Nos", "Nr",
))  # fmt: skip
"""Words that keep their full stop; so does any capital letter."""
BEFORE_NUMBERS = frozenset(("No", "Art", "pp"))
"""Words that keep it before a digit."""

ENDINGS = frozenset(("d", "ll", "m", "re", "s", "t", "ve"))
"""What follows an apostrophe in English; curly apostrophes are tokens, too."""
UNKNOWN = ("<unk>", "<formula>")
"""Words that count as letters: they were put in after the text had been tokenized."""
EN_DASH, CURLY_APOSTROPHE = "\N{EN DASH}", "\N{RIGHT SINGLE QUOTATION MARK}"
LEFT = frozenset(
    f",;:!?%)]}}{CURLY_APOSTROPHE}\N{RIGHT DOUBLE QUOTATION MARK}\N{PRIME}\N{DOUBLE PRIME}"
    "\N{MUSIC FLAT SIGN}\N{MUSIC SHARP SIGN}"
)
"""Tokens that are joined to the one before."""
RIGHT = frozenset("([{\N{LEFT DOUBLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}")
"""Tokens that are joined to the one after."""
BETWEEN = frozenset("/°\N{EM DASH}\N{NON-BREAKING HYPHEN}")
"""Tokens that are joined to both."""
CURRENCY = frozenset("$£€¥₹#")
"""Tokens that are joined to a number after them."""
PUNCTUATION = re.escape(
    "".join(sorted((LEFT - {","}) | RIGHT | BETWEEN | CURRENCY | {'"', EN_DASH}))
)
"""Each is a token wherever it stands. Moses says so of all but letters, digits and ``.'`,-``."""
SEPARATED = re.compile(rf"@[-,.]@|\.\.+|[{PUNCTUATION}]|(?<!\d),|,(?!\d)")


def split(line: str) -> list[str]:
    """The tokens of a line of text.

    >>> " ".join(split("Dr. Hall's book (2005) didn't cost $1,000."))
    "Dr. Hall 's book ( 2005 ) didn 't cost $ 1,000 ."
    """
    return split_stops(split_but_stops(line))


def split_but_stops(line: str) -> str:
    """The line with spaces around its tokens, but for full stops at the end of words."""
    return re.sub("'", _apostrophe, SEPARATED.sub(r" \g<0> ", line))


def split_stops(line: str) -> list[str]:
    """The tokens of what `split_but_stops` returns."""
    words = line.split()
    found = list[str]()
    for word, following in zip(words, [*words[1:], ""], strict=False):
        found += [word] if keeps_stop(word, following) else [word[:-1], "."]
    return found


def keeps_stop(word: str, following: str) -> bool:
    """Whether a full stop at the end of ``word`` belongs to it, or there is none; ``following`` is the next token.

    >>> keeps_stop("U.S.", "The"), keeps_stop("etc.", "and"), keeps_stop("play.", "He")
    (True, True, False)
    """
    stem = word[:-1]
    return (
        not word.endswith(".")
        or stem.endswith(".")
        or not stem
        or (len(stem) == 1 and stem.isupper())
        or stem in PREFIXES
        or (stem in BEFORE_NUMBERS and following[:1].isdigit())
        or ("." in stem and any(map(str.isalpha, stem)))
        or following[:1].islower()
    )


def joined(tokens: Sequence[str]) -> list[bool]:
    """Whether people write a token without a space before it, of each.

    The rules, with the de-tokenizers that have them, too: punctuation, brackets, quotes and endings such as 's (Megatron,
    SEDD), currency before a number and "/" (SEDD), "°" (Megatron). Ours alone: percent, primes, curly quotes, dashes, and
    colons between digits.
    """
    to_next = [False, *(token in RIGHT for token in tokens)]
    to_last = [token in LEFT or token == "." for token in tokens]
    for at, is_opening in _quotes(tokens):
        if is_opening:
            to_next[at + 1] = True
        else:
            to_last[at] = True
    pairs = zip(["", *tokens], tokens, strict=False)
    return [
        at > 0 and (to_last[at] or to_next[at] or _belong_together(*pair, tokens, at))
        for at, pair in enumerate(pairs)
    ]


def _belong_together(before: str, token: str, tokens: Sequence[str], at: int) -> bool:
    first, last = token[0], before[-1:]
    if not {before, token}.isdisjoint(BETWEEN):
        return True
    if token.startswith("'") and token[1:].isalpha():
        return last.isalpha() or before in UNKNOWN or (last.isdigit() and token == "'s")
    if before in CURRENCY:
        return first.isdigit() or token in UNKNOWN
    if before in (EN_DASH, ":"):
        return at > 1 and tokens[at - 2][-1].isdigit() and first.isdigit()
    if before == CURLY_APOSTROPHE:
        return token in ENDINGS
    return (
        token == EN_DASH
        and last.isdigit()
        and any(following[0].isdigit() for following in tokens[at + 1 : at + 2])
    )


def _quotes(tokens: Sequence[str]) -> Iterator[tuple[int, bool]]:
    """The places of straight quotes and apostrophes, and whether each opens what is quoted."""
    is_open = {'"': False, "'": False}
    left = tokens.count("'")
    for at, token in enumerate(tokens):
        if token not in is_open:
            continue
        left -= token == "'"
        follows_s = token == "'" and at > 0 and tokens[at - 1].endswith("s")
        if follows_s and (left > 0 or not is_open["'"]):
            yield at, False  # the players' ball
        else:
            is_open[token] = not is_open[token]
            yield at, is_open[token]


def _apostrophe(match: re.Match[str]) -> str:
    text, at = match.string, match.start()
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    letter_follows = after.isalpha() or text.startswith(UNKNOWN, at + 1)
    if before.isalpha() or text.endswith(UNKNOWN, 0, at):
        return " '" if letter_follows else " ' "
    if before.isdigit() and letter_follows:
        return " '" if after == "s" else "'"
    return " ' "
