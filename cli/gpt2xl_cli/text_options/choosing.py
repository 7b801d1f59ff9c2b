"""Options that decide how a token is chosen."""

from dataclasses import dataclass
from typing import Annotated

from gpt2xl_cli.text_options.panels import LENGTH, REPETITION, SAMPLING


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long a text is."""

    max_new_tokens: Annotated[
        int | None,
        LENGTH(
            "--max-new-tokens", "-n", help="New tokens at most; 64 a turn in repl.", default="128"
        ),
    ] = None
    max_length: Annotated[
        int | None,
        LENGTH(help="Tokens of prompt and text at most; no effect beside --max-new-tokens."),
    ] = None
    end_at_sentence: Annotated[
        bool | None,
        LENGTH(
            "--end-at-sentence",
            help="Do not cut a sentence at the limit: go on until it ends, for 64 further tokens at most.",
        ),
    ] = None
    min_new_tokens: Annotated[
        int | None, LENGTH(help="No end-of-text before so many new tokens.", default="0")
    ] = None
    min_length: Annotated[
        int | None, LENGTH(help="No end-of-text before so many tokens in all.", default="0")
    ] = None
    max_time: Annotated[float | None, LENGTH(help="Seconds after which a text ends.")] = None


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a token is drawn."""

    greedy: Annotated[
        bool | None,
        SAMPLING(
            "--greedy", help="Always take the most probable token; --do-sample is the opposite."
        ),
    ] = None
    do_sample: Annotated[
        bool | None,
        SAMPLING(
            "--do-sample/--no-do-sample",
            help="Draw tokens at random; transformers' name.",
            default="yes",
        ),
    ] = None
    seed: Annotated[
        int | None,
        SAMPLING("--seed", "-s", help="The same seed gives the same text.", default="random"),
    ] = None
    temperature: Annotated[
        float | None,
        SAMPLING(
            "--temperature", "-t", help="The higher, the more random; 0 is greedy.", default="0.8"
        ),
    ] = None
    top_k: Annotated[
        int | None,
        SAMPLING(
            "--top-k", "-k", help="Sample from the k most probable tokens; 0: all.", default="40"
        ),
    ] = None
    top_k_keeps_ties: Annotated[
        bool | None,
        SAMPLING(
            "--top-k-keeps-ties",
            help="Keep all tokens as probable as the k-th, as transformers does.",
        ),
    ] = None
    top_p: Annotated[
        float | None,
        SAMPLING(
            "--top-p", "-p",
            help="Sample from the most probable tokens whose probabilities reach this sum.",
            default="1 (off)",
        ),
    ] = None  # fmt: skip
    min_p: Annotated[
        float | None,
        SAMPLING(
            help="Exclude tokens less probable than this share of the most probable one.",
            default="0 (off)",
        ),
    ] = None
    top_h: Annotated[
        float | None,
        SAMPLING(help="Sample from the most probable tokens with this share of the entropy."),
    ] = None
    typical_p: Annotated[
        float | None,
        SAMPLING(
            help="Sample from the tokens whose information is nearest to the entropy, up to this sum.",
            default="1 (off)",
        ),
    ] = None
    epsilon_cutoff: Annotated[
        float | None, SAMPLING(help="Exclude tokens less probable than this.", default="0 (off)")
    ] = None
    eta_cutoff: Annotated[
        float | None,
        SAMPLING(help="The same, or a share of it that falls with the entropy.", default="0 (off)"),
    ] = None
    top_n_sigma: Annotated[
        float | None,
        SAMPLING(
            help="Exclude logits so many standard deviations below the largest.", default="0 (off)"
        ),
    ] = None
    xtc_probability: Annotated[
        float | None,
        SAMPLING(
            help="Probability that a step excludes all tokens above --xtc-threshold but the least.",
            default="0 (off)",
        ),
    ] = None
    xtc_threshold: Annotated[
        float | None, SAMPLING(help="See --xtc-probability.", default="0.1")
    ] = None
    dynatemp_range: Annotated[
        float | None,
        SAMPLING(
            help="Temperature follows the entropy, by at most this up and down.", default="0 (off)"
        ),
    ] = None
    dynatemp_exponent: Annotated[
        float | None, SAMPLING(help="How it rises with the entropy.", default="1")
    ] = None
    mirostat_tau: Annotated[
        float | None,
        SAMPLING(
            help="Sample by mirostat 2 with this surprise in bits, not by top-k and the like."
        ),
    ] = None
    mirostat_eta: Annotated[
        float | None, SAMPLING(help="Learning rate of mirostat 2.", default="0.1")
    ] = None
    guidance_scale: Annotated[
        float | None,
        SAMPLING(help="Above 1, guidance away from --negative-prompt.", default="1 (off)"),
    ] = None
    negative_prompt: Annotated[
        str | None, SAMPLING(help="See --guidance-scale.", default="the prompt's last token")
    ] = None
    sampler_order: Annotated[
        str | None,
        SAMPLING(
            help="Order of logits processors: transformers, llama.cpp, or names with commas between.",
            default="transformers",
        ),
    ] = None
    renormalize_logits: Annotated[
        bool | None,
        SAMPLING(
            "--renormalize-logits", help="Make log-probabilities of processed logits, for beams."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """What keeps a text from repeating itself."""

    repetition_penalty: Annotated[
        float | None,
        REPETITION(
            help="Above 1, tokens of prompt and text become less probable.", default="1 (off)"
        ),
    ] = None
    repetition_window: Annotated[
        int | None,
        REPETITION(help="Last tokens that count for --repetition-penalty.", default="0 (all)"),
    ] = None
    presence_penalty: Annotated[
        float | None,
        REPETITION(help="Subtracted from logits of tokens of the new text.", default="0 (off)"),
    ] = None
    frequency_penalty: Annotated[
        float | None,
        REPETITION(
            help="Subtracted for each time that the new text has a token.", default="0 (off)"
        ),
    ] = None
    no_repeat_ngram_size: Annotated[
        int | None,
        REPETITION(help="No sequence of so many tokens occurs twice.", default="0 (off)"),
    ] = None
    dry_multiplier: Annotated[
        float | None,
        REPETITION(help="Strength of DRY, against longer repeated sequences.", default="0 (off)"),
    ] = None
    dry_base: Annotated[
        float | None, REPETITION(help="Growth of the DRY penalty for each token.", default="1.75")
    ] = None
    dry_allowed_length: Annotated[
        int | None, REPETITION(help="Longest repeated sequence without penalty.", default="2")
    ] = None
    dry_sequence_breakers: Annotated[
        list[str] | None,
        REPETITION(
            help="Text over which DRY does not match; repeatable.", default='newline, :, " and *'
        ),
    ] = None
    dry_window: Annotated[
        int | None, REPETITION(help="Last tokens that DRY looks at.", default="0 (all)")
    ] = None
    repetition_detection: Annotated[
        int | None,
        REPETITION(
            help="End a text whose end is one sequence so many times in a row.", default="0 (never)"
        ),
    ] = None
