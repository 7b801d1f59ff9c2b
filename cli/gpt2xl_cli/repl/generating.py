"""Run the generations of a prompt: stream them, and keep what came where one is interrupted."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpt2xl import Generation, GenerationOptions, Gpt2xlError, Model, Stream
from gpt2xl.searching import is_search
from gpt2xl_cli.repl.state import ReplState, Turn
from gpt2xl_cli.signals import on_interrupt

Write = Callable[[str], None]


@dataclass(frozen=True)
class Alternative:
    """A token that could stand at a place."""

    id: int
    probability: float
    """The model's own, before any processor."""


def run_turn(model: Model, state: ReplState, turn: Turn, write: Write) -> Generation | None:
    """Generate, write the text piece by piece, and add it to the state.

    Ctrl-C ends the generation, and what came is kept. Beam search and contrastive search give nothing before their end.

    Returns:
        The generation; None where a search was interrupted.

    Raises:
        Gpt2xlError: of the model; what came before it is kept.
    """
    if is_search(turn.options):
        return _searched(model, state, turn, write)
    stream = model.stream(turn.prompt, turn.options)
    written = 0
    try:
        with on_interrupt(stream.cancel):
            for piece in stream:
                write(piece.text)
                written += len(piece.text)
    except Gpt2xlError:
        new_count = len(stream.ids)
        if new_count:
            _keep(state, turn, stream, new_count, None)
        raise
    found = stream.result()
    write(found.text[written:])  # what was held back
    if found.text:
        cut_text = None if found.stop_string is None else found.text
        _keep(state, turn, stream, len(found.new_ids), cut_text)
    return found


def alternatives(
    model: Model, prompt: Sequence[int], chosen: int | None, count: int
) -> list[Alternative]:
    """The most probable tokens after ``prompt``.

    Args:
        model: runs one step, or the part of the prompt that its cache does not hold.
        prompt: at most the context.
        chosen: an id that comes last where it is not among them.
        count: how many.
    """
    options = GenerationOptions(
        max_new_tokens=1, logprobs=count, prompt_lookup=False, eos_token_id=(), greedy=chosen is None,
        sampler=None if chosen is None else lambda _: chosen,
    )  # fmt: skip
    logprobs = next(piece.logprobs for piece in model.stream(prompt, options))
    assert logprobs is not None
    pairs = list(logprobs.top)
    if chosen is not None and chosen not in dict(pairs):
        pairs.append((chosen, logprobs.token))
    return [Alternative(token_id, math.exp(logprob)) for token_id, logprob in pairs]


def _keep(
    state: ReplState, turn: Turn, stream: Stream, new_count: int, cut_text: str | None
) -> None:
    ids = stream.all_ids
    kept = len(ids) - new_count
    healed = len(turn.prompt) - kept
    state.add_generation(turn, ids[kept:], stream.seed, healed=healed, cut_text=cut_text)


def _searched(model: Model, state: ReplState, turn: Turn, write: Write) -> Generation | None:
    try:
        with on_interrupt(_interrupt):
            found = model.generate(turn.prompt, turn.options)
    except KeyboardInterrupt:
        return None
    write(found.text)
    cut_text = None if found.stop_string is None else found.text
    state.add_generation(turn, found.new_ids, found.seed, cut_text=cut_text)
    return found


def _interrupt() -> None:
    raise KeyboardInterrupt
