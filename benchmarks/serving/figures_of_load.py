"""Figures of many streamed texts, and their tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from timing import Text


@dataclass(frozen=True)
class Figures:
    """Of one case in one round."""

    tokens_per_second: float
    """New tokens of all texts, from the first request to the last token."""
    first: float
    """Median seconds to the first token."""
    first_p99: float
    between: float
    """Median seconds between two tokens."""
    between_p99: float
    between_max: float

    @classmethod
    def of(
        cls,
        texts: Sequence[Text],
        others: Sequence[Text] = (),
        within: tuple[float, float] = (-np.inf, np.inf),
    ) -> "Figures":
        """Of ``texts``.

        Args:
            texts: whose first tokens count.
            others: whose gaps count in place of theirs.
            within: the span of time whose gaps count.
        """
        every = [*texts, *others]
        seconds = max(text.times[-1] for text in every) - min(text.asked for text in every)
        firsts = [text.first for text in texts]
        gaps = [
            gap
            for text in others or texts
            for end, gap in text.gaps
            if end >= within[0] and end - gap <= within[1]
        ]
        return cls(
            sum(text.tokens for text in every) / seconds,
            *(float(np.percentile(firsts, share)) for share in (50, 99)),
            *(float(np.percentile(gaps, share)) for share in (50, 99, 100)),
        )


def medians(rounds: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Of each figure over the rounds."""
    return {
        case: Figures(
            **{
                name: float(np.median([asdict(each[case])[name] for each in rounds]))
                for name in asdict(rounds[0][case])
            }
        )
        for case in rounds[0]
    }


def table(found: Mapping[str, Mapping[str, Figures]]) -> str:
    """Markdown: a row for each case and server."""
    lines = [
        "| case | server | tokens/s | first token, ms | p99 | between tokens, ms | p99 | longest |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for case in next(iter(found.values())):
        for server, cases in found.items():
            values = asdict(cases[case])
            rate = values.pop("tokens_per_second")
            shown = " | ".join(f"{1000 * value:.0f}" for value in values.values())
            lines.append(f"| {case} | {server} | {rate:.1f} | {shown} |")
    return "\n".join(lines)
