"""Write the input of gpt2xl batch, run it, interrupt it, read its output."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

import gpt2xl
from gpt2xl_cli.batches.resume_file import ResumeFile

Rows = list[dict[str, Any]]
PROMPTS = ["Once", "the king who", "", "a fair daughter " * 4, "go", "€", "said to her: go."]
OUT, PART = Path("out.jsonl"), Path("out.jsonl.part")


class Batch:
    """Runs of gpt2xl batch from in.jsonl to out.jsonl; a call has to succeed and leave the output only."""

    prompts = PROMPTS

    def __init__(
        self,
        run: Callable[..., CompletedProcess[str]],
        bundle: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self._run, self._bundle, self._monkeypatch = run, bundle, monkeypatch

    def write(self, prompts: list[str] = PROMPTS, **more: object) -> str:
        """Write in.jsonl; return its name."""
        lines = [json.dumps({"id": n, "prompt": p, **more}) + "\n" for n, p in enumerate(prompts)]
        Path("in.jsonl").write_text("".join(lines), encoding="utf-8")
        return "in.jsonl"

    def rows(self, path: Path = OUT) -> Rows:
        """Read the objects of a file."""
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def __call__(self, *arguments: object, stderr: str = "", stdin: bytes = b"") -> Rows:
        """Run it; return what out.jsonl holds."""
        done = self._run("batch", "-m", self._bundle, *arguments, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, stderr)
        assert not [path for path in Path.cwd().iterdir() if path.name.endswith(".part")]
        assert not [path for path in Path.cwd().iterdir() if path.name.startswith(".")]
        return self.rows()

    def interrupted(self, after: int, *arguments: object) -> list[str]:
        """Run it until ``after`` texts are finished; return the lines of the resume file."""

        def add(self: ResumeFile, number: int, text: gpt2xl.Generation) -> None:
            if len(added) == after:
                raise KeyboardInterrupt
            added.append(number)
            real(self, number, text)

        added: list[int] = []
        real = ResumeFile.add
        with self._monkeypatch.context() as patch:
            patch.setattr(ResumeFile, "add", add)
            done = self._run("batch", "-m", self._bundle, *arguments)
        assert (done.returncode, done.stdout) == (130, "")
        count, message = PART.read_bytes().count(b"\n") - 1, done.stderr.splitlines()[-1]
        wanted = f"{count} of 7 texts are done; the same command resumes."
        assert message == f"error: interrupted: {wanted}"
        assert not OUT.exists()
        return PART.read_text("utf-8").splitlines()


@pytest.fixture
def batch(
    run: Callable[..., CompletedProcess[str]], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> Batch:
    """Run gpt2xl batch with a tiny bundle."""
    return Batch(run, bundle, monkeypatch)
