"""The One Billion Word Benchmark: Moses' rules.

Source: Chelba et al. 2013, section 2, and ciprian-chelba/1-billion-word-language-modeling-benchmark, whose scripts run the
Moses tokenizer for English. Hyphens and numbers are not split.
"""

from gpt2xl_eval.detokenizers.detokenizer import by_line, text_of
from gpt2xl_eval.detokenizers.moses import joined, split


def line_to_text(line: str) -> str:
    """The text of a line of tokens.

    >>> line_to_text('He paid $ 1,000 for " Crazy Talk : Oprah & You . "')
    'He paid $1,000 for "Crazy Talk: Oprah & You."'
    >>> line_to_text("See http : / / www.example.com ( in English ) .")
    'See http://www.example.com (in English).'
    """
    tokens = line.split()
    return text_of(tokens, joined(tokens), split)


ONE_BILLION = by_line("1bw", line_to_text, split)
