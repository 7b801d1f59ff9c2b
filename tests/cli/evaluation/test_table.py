"""gpt2xl eval --table: all rows whose data is there, and a line for each other one."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from gpt2xl_cli.evaluation import run as running
from gpt2xl_cli.evaluation.measuring import measure
from gpt2xl_eval.published import COLUMNS, PAPER
from gpt2xl_eval.sources import SOURCES

Run = Callable[..., CompletedProcess[str]]
pytestmark = pytest.mark.filterwarnings("always::gpt2xl.errors.Gpt2xlWarning")
SENTENCE = "Once upon a time there was a king who had a fair daughter ."
CBT = "".join(f"{n} The king said go .\n" for n in range(1, 21))
CBT += "21 The XXXXX said go .\tking\t\tking|fair|time\n\n"
FILES = {
    "lambada_test.jsonl": json.dumps({"text": "Once there was a king who had a daughter"}) + "\n",
    "CBTest/data/cbtest_CN_valid_2000ex.txt": CBT,
    "CBTest/data/cbtest_NE_valid_2000ex.txt": CBT,
    "wikitext-2-raw/wiki.test.raw": f" \n = King = \n \n {SENTENCE} \n",
    "simple-examples/data/ptb.test.txt": f" {SENTENCE.lower()} \n",
    "enwik8": f"<page>{SENTENCE}</page>\n",
    "text8": " once upon a time",
    "wikitext-103/wiki.test.tokens": f" \n = King = \n \n {SENTENCE} \n",
    "1bw/heldout-monolingual.tokenized.shuffled/news.en.heldout-00000-of-00050": f"{SENTENCE}\n",
}
DATA = Path("data")


def write(*names: str) -> None:
    for name in names:
        (DATA / name).parent.mkdir(parents=True, exist_ok=True)
        (DATA / name).write_text(FILES[name])


def test_all_ten_columns_are_filled_in(bundle: Path, run: Run) -> None:
    write(*FILES)
    done = run("eval", "--table", DATA, "-m", bundle, "--format", "markdown")
    assert done.returncode == 0
    heads, rule, *rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert heads == f"|  | {' | '.join(COLUMNS)} |"
    assert rule.count("--:") == len(COLUMNS) == 10
    assert [row.split(" | ")[0] for row in rows[:4]] == [f"| paper {size}" for size in PAPER]
    ours = rows[4].strip("| ").split(" | ")[1:]
    assert len(rows) == 5
    assert all(float(value) >= 0 for value in ours)
    assert len(ours) == 10
    assert done.stdout.count("stride 48") == 6
    assert "no data" not in done.stdout
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 5
    values = json.loads(run("eval", "--table", DATA, "-m", bundle, "--json").stdout)
    assert [f"{values['ours'][column]:.2f}" for column in COLUMNS] == ours
    assert (values["missing"], values["failed"]) == ({}, {})
    assert values["paper"]["1542M"] == dict(zip(COLUMNS, PAPER["1542M"], strict=True))
    assert 0 < values["tasks"]["lambada"]["settings"]["context"] <= 96


def test_a_row_without_data_says_where_it_is_to_be_had(bundle: Path, run: Run) -> None:
    write("text8")
    done = run("eval", "--table", DATA, "-m", bundle, "--context", 32, "--stride", 8)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0].split() == ["LAMBADA", "PPL", "LAMBADA", "ACC", *COLUMNS[2:]]
    assert lines[5].split()[1:].count("-") == 9
    assert any(line.startswith("text8: ") and "stride 8" in line for line in lines)
    missing = [line for line in lines if ": no data; " in line]
    assert missing == [
        f"{columns}: no data; {SOURCES[task].line}"
        for columns, task in {
            "LAMBADA PPL and LAMBADA ACC": "lambada",
            "CBT-CN": "cbt-cn",
            "CBT-NE": "cbt-ne",
            "WikiText2": "wikitext2",
            "PTB": "ptb",
            "enwiki8": "enwik8",
            "WikiText103": "wikitext103",
            "1BW": "1bw",
        }.items()
    ]


def test_a_row_with_bad_data_is_left_out_and_ends_in_status_1(bundle: Path, run: Run) -> None:
    write("text8", "lambada_test.jsonl")
    (DATA / "lambada_test.jsonl").write_text('{"text": "a b"}\n[]\n')
    done = run("eval", "--table", DATA, "-m", bundle)
    assert done.returncode == 1
    assert "lambada_test.jsonl', line 2: " in done.stderr
    assert done.stderr.endswith("error: the data of lambada cannot be used.\n")
    assert "LAMBADA PPL and LAMBADA ACC: not measured. " in done.stdout
    assert "\ntext8: " in done.stdout


def test_a_table_goes_on_after_its_finished_rows(
    bundle: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("wikitext-2-raw/wiki.test.raw", "text8")
    real = measure

    def killed(subject: object, name: str, *arguments: object) -> object:
        if name == "text8":
            raise KeyboardInterrupt
        return real(subject, name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "measure", killed)
    assert run("eval", "--table", DATA, "-m", bundle).returncode == 130
    monkeypatch.setattr(running, "measure", real)
    assert len(os.listdir("cache/gpt2xl/eval")) == 1
    done = run("eval", "--table", DATA, "-m", bundle, "--json")
    assert "wikitext2: 1 of 1 were measured already; resuming.\n" in done.stderr
    tasks = json.loads(done.stdout)["tasks"]
    assert (tasks["wikitext2"]["resumed"], tasks["text8"]["resumed"]) == (1, 0)
    assert os.listdir("cache/gpt2xl/eval") == []


def test_the_table_fits_a_terminal_of_80_columns(
    bundle: Path, on_terminal: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write("text8")
    output = on_terminal("eval", "--table", DATA, "-m", bundle, "-q").decode()
    table = output.partition("Paper: ")[0].splitlines()
    table = [line for line in table if not line.startswith("warning: ")]
    assert max(map(len, table)) <= 80
    assert sum("paper 1542M" in line for line in table) == 2
