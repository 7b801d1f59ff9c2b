"""gpt2xl eval: figures with their settings, bad input in one line, a killed run that goes on."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import gpt2xl
from gpt2xl_eval.sources import SOURCES
from gpt2xl_eval.tasks import TASKS

Run = Callable[..., CompletedProcess[str]]
OnTerminal = Callable[..., bytes]
Refused = Callable[..., str]
Spawn = Callable[..., subprocess.Popen[bytes]]
TEXT = "Once upon a time there was a king who had a fair daughter. " * 8
FILE = Path("text.txt")
BAR = "━".encode()
SMALL = ("--context", "32", "--stride", "16")
JOURNALS = Path("cache/gpt2xl/eval")


@pytest.fixture(autouse=True)
def text(place: None) -> None:
    FILE.write_text(TEXT)


# --- one task


def test_the_perplexity_of_a_text_within_one_window_is_that_of_score(
    bundle: Path, run: Run
) -> None:
    FILE.write_text("Once upon a time there was a king")
    done = run("eval", "perplexity", "--data", FILE, "-m", bundle, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    values = json.loads(done.stdout)
    model = gpt2xl.load(bundle)
    ids = [286, *model.tokenizer.encode(FILE.read_text())]
    assert values["figures"]["perplexity per token"] == pytest.approx(
        model.score(ids).perplexity, rel=1e-6
    )
    assert values["counts"]["tokens"] == len(ids) - 1
    assert values["data"] == {
        "path": "text.txt",
        "bytes": FILE.stat().st_size,
        "sha256": sha256(FILE.read_bytes()).hexdigest(),
    }
    assert values["settings"]["context"] == model.config.n_positions
    assert values["limit"] is None


def test_people_get_a_table_with_the_settings_and_nothing_on_stderr(bundle: Path, run: Run) -> None:
    done = run("eval", "perplexity", "-f", FILE, "-m", bundle, *SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    settings = next(line for line in done.stdout.splitlines() if line.startswith("Settings  "))
    assert "context 32" in settings
    assert "stride 16" in settings
    assert "perplexity per token" in done.stdout
    assert "paper" not in done.stdout.lower()
    assert "--limit" not in done.stdout
    assert not list(JOURNALS.iterdir())


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_wider_than_the_terminal(
    bundle: Path, on_terminal: OnTerminal, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    Path("lambada.jsonl").write_text('{"text": "the king saw the sea"}\n')
    found = on_terminal("eval", "lambada", "-f", "lambada.jsonl", "-m", bundle, "-q").decode()
    lines = found[found.index("Task") :].splitlines()
    assert max(map(len, lines)) <= columns
    report = " ".join(" ".join(lines).split())
    assert "contexts cut on the left 0" in report
    if columns == 80:
        assert "Paper's perplexity per last word: 117M 35.13, 345M 15.6, 762M 10.87," in report
    else:
        assert re.search(r"perplexity per last word +[\d.,e+]+ +35.13 +15.6 ", found)


@pytest.mark.filterwarnings("default")
def test_a_task_of_the_card_stands_beside_the_paper_and_what_others_got(
    bundle: Path, run: Run
) -> None:
    Path("ptb.test.txt").write_text(" the old mill was n't sold for years \n" * 3)
    done = run("eval", "ptb", "--data", "ptb.test.txt", "-m", bundle, *SMALL)
    assert done.returncode == 0
    warning = done.stderr
    assert warning.startswith("warning: 'ptb.test.txt' is not the data that ptb is known by")
    assert str(SOURCES["ptb"].files[0].sha256) in warning
    assert sha256(Path("ptb.test.txt").read_bytes()).hexdigest() in warning
    assert warning.count("\n") == 1
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("perplexity per word  "))
    assert row.split()[-4:] == ["65.85", "47.33", "40.31", "35.76"]
    assert "huggingface/transformers issue 13786" in done.stdout


def test_a_part_is_told_in_the_report(bundle: Path, run: Run) -> None:
    words = ("eval", "perplexity", "-f", FILE, "-m", bundle, *SMALL, "--limit", 2)
    values = json.loads(run(*words, "--json").stdout)
    assert values["limit"] == 2
    assert values["counts"]["continuations"] == 2
    assert "of a part (--limit 2)" in run(*words).stdout


def test_a_text_longer_than_any_window_is_measured_whole(bundle: Path, run: Run) -> None:
    FILE.write_text(TEXT * 5)
    done = run("eval", "perplexity", "-f", FILE, "-m", bundle, "--json")
    ids = gpt2xl.load(bundle).tokenizer.encode(FILE.read_text())
    assert json.loads(done.stdout)["counts"]["tokens"] == len(ids) > 5 * 96


def test_one_token_is_measured_after_the_prefix(bundle: Path, run: Run) -> None:
    FILE.write_text("a")
    done = run("eval", "perplexity", "-f", FILE, "-m", bundle, "--json")
    assert json.loads(done.stdout)["counts"]["tokens"] == 1


# --- the list


def test_without_a_task_all_are_listed_with_their_data_and_its_source(run: Run) -> None:
    done = run("eval")
    assert (done.returncode, done.stderr) == (0, "")
    for name, entry in TASKS.items():
        assert f"{name}: {entry.summary}\n" in done.stdout
        assert entry.data in done.stdout
    for source in SOURCES.values():
        assert source.url in done.stdout
    values = json.loads(run("eval", "--json").stdout)
    assert [*values] == [*TASKS]
    assert values["ptb"]["source"]["files"][0]["sha256"] == SOURCES["ptb"].files[0].sha256


# --- bad input


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("perplexty", "-f", FILE), "there is no task 'perplexty'; did you mean 'perplexity'?"),
        (("perplexity", "-f", "absent.txt"), "'absent.txt' does not exist."),
        (("perplexity", "-f", FILE, "--context", 97), "context has to be from 2 to 96"),
        (("perplexity", "-f", FILE, "--context", 8, "--stride", 9), "stride has to be from 1 to"),
        (("perplexity", "-f", FILE, "--stride", 0), "stride has to be from 1 to the context, 96"),
        (("perplexity", "-f", FILE, "--detokenizer", "ptb"), "perplexity has no detokenizer"),
        (("ptb", "-f", FILE, "--detokenizer", "nonsense"), "nonsense"),
        (("perplexity", "-f", FILE, "--journal", "no/journal"), "'no' is not a folder."),
        (("--table", "absent"), "'absent' is not a folder."),
        (("--table", "."), "'.' has no data of any row, such as lambada_test.jsonl"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(
    words: tuple[object, ...], message: str, bundle: Path, refused: Refused
) -> None:
    JOURNALS.mkdir(parents=True)
    assert message in refused("eval", *words, "-m", bundle)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'text.txt' is empty."),
        (b"one\ntw\xffo\n", "'text.txt', line 2: byte 0xff is not UTF-8."),
    ],
)
def test_a_file_that_is_no_text_is_refused(
    content: bytes, message: str, bundle: Path, refused: Refused
) -> None:
    JOURNALS.mkdir(parents=True)
    FILE.write_bytes(content)
    assert message in refused("eval", "perplexity", "-f", FILE, "-m", bundle)


def test_a_wrong_format_is_told_with_its_line(bundle: Path, refused: Refused) -> None:
    JOURNALS.mkdir(parents=True)
    Path("lambada_test_plain_text.jsonl").write_text('{"text": "a b c"}\n["x"]\n')
    line = refused("eval", "multiple-choice", "-f", "lambada_test_plain_text.jsonl", "-m", bundle)
    assert "lambada_test_plain_text.jsonl', line 1: " in line


@pytest.mark.parametrize(
    "words",
    [
        ("perplexity",),
        ("-f", FILE),
        ("perplexity", "-f", FILE, "--limit", 0),
        ("perplexity", "-f", FILE, "--rows", 0),
        ("perplexity", "-f", FILE, "--format", "markdown"),
        ("perplexity", "--table", "."),
        ("--table", ".", "--journal", "j"),
        ("--table", ".", "--denominator", "word"),
        ("--table", ".", "--json", "--format", "markdown"),
    ],
)
def test_wrong_usage_ends_with_status_2(words: tuple[object, ...], bundle: Path, run: Run) -> None:
    done = run("eval", *words, "-m", bundle)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: " in done.stderr


# --- resuming


def test_a_killed_run_goes_on_where_it_was(bundle: Path, spawn: Spawn, run: Run) -> None:
    FILE.write_text(TEXT * 200)
    words = (
        "eval",
        "perplexity",
        "-f",
        FILE,
        "-m",
        bundle,
        "--context",
        64,
        "--stride",
        8,
        "--json",
    )
    first = spawn(*words, "--journal", "kept", "--rows", 1)
    end = time.monotonic() + 60
    while not (Path("kept").exists() and Path("kept").read_bytes().count(b"\n") > 20):
        assert first.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    before = Path("kept").read_bytes()
    with Path("kept").open("ab") as file:
        file.write(b"[-1.0, 2")
    done = run(*words, "--journal", "kept")
    values = json.loads(done.stdout)
    measured = before.count(b"\n") - 1
    total = values["counts"]["continuations"]
    assert done.stderr == f"perplexity: {measured} of {total} were measured already; resuming.\n"
    assert 20 <= values["resumed"] == measured < total
    assert not Path("kept").exists()
    whole = json.loads(run(*words).stdout)
    assert values["figures"] == pytest.approx(whole["figures"], rel=1e-6)
    assert whole["resumed"] == 0


@pytest.mark.parametrize(
    ("number", "word", "status"),
    [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143)],
)
def test_a_signal_says_how_much_is_measured(
    number: int, word: str, status: int, bundle: Path, spawn: Spawn
) -> None:
    FILE.write_text(TEXT * 4000)
    words = ("eval", "perplexity", "-f", FILE, "-m", bundle, "--context", 64, "--stride", 8)
    process = spawn(*words, "--journal", "kept", "--rows", 1)
    end = time.monotonic() + 60
    while not (Path("kept").exists() and Path("kept").read_bytes().count(b"\n") > 2):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (status, b"")
    measured = Path("kept").read_bytes().count(b"\n") - 1
    assert errors.decode().startswith(f"error: {word}: {measured} of ")
    assert errors.decode().endswith(
        " of perplexity are measured; run the same command again to resume.\n"
    )


@pytest.mark.parametrize("change", ["settings", "data", "limit"])
def test_the_journal_of_another_run_is_refused(
    change: str, bundle: Path, run: Run, refused: Refused
) -> None:
    words = ["eval", "perplexity", "-f", FILE, "-m", bundle, *SMALL, "--journal", "kept"]
    header = _header(run, words)
    more = {"settings": ["--stride", 9], "limit": ["--limit", 3]}.get(change, [])
    if change == "data":
        FILE.write_text(TEXT + "x")
    line = refused(*words, *more)
    assert re.search(rf"'kept' belongs to a run with another [a-z ]*{change}", line)
    assert Path("kept").read_text() == header


def _header(run: Run, words: list[object]) -> str:
    """Leave a journal with a header only, as a run does that was killed at once."""
    probe = Path("probe")
    done = run(*words[:-1], probe)
    assert done.returncode == 0
    from gpt2xl_cli.evaluation import journal

    real = journal.Journal.add
    try:
        journal.Journal.add = _fail  # type: ignore[method-assign]
        assert run(*words).returncode == 130
    finally:
        journal.Journal.add = real  # type: ignore[method-assign]
    return Path("kept").read_text()


def _fail(self: object, measured: object) -> None:
    raise KeyboardInterrupt


def test_a_file_that_is_no_journal_is_refused_and_kept(bundle: Path, refused: Refused) -> None:
    Path("kept").write_text("my notes\n")
    JOURNALS.mkdir(parents=True)
    words = ("eval", "perplexity", "-f", FILE, "-m", bundle, "--journal", "kept")
    assert "'kept' is no journal of gpt2xl eval" in refused(*words)
    assert Path("kept").read_text() == "my notes\n"


# --- a terminal


def test_the_bar_counts_tokens_and_quiet_hides_it(
    bundle: Path, on_terminal: Callable[..., bytes]
) -> None:
    FILE.write_text(TEXT * 100)
    words = ("eval", "perplexity", "-f", FILE, "-m", bundle, *SMALL, "--rows", 1)
    output = on_terminal(*words)
    assert b"tokens/s" in output
    assert BAR in output
    assert b"Measuring perplexity of " in output
    quiet = on_terminal(*words, "-q")
    assert quiet.startswith(b"Task      perplexity: ")
    assert BAR not in quiet
