"""Run hub.py and hub_download.py with environment variables of their own.

huggingface_hub reads HF_ENDPOINT, HF_HOME and the like when it is imported. So every run is a process of
its own: a fork of one that has imported everything else.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

RUN = """
import json, sys
from gpt2xl.errors import CheckpointError
from gpt2xl_export.source import hub, hub_download

source, revision, fetch, show, *adapter = json.loads(sys.argv[1])
try:
    plan = hub.plan(source, revision, adapter=bool(adapter))
    answer = {"repo": plan.repo_id, "revision": plan.revision, "total": plan.total_size}
    answer["files"] = [file.name for file in plan.files]
    answer["missing"] = plan.download_size
    if fetch:
        seen = []
        answer["folder"] = str(hub_download.download(plan, seen.append))
        if show:
            answer["progress"] = [[p.stage, p.done, p.total] for p in seen]
        answer["still missing"] = plan.download_size
except CheckpointError as error:
    assert error.__suppress_context__ or error.__context__ is None
    answer = {"error": str(error)}
print(json.dumps(answer), flush=True)
"""
FORK = """
import json, os, sys, traceback
from gpt2xl_export.source import hub, hub_download
import email, http.cookiejar, ssl, urllib.request
try:
    import requests, yaml, filelock
except ImportError:
    pass
assert "huggingface_hub" not in sys.modules
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.environ.clear()
    os.environ.update(job["env"])
    for number, path in ((1, job["stdout"]), (2, job["stderr"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv[1:] = [job["arguments"]]
    try:
        exec(job["code"], {})
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
"""


def clean_environment() -> dict[str, str]:
    """This process's environment without what concerns the hub; warnings are errors."""
    dropped = ("HF_", "HUGGING", "HTTP", "ALL_PROXY", "NO_PROXY", "TRANSFORMERS_")
    env = {k: v for k, v in os.environ.items() if not k.upper().startswith(dropped)}
    env |= {"PYTHONPATH": os.pathsep.join(sys.path), "NO_PROXY": "*", "PYTHONWARNINGS": "error"}
    return env


class Forker:
    """A process that runs each job in a fork of itself."""

    def __enter__(self) -> "Forker":
        self._folder = TemporaryDirectory()
        command = [sys.executable, "-c", FORK]
        self._process = subprocess.Popen(
            command,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=10)
        self._folder.cleanup()

    def run(self, env: Mapping[str, str], arguments: str) -> tuple[int, str, str]:
        """(exit status, stdout, stderr) of RUN."""
        paths = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        job = {"env": dict(env), "arguments": arguments, "code": RUN}
        job |= {"stdout": str(paths[0]), "stderr": str(paths[1])}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        stdout, stderr = (path.read_text() for path in paths)
        return status, stdout, stderr


class Client:
    """Plans and downloads with a cache of its own.

    Args:
        home: the folder of HF_HOME.
        endpoint: URL of the hub.
        forker: runs the jobs.
    """

    def __init__(self, home: Path, endpoint: str, forker: Forker) -> None:
        self.env = clean_environment() | {"HF_HOME": str(home), "HF_ENDPOINT": endpoint}
        self.cache = home / "hub"
        self.stderr = ""
        """Of the last run."""
        self._forker = forker

    def start(self, source: str, *args: object, **env: str) -> "subprocess.Popen[str]":
        """Start a process that is no fork, for signals and for variables that other modules read."""
        return subprocess.Popen(
            [sys.executable, "-c", RUN, json.dumps([source, *args])],
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, source: str, *args: object, **env: str) -> dict[str, Any]:
        """Arguments as RUN takes them: revision, whether to download, to return the progress, adapter."""
        arguments = json.dumps([source, *args])
        status, stdout, self.stderr = self._forker.run(self.env | env, arguments)
        assert status == 0, self.stderr
        answer: dict[str, Any] = json.loads(stdout)
        return answer

    def plan(self, source: str, revision: str | None = None, **env: str) -> dict[str, Any]:
        return self.run(source, revision, False, False, **env)

    def download(self, source: str, revision: str | None = None, **env: str) -> dict[str, Any]:
        return self.run(source, revision, True, False, **env)

    def error(self, source: str, revision: str | None = None, **env: str) -> str:
        """The error of a download, one line."""
        answer = self.run(source, revision, True, False, **env)
        assert set(answer) == {"error"}, answer
        text: str = answer["error"]
        assert "\n" not in text
        return text

    def blobs(self) -> list[Path]:
        return [path for path in self.cache.rglob("*") if path.is_file() and not path.is_symlink()]
