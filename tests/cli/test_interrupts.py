"""Signals, closed pipes and killed processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import pytest

import gpt2xl_export.progress
from gpt2xl import StreamDecoder

Run = Callable[..., CompletedProcess[str]]
Spawn = Callable[..., Popen[bytes]]
ENDLESS: dict[str, object] = {
    "vocab_size": 287, "n_positions": 16384, "n_embd": 128, "n_layer": 4, "eos_token_id": None,
}  # fmt: skip


@pytest.fixture
def talker(make_bundle: Callable[..., Path]) -> Path:
    """The bundle of a model that generates for many seconds."""
    return make_bundle(ENDLESS)


def first_bytes(process: Popen[bytes], count: int) -> bytes:
    assert process.stdout is not None
    content = b""
    while len(content) < count:
        content += os.read(process.stdout.fileno(), count - len(content))
    return content


def await_partial(process: Popen[bytes], folder: Path) -> None:
    """Wait until the export has begun to write."""
    while not any(name.startswith(".out.partial-") for name in os.listdir(folder)):
        assert process.poll() is None
        time.sleep(0.002)


def test_ctrl_c_ends_a_text_with_one_line(talker: Path, spawn: Spawn) -> None:
    process = spawn("generate", "Once", "-m", talker, "-n", 16000, "--seed", 1)
    start = first_bytes(process, 40)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"error: interrupted.\n")
    assert start.startswith(b"Once")
    assert rest.endswith(b"\n")


ENDS = [
    (signal.SIGINT, 130, b"error: interrupted.\n"),
    (signal.SIGTERM, 143, b"error: terminated.\n"),
    (signal.SIGHUP, 129, b"error: hung up.\n"),
]


@pytest.mark.parametrize(("number", "status", "line"), ENDS)
def test_every_signal_ends_an_export_and_leaves_nothing(
    number: int, status: int, line: bytes, make_checkpoint: Callable[..., Path], tmp_path: Path,
    spawn: Spawn,
) -> None:  # fmt: skip
    source = make_checkpoint(ENDLESS)
    (tmp_path / "new").mkdir()
    process = spawn("export", source, tmp_path / "new" / "out", "-p", "int4")
    await_partial(process, tmp_path / "new")
    time.sleep(0.3)  # into the rounding
    process.send_signal(number)
    process.send_signal(number)  # `timeout` sends it twice
    assert process.communicate(timeout=60) == (b"", line)
    assert process.returncode == status
    assert os.listdir(tmp_path / "new") == []


def await_handler(process: Popen[bytes], number: int) -> None:
    """Wait until the process handles the signal, which is before it imports anything large."""
    caught = 0
    while not caught >> (number - 1) & 1:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        assert process.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
@pytest.mark.parametrize(("number", "status", "line"), ENDS[1:])  # Python itself handles Ctrl-C
def test_a_signal_while_a_model_loads_is_one_line(
    number: int, status: int, line: bytes, talker: Path, spawn: Spawn
) -> None:
    for delay in (0, 0.02, 0.05, 0.1, 0.2, 0.3):  # from the first imports to the session
        process = spawn("generate", "Once", "-m", talker, "-n", 16000, "--seed", 1)
        await_handler(process, number)
        time.sleep(delay)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (status, line)


def test_an_ignored_hangup_stays_ignored(bundle: Path) -> None:
    command = ["nohup", sys.executable, "-m", "gpt2xl_cli", "tokenize", "-m", str(bundle)]
    pipe = subprocess.PIPE
    with Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        process.stdin.write(b"x" * 200_000)  # more than a pipe holds: returns when it is being read
        process.stdin.flush()
        time.sleep(0.3)
        process.send_signal(signal.SIGHUP)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert len(output.split()) == 200_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_a_signal_to_bench_ends_the_process_that_measures(talker: Path, spawn: Spawn) -> None:
    process = spawn("bench", talker)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (child := children.read_text().strip()):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.5)
    process.terminate()
    assert process.communicate(timeout=60)[1] == b"error: terminated.\n"
    assert process.returncode == 143
    assert not Path(f"/proc/{child}").exists()


def test_importing_installs_no_signal_handler() -> None:
    code = (
        "import signal, gpt2xl, gpt2xl_export.exporting, gpt2xl_cli.app\n"
        "print(signal.getsignal(15), signal.getsignal(1))"
    )
    assert subprocess.check_output([sys.executable, "-c", code]) == b"0 0\n"


def test_ctrl_c_with_json_prints_nothing_on_stdout(
    bundle: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupting(self: StreamDecoder, token_id: int) -> str:
        seen.append(token_id)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return real(self, token_id)

    seen: list[int] = []
    real = StreamDecoder.add
    monkeypatch.setattr(StreamDecoder, "add", interrupting)
    message = refused("generate", "-m", bundle, "Once", "--json", "--seed", 1, status=130)
    assert message == "error: interrupted.\n"


def test_ctrl_c_ends_waiting_for_stdin(bundle: Path, spawn: Spawn) -> None:
    process = spawn("generate", "-m", bundle)
    assert process.stdin is not None
    process.stdin.write(b"x" * 200_000)  # more than a pipe holds: returns when it is being read
    process.stdin.flush()
    time.sleep(0.3)  # until it has read all of that and waits for more
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert process.communicate() == (b"", b"error: interrupted.\n")


def test_ctrl_c_while_importing_is_one_line() -> None:
    code = (
        "import os, signal, sys\n"
        "class Slow:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "from gpt2xl_cli.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted.\n")


def test_ctrl_c_ends_an_export_and_leaves_nothing(
    make_checkpoint: Callable[..., Path], tmp_path: Path, spawn: Spawn
) -> None:
    source = make_checkpoint(ENDLESS)
    process = spawn("export", source, tmp_path / "new" / "out")
    while not (tmp_path / "new").exists():
        time.sleep(0.002)
    await_partial(process, tmp_path / "new")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == (b"", b"error: interrupted.\n")
    assert process.returncode == 130
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("stage", "number"), [("hash", 1), ("weights", 1), ("weights", 28), ("check", 1), ("check", 4)])  # fmt: skip
def test_ctrl_c_at_any_stage_leaves_nothing(
    stage: str,
    number: int,
    checkpoint: Path,
    tmp_path: Path,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupting(*arguments: Any) -> Any:
        stages.append(arguments[0])
        if stages.count(stage) == number:
            raise KeyboardInterrupt
        return real(*arguments)

    stages: list[str] = []
    real = gpt2xl_export.progress.Progress
    monkeypatch.setattr("gpt2xl_export.progress.Progress", interrupting)
    assert refused("export", checkpoint, "out", status=130) == "error: interrupted.\n"


def test_a_killed_export_leaves_no_folder_under_the_name(
    make_checkpoint: Callable[..., Path], tmp_path: Path, spawn: Spawn, run: Run
) -> None:
    source = make_checkpoint(ENDLESS)
    process = spawn("export", source, tmp_path / "out")
    await_partial(process, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert run("export", source, tmp_path / "out").returncode == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_closed_pipe_ends_the_text_without_a_message(talker: Path, spawn: Spawn) -> None:
    process = spawn("generate", "Once", "-m", talker, "-n", 16000, "--seed", 1)
    assert process.stdout is not None
    first_bytes(process, 10)
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, b"")


@pytest.mark.parametrize("command", [["-h"], ["info", "{}"], ["tokenize", "Once", "-m", "{}"]])
def test_a_pipe_closed_from_the_start_is_not_a_traceback(
    command: list[str], bundle: Path, spawn: Spawn
) -> None:
    process = spawn(*(word.format(bundle) for word in command))
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, b"")


def test_a_signal_ends_a_native_call_that_does_not_return() -> None:
    program = """
import hashlib
from gpt2xl_cli import signals
signals.STUCK_SECONDS = 0.3
signals.install()
with signals.cleaning_up():
    print("waiting", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
    command = [sys.executable, "-c", program]
    process = Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert first_bytes(process, 8) == b"waiting\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (143, b"error: terminated.\n")
