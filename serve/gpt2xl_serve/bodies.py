"""Reads the body of a request and checks it against a type."""

import asyncio
import re
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from gpt2xl_serve.errors import ApiError

Body = TypeVar("Body", bound=msgspec.Struct)
Renamed = Callable[[dict[str, Any]], dict[str, Any]]
PLACE = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
"""Where msgspec says what is wrong."""
MISSING = re.compile(r"Object missing required field `(\w+)`")
LONGEST_NAME = 100
"""Characters of an unknown field that are compared with known ones; a client may send many more."""
CLOSE = {"Connection": "close"}  # the rest of the body is not waited for


async def read_body(request: Request, most_bytes: int, seconds: float) -> bytes:
    """The body.

    Raises:
        ApiError: it is too large, too slow, or not JSON by its Content-Type.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind.lower() != "application/json":
        # What a page of any origin may send without asking is refused with the rest.
        raise ApiError(415, f"Content-Type has to be application/json, but is {kind}.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most_bytes:
        raise _too_large(most_bytes)
    parts, size = list[bytes](), 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > most_bytes:
                    raise _too_large(most_bytes)
                parts.append(part)
    except TimeoutError:
        message = f"the body did not arrive within {seconds:g} seconds."
        raise ApiError(408, message, headers=CLOSE) from None
    except ClientDisconnect:
        raise ApiError(400, "the client has left before its body was complete.") from None
    return b"".join(parts)


def parsed(
    body: bytes, kind: type[Body], renamed: Renamed = dict, *, ignore_unknown: bool
) -> tuple[Body, list[str]]:
    """The content of ``body``, and the names of the fields that ``kind`` does not have.

    Raises:
        ApiError: it is not JSON, has a wrong type, or a field that is not known.
    """
    try:
        content = msgspec.json.decode(body)
    except (ValueError, RecursionError) as reason:  # msgspec's errors are ValueErrors
        raise ApiError(400, f"the body is not JSON: {reason}.", code="invalid_json") from None
    if not isinstance(content, dict):
        raise ApiError(400, f"the body has to be a JSON object, but is {_shown(content)}.")
    content = renamed(content)
    unknown = [name for name in content if name not in field_names(kind)]
    if unknown and not ignore_unknown:
        raise ApiError(
            400,
            f"the field {unknown[0]!r} is not known here{_hint(unknown[0], kind)}: leave it out, or start"
            " the server with --ignore-unknown.",
            param=unknown[0],
            code="unknown_field",
        )
    known = {name: value for name, value in content.items() if name not in unknown}
    try:
        return msgspec.convert(known, kind, str_keys=True), unknown
    except (ValueError, RecursionError, OverflowError) as reason:
        raise _mistyped(str(reason)) from None


@cache
def field_names(kind: type[msgspec.Struct]) -> frozenset[str]:
    """The names of the fields of ``kind`` in JSON."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind))


def _hint(name: str, kind: type[msgspec.Struct]) -> str:
    close = get_close_matches(name[:LONGEST_NAME].casefold(), sorted(field_names(kind)), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _mistyped(reason: str) -> ApiError:
    if missing := MISSING.fullmatch(reason):
        return ApiError(400, f"{missing[1]} is missing: it has to be given.", param=missing[1])
    place = PLACE.search(reason)
    name = place[1] if place else ""
    what = PLACE.sub("", reason)
    sentence = f"{name}: {what[:1].lower()}{what[1:]}." if name else f"{what}."
    return ApiError(400, sentence, param=re.split(r"[.\[]", name)[0] or None, code="invalid_type")


def _too_large(most_bytes: int) -> ApiError:
    message = f"the body is larger than {most_bytes} bytes, the server's limit (--max-body)."
    return ApiError(413, message, headers=CLOSE)


def _shown(content: Any) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(content), "a text" if isinstance(content, str) else "a list")
