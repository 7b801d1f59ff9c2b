"""From the options of a text to the chain that chooses its tokens."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.guidance import guidance
from gpt2xl.decoding.samplers import Categorical, Mirostat, Sampler, greedy
from gpt2xl.errors import RequestError
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.options.orders import ORDERS, SHAPES
from gpt2xl.processors import bans, biases, penalties, scaling, truncation
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.sessions.protocol import Session


@dataclass(frozen=True)
class TextFacts:
    """What processors have to know of a text beside the options."""

    prompt_length: int
    max_length: int
    """Tokens of prompt and text at most."""
    eos_token_ids: frozenset[int]
    session: Session
    negative_ids: Sequence[int]
    """The negative prompt of classifier-free guidance."""
    seed: int | None
    """None where nothing is drawn."""
    tokenizer: Tokenizer
    grammar: Constraint | None = None
    token_healing: Healing | None = None


Step = tuple[str, LogitsProcessor]
Builder = Callable[[GenerationOptions, TextFacts], LogitsProcessor | None]


def make_chain(options: GenerationOptions, text: TextFacts) -> Chain:
    """What chooses the tokens of one text.

    Raises:
        RequestError: ``sampler_order`` leaves out an option that is given.
    """
    steps = [step for step in _steps(options, text) if _applies(step[0], options)]
    sampler = _sampler(options, text.seed)
    names = {name for name, _ in steps}
    needed = 0
    if options.sampler is None and names <= set(SHAPES):
        needed = 1 if options.is_greedy else _needed(steps, options)
    draft = None
    if names & NOT_COPIED or options.sampler:
        kept = tuple(processor for name, processor in steps if name not in NOT_COPIED)
        draft = Chain(kept, greedy if options.sampler else sampler)
    return Chain(tuple(processor for _, processor in steps), sampler, needed, draft)


def search_processors(
    options: GenerationOptions, text: TextFacts
) -> tuple[list[LogitsProcessor], list[LogitsProcessor]]:
    """For beams: the processors that always act, and those that shape a draw."""
    steps = list(_steps(options, text))
    always = [processor for name, processor in steps if name not in SHAPES]
    shapes = [processor for name, processor in steps if name in SHAPES]
    return always, [] if options.is_greedy else shapes


def active_processors(options: GenerationOptions, text: TextFacts) -> list[str]:
    """The names of the processors in their order, as ``--verbose`` shows them."""
    return [name for name, _ in _steps(options, text) if _applies(name, options)]


def _steps(options: GenerationOptions, text: TextFacts) -> Iterator[Step]:
    order = ORDERS[options.sampler_order] if isinstance(options.sampler_order, str) else options.sampler_order
    made = {name: step for name, build in BUILDERS.items() if (step := build(options, text))}
    if left_out := [name for name in made if name not in order and _applies(name, options)]:
        raise RequestError(
            f"sampler_order leaves out {left_out[0]}, which is given: add it to the order, or do not give it."
        )
    names = [name for name in order if name in made]
    if "top_k" in names and not options.top_k_keeps_ties:
        # A temperature keeps the order of logits, so that top-k may come first; it leaves far fewer to process.
        at = names.index("top_k")
        if at and names[at - 1] == "temperature":
            names[at - 1 : at + 1] = ["top_k", "temperature"]
    return ((name, made[name]) for name in names)


def _applies(name: str, options: GenerationOptions) -> bool:
    """Whether a processor has an effect: greedy texts are not shaped, and mirostat only by the temperature."""
    if name not in SHAPES:
        return True
    if options.mirostat_tau is not None:
        return name == "temperature"
    return not (options.is_greedy and options.sampler is None)


def _needed(steps: Sequence[Step], options: GenerationOptions) -> int:
    """How many of the largest logits are enough: top-k first leaves no others."""
    first = steps[0][0] if steps else ""
    return options.top_k if first == "top_k" and not options.top_k_keeps_ties else 0


def _sampler(options: GenerationOptions, seed: int | None) -> Sampler:
    if options.sampler:
        return options.sampler
    if options.is_greedy:
        return greedy
    if options.mirostat_tau is not None:
        return Mirostat(seed or 0, options.mirostat_tau, options.mirostat_eta)
    return Categorical(seed or 0)


def _temperature(options: GenerationOptions, text: TextFacts) -> LogitsProcessor | None:
    if options.temperature == 0:
        return None
    if options.dynatemp_range:
        return scaling.dynamic_temperature(
            options.temperature, options.dynatemp_range, options.dynatemp_exponent
        )
    return scaling.temperature(options.temperature)


def _user(options: GenerationOptions, text: TextFacts) -> LogitsProcessor | None:
    if not options.processors:
        return None
    return options.processors[0] if len(options.processors) == 1 else one_after_another(options.processors)


def one_after_another(processors: Sequence[LogitsProcessor]) -> LogitsProcessor:
    ...


NOT_COPIED = frozenset({"processors", "guidance_scale"})
"""May hold state that cannot be copied, or costs a run of the model: draft models go without."""
BUILDERS: dict[str, Builder] = {
    "guidance_scale": lambda o, t: (
        guidance(t.session, t.negative_ids, t.prompt_length, o.guidance_scale) if o.guidance_scale != 1 else None
    ),
    "sequence_bias": lambda o, t: biases.sequence_bias(o.sequence_bias) if o.sequence_bias else None,
    "repetition_penalty": lambda o, t: (
        penalties.repetition_penalty(o.repetition_penalty, o.repetition_window) if o.repetition_penalty != 1 else None
    ),
}
