"""What lm-evaluation-harness makes of WikiText, for figures that equal its own.

Source: ``lm_eval/tasks/wikitext/preprocess_wikitext.py`` of EleutherAI/lm-evaluation-harness (MIT), the same rules as
Megatron-LM's. They are not invertible: quotes are paired over line ends, and the rule with slashes has no effect on usual text.
"""

import re

from gpt2xl_eval.detokenizers.detokenizer import Detokenizer


def _inside(opening: str, closing: str) -> tuple[str, str]:
    """Spaces at both ends of what stands in brackets or quotes are removed."""
    opened, closed = re.escape(opening), re.escape(closing)
    return rf"{opened}\s*([^{closed}]*?)\s*{closed}", rf"{opening}\1{closing}"


RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("s '", "s'"),
        ("/' [0-9]/", "/'[0-9]/"),
        *((rf" @{re.escape(mark)}@ ", mark) for mark in "-,."),
        *((rf" {re.escape(mark)} ", f"{mark} ") for mark in ":;.!?,"),
        *(_inside(*pair) for pair in ("()", "[]", "{}", '""', "''")),
        *((" ".join("=" * count), "=" * count) for count in (4, 3, 2)),
        (" ° ", "°"),
        (" \n", "\n"),
        ("\n ", "\n"),
        (" N ", " 1 "),
        (" 's", "'s"),
    )
)
"""Applied one after the other to a whole page."""


def detokenize(page: str) -> str:
    """The text of a page.

    >>> detokenize(" He had a guest @-@ starring role ( 2000 ) . ")
    ' He had a guest-starring role (2000). '
    """
    for pattern, replacement in RULES:
        page = pattern.sub(replacement, page)
    return page


LM_EVAL = Detokenizer("lm-eval", detokenize, None)
