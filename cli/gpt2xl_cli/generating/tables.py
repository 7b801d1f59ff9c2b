"""What --logprobs and --stats print, for people."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gpt2xl_cli.reporting.token_names import token_name

if TYPE_CHECKING:
    from gpt2xl import Generation, Logprobs, Tokenizer

Row = tuple[str, str, str, str]
HEADS = ("token", "logprob", "prob", "alternatives")


def logprob_lines(generation: "Generation", tokenizer: "Tokenizer") -> Iterator[str]:
    """A table of the tokens that have log-probabilities, those of the prompt first."""
    rows: list[Row] = [HEADS]
    for ids, logprobs in (
        (generation.prompt_ids, generation.prompt_logprobs),
        (generation.new_ids, generation.logprobs),
    ):
        # A text healed at its prompt has fewer prompt log-probabilities than ids.
        for token_id, found in zip(ids, logprobs or (), strict=False):
            rows.append(_row(token_id, found, tokenizer))
    if len(rows) == 1:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for token, logprob, probability, alternatives in rows:
        yield (
            f"{token:{widths[0]}}  {logprob:>{widths[1]}}  {probability:>{widths[2]}}  {alternatives}"
        ).rstrip()


def _row(token_id: int, logprobs: "Logprobs | None", tokenizer: "Tokenizer") -> Row:
    token = token_name(token_id, tokenizer)
    if logprobs is None:
        return token, "", "", ""
    alternatives = (
        f"{token_name(other, tokenizer)} {_percent(value)}" for other, value in logprobs.top
    )
    return token, f"{logprobs.token:.3f}", _percent(logprobs.token), "  ".join(alternatives)


def _percent(logprob: float) -> str:
    return f"{math.exp(logprob):.1%}"


def stats_line(generation: "Generation") -> str:
    """Number of tokens, speed, accepted draft tokens and the reason of the end."""
    from gpt2xl.errors import counted

    timings, drafts = generation.timings, generation.guesses
    parts = [counted(len(generation.new_ids), "token"), f"first after {timings.prompt:.2f} s"]
    if timings.tokens_per_second:
        parts.append(f"then {timings.tokens_per_second:.1f} tokens/s")
    parts.append(f"{drafts.accepted} of {drafts.guessed} draft tokens accepted")
    reason: str = generation.finish_reason
    if generation.stop_string is not None:
        reason += f" {generation.stop_string!r}"
    parts.append(f"ended by {reason}")
    if generation.seed is not None:
        parts.append(f"seed {generation.seed}")
    return ", ".join(parts) + "."
