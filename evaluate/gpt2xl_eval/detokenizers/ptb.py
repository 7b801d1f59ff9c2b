r"""The Penn Treebank as Mikolov et al. 2010 distribute it: lower case, no punctuation, numbers as ``N``, rare words as ``<unk>``.

Sources: the Treebank's tokenizer (endings as words of their own, ``\/`` for "/"), and the de-tokenizers of Megatron-LM
(``tasks/zeroshot_gpt/detokenizer.py``) and SEDD (``data.py``), which write endings, ``$ N`` and ``# N`` as one word and ``N``
as 1. SEDD's "?" for ``<unk>`` is not taken over: it cannot be undone.
"""

import re

from gpt2xl_eval.detokenizers.detokenizer import by_line, text_of

ENDINGS = frozenset(("n't", "'s", "'re", "'ve", "'ll", "'d", "'m", "'"))
ENDING = re.compile(r"(?<=\S)(n't|'(?:s|re|ve|ll|d|m)?)(?!\S)")
CURRENCY = ("$", "#")
NUMBER_OF_CURRENCY = re.compile(r"([$#])1(?!\S)")


def line_to_text(line: str) -> str:
    r"""The text of a line of tokens.

    >>> line_to_text(r" the bank 's bid was n't $ N million and\/or N N of <unk> ")
    "the bank's bid wasn't $1 million and/or 1 1 of <unk>"
    """
    tokens = line.split()
    after_currency = [False, *(token.endswith(CURRENCY) for token in tokens)]
    joined = [
        token in ENDINGS or (token == "N" and is_after)
        for token, is_after in zip(tokens, after_currency, strict=False)
    ]
    return text_of(tokens, joined, text_to_tokens, _spelled)


def text_to_tokens(line: str) -> list[str]:
    r"""The tokens of a line of text.

    >>> " ".join(text_to_tokens("the bank's bid wasn't $1 million and/or 1 1 of <unk>"))
    "the bank 's bid was n't $ N million and\\/or N N of <unk>"
    """
    words = NUMBER_OF_CURRENCY.sub(r"\1 1", ENDING.sub(r" \1", line)).split()
    return ["N" if word == "1" else word.replace("/", r"\/") for word in words]


def _spelled(token: str) -> str:
    return "1" if token == "N" else token.replace(r"\/", "/")


PTB = by_line("ptb", line_to_text, text_to_tokens)
