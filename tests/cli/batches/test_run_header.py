"""gpt2xl batch: the options in the first line of a resume file, and files of earlier versions."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gpt2xl import GenerationOptions
from gpt2xl_cli.batches.run_header import differences, run_header

if TYPE_CHECKING:
    from tests.cli.batches.conftest import Batch

OUT, PART = Path("out.jsonl"), Path("out.jsonl.part")


@dataclass(frozen=True, kw_only=True)
class LaterOptions(GenerationOptions):
    """The options of a later version, with one more field."""

    top_p: float = 1.0


def test_the_header_has_every_option(bundle: Path) -> None:
    header = run_header("", bundle, GenerationOptions(seed=1))
    assert {field.name for field in fields(GenerationOptions)} <= header.keys()


def test_a_new_option_is_in_the_header_by_itself(bundle: Path) -> None:
    earlier = run_header("", bundle, GenerationOptions(seed=1))
    assert differences(run_header("", bundle, LaterOptions(seed=1, top_p=0.9)), earlier) == [
        "top_p"
    ]
    assert differences(earlier, run_header("", bundle, LaterOptions(seed=1, top_p=0.9))) == [
        "top_p"
    ]


def test_a_greedy_run_ignores_how_tokens_would_be_sampled(bundle: Path) -> None:
    greedy = run_header("", bundle, GenerationOptions(greedy=True, top_k=3))
    assert differences(greedy, run_header("", bundle, GenerationOptions(temperature=0))) == []


EARLIER: dict[str, tuple[list[str], dict[str, object]]] = {
    "sampled": (["--seed", "3"], {"greedy": False, "top_k": 40, "temperature": 0.8, "seed": 3}),
    "greedy": (["--greedy", "--top-k", "3"], {"greedy": True, "seed": None}),
    "temperature 0": (["--temperature", "0"], {"greedy": True, "seed": None}),
    "special tokens as characters": (
        ["--seed", "3", "--no-special"],
        {"greedy": False, "top_k": 40, "temperature": 0.8, "special": False, "seed": 3},
    ),
}


@pytest.mark.parametrize(("options", "values"), EARLIER.values(), ids=EARLIER)
def test_a_resume_file_of_an_earlier_version_is_resumed(
    options: list[str], values: dict[str, object], batch: "Batch"
) -> None:
    wanted = batch(batch.write(), OUT, "-n", 9, *options)
    OUT.unlink()
    make_earlier(batch, values, "in.jsonl", OUT, "-n", 9, *options)
    said = "2 of 7 texts were done already; resuming.\n"
    assert batch("in.jsonl", OUT, "-n", 9, *options, stderr=said) == wanted


def test_a_resume_file_of_an_earlier_version_with_other_options_is_refused(
    batch: "Batch", bundle: Path, refused: Callable[..., str]
) -> None:
    options, values = EARLIER["special tokens as characters"]
    make_earlier(batch, values, batch.write(), OUT, "-n", 9, *options)
    message = refused("batch", "-m", bundle, "in.jsonl", OUT, "-n", 9, "--seed", 3)
    assert "belongs to a run with another --special: delete it" in message


def make_earlier(batch: "Batch", values: dict[str, object], *arguments: object) -> None:
    """Interrupt a run after two texts, and give its file the header that earlier versions wrote."""
    header, *rows = batch.interrupted(2, *arguments)
    first = {key: json.loads(header)[key] for key in ("gpt2xl batch", "input", "model")}
    lines = [json.dumps(first | {"max_new_tokens": 9} | values), *rows]
    PART.write_text("".join(f"{line}\n" for line in lines))
