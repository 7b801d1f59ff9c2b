"""The OpenAPI document, made of the types that requests are read with."""

import ast
import inspect
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

import gpt2xl
from gpt2xl_serve.errors import ErrorResponse

REFERENCE = "#/components/schemas/{name}"
BODY_ERRORS = (400, 401, 403, 404, 408, 413, 415, 429, 500, 503)
"""Statuses of errors where a body is read; the others are those of a path without one."""
PLAIN_ERRORS = (400, 401, 403, 404, 503)
Schema = dict[str, Any]
References = dict[type[msgspec.Struct], Schema]


@dataclass(frozen=True)
class Operation:
    """What a path takes and answers."""

    method: str
    path: str
    summary: str
    answer: type[msgspec.Struct] | str
    """A Struct that becomes JSON, or the media type of something else."""
    body: type[msgspec.Struct] | None = None
    streams: bool = False
    """Whether the answer may be a stream of events with chunks of `answer`."""
    parameters: tuple[str, ...] = ()
    """Names in the path."""
    statuses: tuple[int, ...] = ()
    """More than the usual ones."""


def document(operations: Sequence[Operation], *, has_key: bool) -> Schema:
    """The OpenAPI document of a server.

    Args:
        operations: all of its paths.
        has_key: whether clients need the API key.
    """
    kinds: list[type[msgspec.Struct]] = [ErrorResponse]
    for operation in operations:
        kinds += [operation.body] if operation.body else []
        kinds += [] if isinstance(operation.answer, str) else [operation.answer]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    references: References = dict(zip(kinds, schemas, strict=True))
    for kind in _structs_of(kinds):
        _describe(components[kind.__name__], kind)
    paths: dict[str, Schema] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method] = _operation(each, references)
    content: Schema = {
        "openapi": "3.1.0",
        "info": {"title": "gpt2xl", "version": gpt2xl.__version__},
        "paths": paths,
        "components": {"schemas": components},
    }
    if has_key:
        content["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        content["security"] = [{"key": []}]
    return content


def _operation(operation: Operation, references: References) -> Schema:
    content: Schema = {"summary": operation.summary, "responses": _responses(operation, references)}
    if operation.parameters:
        content["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in operation.parameters
        ]
    if operation.body:
        schema = references[operation.body]
        content["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return content


def _responses(operation: Operation, references: References) -> Schema:
    answer = operation.answer
    if isinstance(answer, str):
        media: Schema = {answer: {"schema": {"type": "string"}}}
    else:
        media = {"application/json": {"schema": references[answer]}}
    if operation.streams:
        media["text/event-stream"] = {}  # OpenAPI 3.1 cannot say what an event is
    error = {"application/json": {"schema": references[ErrorResponse]}}
    statuses = (*(BODY_ERRORS if operation.body else PLAIN_ERRORS), *operation.statuses)
    return {"200": {"description": "The answer.", "content": media}} | {
        str(status): {"description": "An error.", "content": error} for status in sorted(statuses)
    }


def _structs_of(kinds: Sequence[type]) -> list[type[msgspec.Struct]]:
    """``kinds`` and all Structs that they are made of."""
    found = list[type[msgspec.Struct]]()
    waiting: list[Any] = list(kinds)
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in found:
            found.append(kind)
            waiting += [field.type for field in msgspec.structs.fields(kind)]
        waiting += getattr(kind, "__args__", ())
    return found


def _describe(schema: Schema, kind: type[msgspec.Struct]) -> None:
    """Take over what the source says below each field."""
    for name, text in _field_docs(kind).items():
        if name in schema["properties"]:
            schema["properties"][name]["description"] = text


@cache
def _field_docs(kind: type) -> dict[str, str]:
    docs = dict[str, str]()
    for parent in reversed(kind.__mro__):
        if not issubclass(parent, msgspec.Struct) or parent is msgspec.Struct:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(parent))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, after in zip(body.body, body.body[1:], strict=False):
            match field, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                    value=ast.Constant(value=text)
                ):
                    docs[name] = str(text)
    return docs
