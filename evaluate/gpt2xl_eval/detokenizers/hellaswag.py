"""Remove the marks of WikiHow pages from HellaSwag's texts."""

import re


def without_marks(text: str) -> str:
    """``text`` as lm-evaluation-harness prepares it: titles become sentences, other marks in brackets go.

    >>> without_marks(" How to swim [title] Get in. [step] Start  slowly. ")
    'How to swim. Get in. Start slowly.'
    """
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")
