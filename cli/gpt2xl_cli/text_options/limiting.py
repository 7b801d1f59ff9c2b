"""Options that ban tokens, end a text, compare texts, constrain a text, or report on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from gpt2xl_cli.text_options.panels import BIASES, CONSTRAINED, ENDING, PROMPT, REPORT, SEARCH


@dataclass(frozen=True, kw_only=True)
class Biases:
    """Which tokens are excluded or preferred, by their ids."""

    bad_words_ids: Annotated[
        list[str] | None,
        BIASES(help="Sequence of ids that may not occur; repeatable.", metavar="ID,ID..."),
    ] = None
    sequence_bias: Annotated[
        list[str] | None,
        BIASES(
            help="Added to the logit of the last id where the text ends with those before it; repeatable.",
            metavar="ID,ID...=NUMBER",
        ),
    ] = None
    logit_bias: Annotated[
        list[str] | None,
        BIASES(help="Added to the logit of the id; repeatable.", metavar="ID=NUMBER"),
    ] = None
    suppress_tokens: Annotated[
        list[int] | None, BIASES(help="Id that may not occur; repeatable.", metavar="ID")
    ] = None
    begin_suppress_tokens: Annotated[
        list[int] | None, BIASES(help="Id that may not be the first; repeatable.", metavar="ID")
    ] = None
    allowed_token_ids: Annotated[
        list[int] | None,
        BIASES(help="Id that may occur, and no others; repeatable.", metavar="ID"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What ends a text."""

    stop_strings: Annotated[
        list[str] | None,
        ENDING(
            "--stop-strings", "--stop",
            help="End the text before this; repeatable. A line end is $'\\n' in bash.",
        ),
    ] = None  # fmt: skip
    keep_stop_string: Annotated[
        bool | None, ENDING("--keep-stop-string", help="Leave the stop string in the text.")
    ] = None
    stop_token_ids: Annotated[
        list[int] | None, ENDING(help="Further id that ends a text; repeatable.", metavar="ID")
    ] = None
    eos_token_id: Annotated[
        list[int] | None,
        ENDING(help="End-of-text in place of the model's; repeatable.", metavar="ID"),
    ] = None
    ignore_eos: Annotated[bool | None, ENDING("--ignore-eos", help="Exclude end-of-text.")] = None
    forced_eos_token_id: Annotated[
        int | None, ENDING(help="The last token where the length ends a text.", metavar="ID")
    ] = None
    exponential_decay_length_penalty: Annotated[
        tuple[int, float] | None,
        ENDING(
            help="After START tokens, end-of-text becomes more probable by FACTOR for each.",
            metavar="START FACTOR",
        ),
    ] = None
    overflow: Annotated[
        Literal["stop", "slide"] | None,
        ENDING(
            help="At the context limit: end the text, or go on from the last tokens.",
            default="stop",
        ),
    ] = None
    overflow_keep: Annotated[
        int | None, ENDING(help="First tokens that slide keeps.", default="0")
    ] = None
    overflow_window: Annotated[
        int | None, ENDING(help="Last tokens that slide keeps.", default="half the context")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """Several texts of one prompt, and searches for the best."""

    num_return_sequences: Annotated[
        int | None,
        SEARCH(
            "--num-return-sequences", "-r", help="Texts; sampled ones have seed, seed + 1...",
            default="1",
        ),
    ] = None  # fmt: skip
    num_beams: Annotated[
        int | None, SEARCH(help="Beams of beam search.", default="1 (no beam search)")
    ] = None
    num_beam_groups: Annotated[
        int | None, SEARCH(help="Groups of beams that differ.", default="1")
    ] = None
    diversity_penalty: Annotated[
        float | None,
        SEARCH(help="Subtracted where a group chooses as one before it.", default="0"),
    ] = None
    length_penalty: Annotated[
        float | None, SEARCH(help="Above 0, beam search prefers longer texts.", default="1")
    ] = None
    early_stopping: Annotated[
        Literal["true", "false", "never"] | None,
        SEARCH(
            help="End beam search with enough texts (true), when better ones are unlikely (false),"
            " or impossible (never).",
            default="false",
        ),
    ] = None
    penalty_alpha: Annotated[
        float | None,
        SEARCH(
            help="Above 0, contrastive search among --top-k candidates: weight of the similarity.",
            default="0 (off)",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Constrained:
    """What a text has to match; at most one of these."""

    regex: Annotated[
        str | None, CONSTRAINED(help="The text matches this regular expression.", metavar="PATTERN")
    ] = None
    json_schema: Annotated[
        str | None, CONSTRAINED(help="The text is JSON of this schema.", metavar="FILE|TEXT")
    ] = None
    choice: Annotated[
        list[str] | None, CONSTRAINED(help="The text is one of these; repeatable.")
    ] = None
    lark: Annotated[
        Path | None, CONSTRAINED(help="The text follows this Lark grammar.", metavar="FILE")
    ] = None
    gbnf: Annotated[
        Path | None, CONSTRAINED(help="The text follows this GBNF grammar.", metavar="FILE")
    ] = None


@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """How the prompt is read."""

    parse_special: Annotated[
        bool | None,
        PROMPT(
            "--special/--no-special",
            help="Read special tokens such as <|endoftext|> in the text as tokens; use --no-special"
            " for untrusted text.",
            default="special",
        ),
    ] = None
    token_healing: Annotated[
        bool | None,
        PROMPT("--token-healing", help="Choose the prompt's last token again, for half words."),
    ] = None
    prompt_lookup: Annotated[
        bool | None,
        PROMPT(
            help="Draft tokens by matching earlier n-grams of the text; changes no text.",
            default="yes",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Reports:
    """What is said about tokens."""

    logprobs: Annotated[
        int | None,
        REPORT(help="Show the probability of each token, and so many of the most probable."),
    ] = None
    prompt_logprobs: Annotated[
        int | None, REPORT(help="The same for the tokens of the prompt.")
    ] = None
    processed_logprobs: Annotated[
        bool | None,
        REPORT(
            "--processed-logprobs",
            help="Probabilities after the logits processors, not the model's own.",
        ),
    ] = None
