"""WikiText: Moses' rules, infixes between letters or digits, and headings.

Source: Merity et al. 2016, section 4.3, and the files. ``@-@`` is Moses' "aggressive hyphen splitting"; ``@,@`` and ``@.@``
stand inside numbers.
"""

import re

from gpt2xl_eval.detokenizers.detokenizer import by_line, text_of
from gpt2xl_eval.detokenizers.moses import joined, split_but_stops, split_stops

INFIXES = {"@-@": "-", "@,@": ",", "@.@": "."}
HYPHEN = re.compile(r"(?:(?<=[^\W_])|(?<=<unk>)|(?<=<formula>))-(?=[^\W_]|<unk>|<formula>)")
SEPARATOR = re.compile(r"(?:(?<=\d)|(?<=<unk>))([.,])(?=\d+(?![^\W_])|<unk>)")
"""Of decimals or thousands. After the token "," there is a space, or a character that is neither a digit nor ``<unk>``."""
HEADING = re.compile(r"(=(?: =)*) (.+) \1")
TEXT_HEADING = re.compile(r"(=+) (.+) \1")


def line_to_text(line: str) -> str:
    """The text of a line of tokens.

    >>> line_to_text(" = = Early life = = ")
    '== Early life =='
    >>> line_to_text(" <unk> 's two @-@ part debut ( 2005 ) sold 1 @,@ 500 copies . ")
    "<unk>'s two-part debut (2005) sold 1,500 copies."
    """
    line = " ".join(line.split())
    if heading := HEADING.fullmatch(line):
        marks = heading[1].replace(" ", "")
        return f"{marks} {_sentence(heading[2])} {marks}"
    return _sentence(line)


def text_to_tokens(line: str) -> list[str]:
    """The tokens of a line of text.

    >>> " ".join(text_to_tokens("== Early life =="))
    '= = Early life = ='
    """
    if heading := TEXT_HEADING.fullmatch(line):
        return [*heading[1], *_tokens(heading[2]), *heading[1]]
    return _tokens(line)


def _sentence(line: str) -> str:
    tokens = line.split()
    is_infix = [token in INFIXES for token in tokens]
    after_infix = [False, *is_infix]
    glued = [a or b or c for a, b, c in zip(joined(tokens), is_infix, after_infix, strict=False)]
    return text_of(tokens, glued, _tokens, lambda token: INFIXES.get(token, token))


def _tokens(line: str) -> list[str]:
    infixes = SEPARATOR.sub(r" @\1@ ", HYPHEN.sub(" @-@ ", line))
    return split_stops(split_but_stops(infixes))


WIKITEXT = by_line("wikitext", line_to_text, text_to_tokens)
