"""Stop strings: they end a text wherever tokens begin and end, and are never half shown."""

from collections.abc import Sequence


class StopStrings:
    """Holds back what may be the beginning of a stop string.

    >>> stops = StopStrings(["END"])
    >>> stops.add("the E"), stops.add("NOUGH E"), stops.add("ND of")
    ('the ', 'ENOUGH ', '')
    >>> stops.found
    'END'

    Args:
        strings: none of them empty.
        keeps_found: whether the stop string that is found stays in the text.
    """

    def __init__(self, strings: Sequence[str], *, keeps_found: bool = False) -> None:
        self._strings, self._keeps_found = strings, keeps_found
        self.found: str | None = None
        """The stop string that ended the text."""
        self.held = ""
        """What `add` has not returned yet."""

    def add(self, text: str) -> str:
        """What may be shown now that ``text`` follows; nothing once a stop string was found."""
        if self.found is not None:
            return ""
        text = self.held + text
        # The first to end, so that it does not depend on where tokens begin.
        places = [(text.find(string), string) for string in self._strings]
        ends = [(at + len(string), at, string) for at, string in places if at >= 0]
        if ends:
            _, start, self.found = min(ends)
            self.held = ""
            return text[: start + len(self.found)] if self._keeps_found else text[:start]
        start = len(text) - max((_overlap(text, string) for string in self._strings), default=0)
        self.held = text[start:]
        return text[:start]

    def finish(self) -> str:
        """What was held back, now that the text ends without it having become a stop string."""
        held, self.held = self.held, ""
        return held


def _overlap(text: str, string: str) -> int:
    """Length of the longest end of ``text`` that ``string`` begins with.

    >>> _overlap("the E", "END"), _overlap("aab", "abc")
    (1, 2)
    """
    longest = min(len(text), len(string) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(string[:size])), 0)
