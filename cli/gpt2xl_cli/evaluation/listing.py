"""The tasks, and where their data is to be had."""

from typing import Any

from gpt2xl_eval.sources import SOURCES
from gpt2xl_eval.tasks import TASKS


def as_lines() -> list[str]:
    """A few lines for each task."""
    lines = []
    for name, entry in TASKS.items():
        lines += [f"{name}: {entry.summary}", f"  --data  {entry.data}"]
        if name in SOURCES:
            lines.append(f"  from    {SOURCES[name].line}")
        lines.append("")
    return [
        *lines,
        "gpt2xl eval TASK --data FILE measures one; gpt2xl eval --table FOLDER all rows of the card.",
    ]


def as_values() -> dict[str, Any]:
    """The same in types that JSON has."""
    return {
        name: {
            "summary": entry.summary,
            "data": entry.data,
            "options": sorted(entry.options),
            "columns": dict(entry.columns),
            "source": _source(name),
        }
        for name, entry in TASKS.items()
    }


def _source(name: str) -> dict[str, Any] | None:
    if (source := SOURCES.get(name)) is None:
        return None
    files = [source.archive, *source.files] if source.archive else source.files
    return {
        "url": source.url,
        "files": [{"name": f.name, "bytes": f.size, "sha256": f.sha256} for f in files],
        "stated_by": source.stated_by,
    }
