"""What a request has to pass before an endpoint sees it."""

import hmac
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gpt2xl_serve.errors import ApiError, busy
from gpt2xl_serve.options import LOOPBACK
from gpt2xl_serve.service import Service

OPEN_PATHS = ("/health", "/", "/page/")
"""What needs no key: a page has to be there before it can ask for one. Folders end in a slash."""
TAKEN_WHILE_DRAINING = frozenset({"/health", "/metrics"})


class Guards:
    """Middleware: checks the Host and the API key, and refuses new requests while the server ends."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "http":
            try:
                self._check(scope["path"], Headers(scope=scope))
            except ApiError as error:
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, path: str, headers: Mapping[str, str]) -> None:
        options = self._service.options
        if options.is_local and not options.api_key:
            _check_host(headers.get("host", ""))
        if options.api_key and not _is_open(path):
            _check_key(headers.get("authorization", ""), options.api_key)
        if self._service.is_draining and path not in TAKEN_WHILE_DRAINING:
            raise busy("the server is ending: it takes no new requests.", 503)


def _check_host(host: str) -> None:
    """Refuse names by which a web page of somebody else's could reach this machine (DNS rebinding)."""
    name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
    if name.strip("[]").lower() not in LOOPBACK:
        raise ApiError(
            403,
            f"the host {host!r} is not this server's: use 127.0.0.1 or localhost, or an API key.",
        )


def _check_key(authorization: str, key: str) -> None:
    kind, _, given = authorization.partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), key.encode()):
        raise ApiError(
            401,
            "the API key is missing or wrong: send it as 'Authorization: Bearer KEY'.",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _is_open(path: str) -> bool:
    return any(
        path == each or (each != "/" and each.endswith("/") and path.startswith(each))
        for each in OPEN_PATHS
    )
