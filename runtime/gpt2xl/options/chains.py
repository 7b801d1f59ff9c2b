"""From the options of a text to the chain that chooses its tokens."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gpt2xl.constraints.constraint import Constraint
from gpt2xl.constraints.healing import Healing
from gpt2xl.decoding.chain import Chain, checked
from gpt2xl.decoding.guidance import guidance
from gpt2xl.decoding.samplers import Categorical, Mirostat, Sampler, greedy
from gpt2xl.errors import RequestError
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.options.orders import ORDERS, SHAPES
from gpt2xl.processors import biases, endings, mass, penalties, scaling, truncation
from gpt2xl.processors.dry import dry
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.xtc import xtc
from gpt2xl.searches import candidates
from gpt2xl.sessions.protocol import Logits, Session


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
    suppressed: tuple[int, ...] = ()
    """Ids that may not occur."""
    sequence_breakers: frozenset[int] = frozenset()
    """The ids over which DRY does not match."""
    least_kept: int = 1
    """Tokens that every truncation leaves: more than one in beam search, as in transformers."""
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
    accepted = text.grammar.accepted if text.grammar else None
    return Chain(tuple(processor for _, processor in steps), sampler, needed, draft, accepted)


def search_processors(
    options: GenerationOptions, text: TextFacts
) -> tuple[list[LogitsProcessor], list[LogitsProcessor]]:
    """For beams: the processors that always act, and those that shape a draw."""
    steps = dict(_steps(options, text))
    if "temperature" in steps:  # of beams, whose scores are compared
        steps["temperature"] = candidates.temperature(options.temperature)
    always = [processor for name, processor in steps.items() if name not in SHAPES]
    shapes = [processor for name, processor in steps.items() if name in SHAPES]
    return always, [] if options.is_greedy else shapes


def active_processors(options: GenerationOptions, text: TextFacts) -> list[str]:
    """The names of the processors in their order, as ``--verbose`` shows them."""
    return [name for name, _ in _steps(options, text) if _applies(name, options)]


def _steps(options: GenerationOptions, text: TextFacts) -> Iterator[Step]:
    order = (
        ORDERS[options.sampler_order]
        if isinstance(options.sampler_order, str)
        else options.sampler_order
    )
    made = {name: step for name, build in BUILDERS.items() if (step := build(options, text))}
    if left_out := [name for name in made if name not in order and _has_effect(name, options)]:
        raise RequestError(
            f"sampler_order leaves out {left_out[0]}, which is in force: add it to the order, or switch it off."
        )
    names = [name for name in order if name in made]
    if "top_k" in names and not (options.top_k_keeps_ties or options.dynatemp_range):
        # A temperature keeps the order of logits, so that top-k may come first; it leaves far fewer to process.
        at = names.index("top_k")
        if at and names[at - 1] == "temperature":
            names[at - 1 : at + 1] = ["top_k", "temperature"]
    return ((name, made[name]) for name in names)


def _has_effect(name: str, options: GenerationOptions) -> bool:
    is_neutral = name == "temperature" and options.temperature == 1 and not options.dynatemp_range
    return _applies(name, options) and not is_neutral


def _applies(name: str, options: GenerationOptions) -> bool:
    """Whether a processor has an effect: greedy texts are not shaped, and mirostat only by the temperature."""
    if name not in SHAPES:
        return True
    if options.mirostat_tau is not None:
        return name == "temperature"
    # Contrastive search chooses by similarity and does not draw.
    return not options.penalty_alpha and not (options.is_greedy and options.sampler is None)


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


def _one_after_another(processors: Sequence[LogitsProcessor]) -> LogitsProcessor:
    def process(ids: Sequence[int], logits: Logits) -> Logits:
        for processor in processors:
            logits = checked(processor(ids, logits), logits)
        return logits

    return process


NOT_COPIED = frozenset({"processors", "guidance_scale"})
"""May hold state that cannot be copied, or costs a run of the model: draft models go without."""
BUILDERS: dict[str, Builder] = {
    "guidance_scale": lambda o, t: (
        guidance(t.session, t.negative_ids, t.prompt_length, o.guidance_scale)
        if o.guidance_scale != 1
        else None
    ),
    "sequence_bias": lambda o, t: (
        biases.sequence_bias(o.sequence_bias) if o.sequence_bias else None
    ),
    "repetition_penalty": lambda o, t: (
        penalties.repetition_penalty(o.repetition_penalty, o.repetition_window)
        if o.repetition_penalty != 1
        else None
    ),
    "no_repeat_ngram_size": lambda o, t: (
        penalties.no_repeat_ngram(o.no_repeat_ngram_size) if o.no_repeat_ngram_size else None
    ),
    "bad_words_ids": lambda o, t: (
        biases.bad_words_ids(o.bad_words_ids, t.eos_token_ids) if o.bad_words_ids else None
    ),
    "min_length": lambda o, t: (
        endings.min_length(o.min_length, t.eos_token_ids)
        if o.min_length and t.eos_token_ids
        else None
    ),
    "min_new_tokens": lambda o, t: (
        endings.min_new_tokens(o.min_new_tokens, t.eos_token_ids, t.prompt_length)
        if o.min_new_tokens and t.eos_token_ids
        else None
    ),
    "forced_eos_token_id": lambda o, t: (
        endings.forced_eos_token_id((o.forced_eos_token_id,), t.max_length)
        if o.forced_eos_token_id is not None
        else None
    ),
    "exponential_decay_length_penalty": lambda o, t: (
        endings.exponential_decay_length_penalty(
            *o.exponential_decay_length_penalty, t.eos_token_ids, t.prompt_length
        )
        if o.exponential_decay_length_penalty and t.eos_token_ids
        else None
    ),
    "suppress_tokens": lambda o, t: biases.suppress_tokens(t.suppressed) if t.suppressed else None,
    "begin_suppress_tokens": lambda o, t: (
        biases.begin_suppress_tokens(o.begin_suppress_tokens, t.prompt_length)
        if o.begin_suppress_tokens
        else None
    ),
    "presence_penalty": lambda o, t: (
        penalties.presence_penalty(o.presence_penalty, t.prompt_length)
        if o.presence_penalty
        else None
    ),
    "frequency_penalty": lambda o, t: (
        penalties.frequency_penalty(o.frequency_penalty, t.prompt_length)
        if o.frequency_penalty
        else None
    ),
    "dry_multiplier": lambda o, t: (
        dry(o.dry_multiplier, o.dry_base, o.dry_allowed_length, t.sequence_breakers, o.dry_window)
        if o.dry_multiplier
        else None
    ),
    "logit_bias": lambda o, t: biases.logit_bias(o.logit_bias) if o.logit_bias else None,
    "allowed_token_ids": lambda o, t: (
        biases.allowed_token_ids((*o.allowed_token_ids, *t.eos_token_ids))
        if o.allowed_token_ids
        else None
    ),
    "processors": lambda o, t: _one_after_another(o.processors) if o.processors else None,
    "grammar": lambda o, t: t.grammar,
    "token_healing": lambda o, t: t.token_healing,
    "temperature": _temperature,
    "top_h": lambda o, t: mass.top_h(o.top_h) if o.top_h is not None else None,
    "top_k": lambda o, t: (
        truncation.top_k(o.top_k, keeps_ties=o.top_k_keeps_ties) if o.top_k else None
    ),
    "top_p": lambda o, t: mass.top_p(o.top_p, t.least_kept) if o.top_p < 1 else None,
    "min_p": lambda o, t: truncation.min_p(o.min_p, t.least_kept) if o.min_p else None,
    "typical_p": lambda o, t: (
        mass.typical_p(o.typical_p, t.least_kept) if o.typical_p < 1 else None
    ),
    "epsilon_cutoff": lambda o, t: (
        truncation.epsilon_cutoff(o.epsilon_cutoff, t.least_kept) if o.epsilon_cutoff else None
    ),
    "eta_cutoff": lambda o, t: (
        truncation.eta_cutoff(o.eta_cutoff, t.least_kept) if o.eta_cutoff else None
    ),
    "top_n_sigma": lambda o, t: truncation.top_n_sigma(o.top_n_sigma) if o.top_n_sigma else None,
    "xtc_probability": lambda o, t: (
        xtc(o.xtc_probability, o.xtc_threshold, t.seed or 0) if o.xtc_probability else None
    ),
    "renormalize_logits": lambda o, t: scaling.renormalize() if o.renormalize_logits else None,
}
"""By name of the processor: what makes it, or None where the options do not ask for it."""
