"""Every option of a text. Names are those of transformers' GenerationConfig wherever it has the option."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gpt2xl.constraints.grammar import Grammar
from gpt2xl.decoding.samplers import Sampler
from gpt2xl.options.checks import checked_values
from gpt2xl.options.clashes import check_clashes
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.text.prompts import Prompt

StoppingFunction = Callable[[Sequence[int]], bool]


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """How a text is generated.

    Fields have the names and meanings of transformers' GenerationConfig; those that transformers lacks have the
    names of llama.cpp or vLLM. Defaults differ: a text is sampled with ``top_k=40`` and ``temperature=0.8``.

    >>> GenerationOptions(temperature=-1)
    Traceback (most recent call last):
    gpt2xl.errors.RequestError: temperature has to be a number >= 0 (0 is greedy), but is -1.
    """

    # Length

    max_new_tokens: int | None = None
    """Tokens to generate at most; None: 128, or what ``max_length`` says. Reaching the context limit ends a text earlier,
    with finish_reason "length"."""
    max_length: int | None = None
    """Tokens of prompt and text at most; has no effect beside ``max_new_tokens``, as in transformers."""
    end_at_sentence: bool = False
    """Where ``max_new_tokens`` or ``max_length`` would cut a sentence, the text goes on until it ends, for at most 64
    further tokens; its finish_reason is "sentence"."""
    min_new_tokens: int = 0
    """End-of-text is excluded before so many new tokens."""
    min_length: int = 0
    """End-of-text is excluded before so many tokens of prompt and text."""
    max_time: float | None = None
    """Seconds after which a text ends, checked after each token; its finish_reason is "time"."""

    # Choice of a token

    greedy: bool = False
    """Always choose the most probable token: what only shapes a draw (temperature, top_k and so on) has no effect."""
    do_sample: bool | None = None
    """False is ``greedy=True``; transformers' name."""
    seed: int | None = None
    """The same seed gives the same text; None draws a seed, which the result names."""
    temperature: float = 0.8
    """0 is greedy; the higher, the more random."""
    dynatemp_range: float = 0.0
    """Above 0, the temperature follows the entropy: from ``temperature`` minus this to plus this."""
    dynatemp_exponent: float = 1.0
    """How the temperature rises with the entropy."""
    top_k: int = 40
    """Sample from the k most probable tokens; 0, or more than there are, is the whole vocabulary."""
    top_k_keeps_ties: bool = False
    """Whether all tokens as probable as the k-th stay, as in transformers; else those of the lowest ids."""
    top_p: float = 1.0
    """Sample from the most probable tokens whose probabilities reach this sum."""
    min_p: float = 0.0
    """Exclude tokens less probable than this share of the most probable one."""
    top_h: float | None = None
    """Sample from the largest set of most probable tokens with at most this share of the entropy."""
    typical_p: float = 1.0
    """Sample from the tokens whose information is nearest to the entropy, up to this sum of probabilities."""
    epsilon_cutoff: float = 0.0
    """Exclude tokens less probable than this."""
    eta_cutoff: float = 0.0
    """Exclude tokens less probable than this or a share of it that falls with the entropy."""
    top_n_sigma: float = 0.0
    """Exclude logits further than so many standard deviations below the largest; 0 excludes none."""
    xtc_probability: float = 0.0
    """Probability that a step excludes all tokens above ``xtc_threshold`` but the least probable of them."""
    xtc_threshold: float = 0.1
    """See ``xtc_probability``."""
    mirostat_tau: float | None = None
    """Sample by mirostat 2 with this target surprise in bits; only the temperature is applied before it."""
    mirostat_eta: float = 0.1
    """The learning rate of mirostat 2."""
    sampler: Sampler | None = None
    """Chooses the id in place of the seeded draw, from the processed logits (excluded ids are at -inf). All texts of
    a batch share it, so it should keep no state."""
    sampler_order: str | tuple[str, ...] = "transformers"
    """Order of the logits processors: "transformers", "llama.cpp", or their names (`orders.ORDERS` has them)."""

    # Repetition

    repetition_penalty: float = 1.0
    """Above 1, tokens that the prompt or the text holds become less probable."""
    repetition_window: int = 0
    """Only the last so many tokens count for ``repetition_penalty``; 0: all."""
    presence_penalty: float = 0.0
    """Subtracted from the logit of each token that the new text holds, as OpenAI does."""
    frequency_penalty: float = 0.0
    """Subtracted from the logit of a token for each time that the new text holds it, as OpenAI does."""
    no_repeat_ngram_size: int = 0
    """No sequence of so many tokens occurs twice, prompt included; 0 allows all."""
    dry_multiplier: float = 0.0
    """Strength of DRY, which penalizes tokens that would extend a repeated sequence; 0 is off."""
    dry_base: float = 1.75
    """The DRY penalty grows by this factor with each token of the repeated sequence."""
    dry_allowed_length: int = 2
    """Longest repeated sequence that DRY does not penalize."""
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    """Texts over which DRY does not match sequences."""
    dry_window: int = 0
    """Last tokens that DRY looks at; 0: all."""
    repetition_detection: int = 0
    """End a text whose last tokens are one sequence so many times in a row (finish_reason "repetition"), 2 at
    least; 0: never."""

    # Bans and biases; ids, as in transformers, since a text may be tokenized in several ways

    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    """Sequences of ids that may not occur."""
    sequence_bias: Mapping[tuple[int, ...], float] | None = None
    """Added to the logit of the last id of a sequence, where the text ends with the ids before it."""
    logit_bias: Mapping[int, float] | None = None
    """Added to the logits of these ids."""
    suppress_tokens: tuple[int, ...] = ()
    """Ids that may not occur."""
    begin_suppress_tokens: tuple[int, ...] = ()
    """Ids that may not be the first new one."""
    allowed_token_ids: tuple[int, ...] = ()
    """The only ids that may occur; none: all."""
    forced_eos_token_id: int | None = None
    """The id at ``max_length`` or ``max_new_tokens``."""
    exponential_decay_length_penalty: tuple[int, float] | None = None
    """(start, factor): after ``start`` new tokens end-of-text becomes more probable, by a factor a token."""
    renormalize_logits: bool = False
    """Whether processed logits become log-probabilities; changes scores of beams only."""
    processors: tuple[LogitsProcessor, ...] = ()
    """Logits processors of your own; each call gets the ids so far and the logits, which it must not change."""
    grammar: Grammar | None = None
    """What the text has to match, such as ``Grammar.regex(...)``; needs the extra ``grammar``."""

    # End of a text

    eos_token_id: int | tuple[int, ...] | None = None
    """Ids that end a text in place of the model's own."""
    ignore_eos: bool = False
    """End-of-text is excluded, so that a text ends for other reasons only."""
    stop_token_ids: tuple[int, ...] = ()
    """Further ids that end a text."""
    stop_strings: tuple[str, ...] = ()
    """The text ends before the first of these that appears in it, wherever tokens begin and end."""
    keep_stop_string: bool = False
    """Whether the stop string that ended a text stays in it."""
    stopping: StoppingFunction | None = None
    """Called with all ids after each token; the text ends where it returns True."""
    overflow: Literal["stop", "slide"] = "stop"
    """At the context limit: the text ends, or the first ``overflow_keep`` and the last ``overflow_window`` tokens are
    fed again from position 0 and it goes on."""
    overflow_keep: int = 0
    """Tokens of the beginning that "slide" keeps."""
    overflow_window: int | None = None
    """Last tokens that "slide" feeds again; None: half the context."""

    # Prompt and guidance

    parse_special: bool = True
    """Whether the prompt may spell special tokens such as <|endoftext|>; False for untrusted text."""
    token_healing: bool = False
    """Whether the last token of the prompt is chosen again together with what follows: for half words and spaces."""
    guidance_scale: float = 1.0
    """Above 1, classifier-free guidance away from ``negative_prompt``; each step then runs the model twice."""
    negative_prompt: Prompt | None = None
    """See ``guidance_scale``; None: the last token of the prompt alone, as in transformers."""
    prompt_lookup: bool = True
    """Without a draft model, draft tokens by matching earlier n-grams. Never changes the text."""

    # Searches

    num_return_sequences: int = 1
    """Texts of one prompt (`Model.generate_sequences`). Sampled ones have the seeds ``seed``, ``seed + 1`` and so on."""
    num_beams: int = 1
    """Beams of beam search; 1 is none."""
    num_beam_groups: int = 1
    """Groups of beams that differ from each other."""
    diversity_penalty: float = 0.0
    """Subtracted where a group chooses what an earlier one has chosen in the same step."""
    length_penalty: float = 1.0
    """Exponent of the length that scores of beams are divided by."""
    early_stopping: bool | Literal["never"] = False
    """When beam search ends: with enough finished texts (True), when better ones are unlikely, or impossible ("never")."""
    penalty_alpha: float = 0.0
    """Above 0, contrastive search among ``top_k`` candidates: weight of the similarity to earlier tokens."""

    # Reports

    logprobs: int | None = None
    """Number of most probable tokens to report with each token and its own log-probability; None: no report."""
    prompt_logprobs: int | None = None
    """The same for the tokens of the prompt."""
    processed_logprobs: bool = False
    """Whether ``logprobs`` are of the processed logits and not of the model's own."""

    def __post_init__(self) -> None:
        """Validate.

        Raises:
            RequestError: names the option, its value and its range; or options that exclude each other.
        """
        for name, value in checked_values(vars(self)).items():
            object.__setattr__(self, name, value)
        check_clashes(vars(self))

    @property
    def is_greedy(self) -> bool:
        """Whether always the most probable token is chosen."""
        return self.sampler is None and (
            self.greedy or self.do_sample is False or self.temperature == 0
        )

    @property
    def draws(self) -> bool:
        """Whether a seed has an effect."""
        return self.sampler is None and not self.is_greedy and self.penalty_alpha == 0
