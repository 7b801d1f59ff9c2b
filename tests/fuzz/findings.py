"""Count the results of cases, and keep the first damaged files of each kind of fault."""

import json
import shutil
import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from tests.fuzz.outcome import Fault

KEPT = 3  # damaged copies of each group


class Findings:
    """All faults so far; several threads may add some."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._files: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        self._groups: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, said: dict[str, Any], work: Path) -> None:
        """Count a case; keep its files in ``work`` if it is one of the first of its group."""
        if said["number"] < 0 and said["fault"] is None:
            return  # not damaged
        with self._lock:
            kind = said["kind"]
            self._files[kind] += 1
            if said["fault"] is None:
                self._refused[kind] += said["refused"] > 0
                return
            self._found[kind] += 1
            group = self._groups[tuple(said["fault"][:2])]
            group.append(said)
            if len(group) <= KEPT and work.is_dir():
                self._keep(said, work)
            with (self._folder / "findings.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(said) + "\n")

    def _keep(self, said: dict[str, Any], work: Path) -> None:
        """Copy small files and folders, and nothing that blocks a reader."""
        target = self._folder / "files" / str(said["number"])
        shutil.rmtree(target, ignore_errors=True)
        for path in work.rglob("*"):
            if path.is_file() and path.stat().st_size < 1 << 24:
                copy = target / path.relative_to(work)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)

    @property
    def count(self) -> int:
        """Cases that ended in a fault."""
        return self._found.total()

    @property
    def files(self) -> int:
        """Cases so far."""
        return self._files.total()

    def table(self) -> str:
        """A line for each kind of file."""
        lines = [f"{'kind':42} {'files':>7} {'right':>7} {'refused':>8} {'findings':>9}"]
        for kind in [*sorted(self._files), "all"]:
            counts = [c.total() if kind == "all" else c[kind] for c in (self._files, self._refused, self._found)]  # fmt: skip
            files, refused, found = counts
            lines.append(f"{kind:42} {files:7} {files - refused - found:7} {refused:8} {found:9}")
        return "\n".join(lines)

    def groups(self) -> str:
        """The faults, the most frequent first, each with an example."""
        lines = []
        for (kind, where), cases in sorted(self._groups.items(), key=lambda item: -len(item[1])):
            first = cases[0]
            files = ", ".join(f"{name} ({n})" for name, n in Counter(case["kind"] for case in cases).most_common(5))  # fmt: skip
            numbers = " ".join(str(case["number"]) for case in cases[:KEPT])
            command = " ".join(map(str, first.get("command", ())))[:200]
            detail = Fault(*first["fault"]).detail.replace("\n", " | ")[:300]
            lines += [f"{len(cases)} x {kind}: {where}", f"    files: {files}", f"    cases: {numbers}; first: {first['what'][:160]!r}", f"    {command}", f"    {detail!r}"]  # fmt: skip
        return "\n".join(lines)
