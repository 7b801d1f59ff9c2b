"""Write the state of a prompt to a JSON file, or its text alone, and read the state again; nothing in the file is trusted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from gpt2xl import RequestError
from gpt2xl.decoding.context import common_prefix
from gpt2xl.files.atomic import locked, written_atomically
from gpt2xl.files.json_values import Value
from gpt2xl_cli.repl.document import Document
from gpt2xl_cli.repl.history import History, Step, StepKind
from gpt2xl_cli.repl.option_values import from_json, to_json
from gpt2xl_cli.repl.state import ModelFacts, ReplState

FORMAT = "gpt2xl repl 1"
MAX_STEPS = 1 << 20
MAX_IDS = 1 << 24


PLAIN = (".txt", ".md")
"""Suffixes of files that hold the text alone."""


def save(state: ReplState, path: Path, *, force: bool = False) -> None:
    """Write ``state`` to ``path``, or its text alone, as the suffix says: under another name first, which is then renamed.

    Raises:
        RequestError: the file exists, and not ``force``.
        OSError: it cannot be written; an older one stays.
    """
    with locked(path):
        if not force and path.exists():
            raise RequestError(
                f"'{path}' exists: choose another name, or /save --force replaces it."
            )
        with written_atomically(path) as temporary:
            if path.suffix.lower() in PLAIN:
                content = state.text
            else:
                content = json.dumps(as_json(state), ensure_ascii=False, indent=1)
            temporary.write_text(content + "\n", "utf-8")


def load(facts: ModelFacts, path: Path) -> ReplState:
    """The state in ``path``.

    Raises:
        RequestError: no such file, or one that is damaged or of a model with another tokenizer.
    """
    if path.suffix.lower() in PLAIN:
        raise RequestError(
            f"'{path}' holds a text alone: /load reads what /save has written to a .json file."
        )
    content = Value.read(path, RequestError)
    if content.mapping().get("format") != FORMAT:
        raise RequestError(f"'{path}' is no text that /save of this version has written.")
    try:
        state = ReplState(facts, from_json(content.get("options").mapping()))
    except RequestError as reason:
        raise RequestError(f"'{path}': {reason}") from None
    steps, document = [], Document()
    for item in content.get("steps").items(MAX_STEPS):
        steps.append(_step(item, document, facts.vocab_size))
        document = steps[-1].document
    state.history = History(tuple(steps), content.get("count").integer(0, len(steps)))
    ids = _ids(content.get("ids"), facts.vocab_size)
    is_same = list(state.document.ids) == ids and state.text == content.get("text").text()
    if not is_same:
        raise RequestError(
            f"'{path}' was saved with another tokenizer, or changed: it does not fit."
        )
    return state


def as_json(state: ReplState) -> dict[str, Any]:
    """What `load` reads."""
    steps, before = list[Mapping[str, object]](), Document()
    for step in state.history.steps:
        steps.append(_step_as_json(step, before))
        before = step.document
    return {
        "format": FORMAT,
        "text": state.text,
        "ids": list(state.document.ids),
        "options": to_json(state.options),
        "count": state.history.count,
        "steps": steps,
    }


def _step_as_json(step: Step, before: Document) -> dict[str, object]:
    content: dict[str, object] = {"kind": step.kind, **_document_as_json(step.document, before)}
    if step.kind == "generation":
        base = _document_as_json(step.base, step.document)
        content |= {"first": step.first, "base": base, "seed": step.seed}
    return content


def _document_as_json(document: Document, before: Document) -> dict[str, object]:
    """A document as what it shares with the one before it, and the rest."""
    kept = common_prefix(document.ids, before.ids)
    return {"kept": kept, "ids": list(document.ids[kept:]), "hidden": document.hidden}


def _step(value: Value, before: Document, vocab_size: int) -> Step:
    kind: StepKind
    for kind in get_args(StepKind):
        if value.get("kind").content == kind:
            break
    else:
        value.get("kind").refuse(f"one of {', '.join(get_args(StepKind))}")
    document = _document(value, before, vocab_size)
    if kind != "generation":
        return Step(kind, document)
    seed = value.get("seed")
    return Step(
        kind,
        document,
        value.get("first").integer(0, len(document.ids)),
        _document(value.get("base"), document, vocab_size),
        None if seed.content is None else seed.integer(),
    )


def _document(value: Value, before: Document, vocab_size: int) -> Document:
    kept = before.ids[: value.get("kept").integer(0, len(before.ids))]
    ids = (*kept, *_ids(value.get("ids"), vocab_size))
    return Document(ids, value.get("hidden").integer(0, len(ids)))


def _ids(value: Value, vocab_size: int) -> list[int]:
    return [item.integer(0, vocab_size - 1) for item in value.items(MAX_IDS)]
