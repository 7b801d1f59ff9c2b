"""Options in errors have the names that a user types."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2xl import GenerationOptions, RequestError
from gpt2xl_cli.help_pages.loading import load_command
from gpt2xl_cli.help_pages.option_names import spellings, with_spellings

NAMES = spellings(load_command("generate").params)
MESSAGES = {
    "top_k has to be >= 0, but is -1.": "--top-k has to be >= 0, but is -1.",
    "seed has to be >= 0.": "--seed has to be >= 0.",
    "a b: leave draft out.": "a b: leave --draft out.",
    "give greedy (do_sample=False) as well.": "give --greedy (--no-do-sample) as well.",
    "greedy and do_sample=True": "--greedy and --do-sample",
    "overflow_keep needs overflow 'slide'.": "--overflow-keep needs --overflow 'slide'.",
    "processed_logprobs needs logprobs: of": "--processed-logprobs needs --logprobs: of",
    "parse_special is on": "--special is on",
    "'a/top_k': seed 'top_k' x/min_p min_p.txt": "'a/top_k': seed 'top_k' x/min_p min_p.txt",
    "the seed is greedy, and a model has": "the seed is greedy, and a model has",
    "sampler_order leaves out top_k, which": "--sampler-order leaves out top_k, which",
}


@pytest.mark.parametrize(("message", "wanted"), MESSAGES.items(), ids=MESSAGES)
def test_options_are_spelled_as_at_the_command_line(message: str, wanted: str) -> None:
    assert with_spellings(message, NAMES) == wanted
    assert with_spellings(message, {}) == message


REFUSED = {
    "generate x -k -1": "error: --top-k has to be >= 0",
    "generate x --temperature -1": "error: --temperature has to be a number",
    "batch in.jsonl out --max-time -1": "error: --max-time has to be",
    "features x --threads -1": "error: --threads has to be",
    "export a b --block-size 7": "error: --block-size has to be a power of 2",
}


@pytest.mark.parametrize(("line", "message"), REFUSED.items(), ids=REFUSED)
def test_commands_name_their_options(
    line: str, message: str, refused: Callable[..., str], bundle: Path
) -> None:
    Path("in.jsonl").write_text('{"prompt": "Once"}')
    assert refused(*line.split()).startswith(message)


def test_a_config_file_has_its_own_spelling(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text("[defaults]\nmin_new_tokens = -1\n")
    assert "[defaults]: min-new-tokens has to be >= 0" in refused("generate", "x")


def test_python_has_pythons_names() -> None:
    with pytest.raises(RequestError, match=r"^top_k has to be"):
        GenerationOptions(top_k=-1)
