"""Errors in OpenAI's shape: {"error": {"message", "type", "param", "code"}}."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from gpt2xl.errors import one_line

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}
"""By status; the others are "invalid_request_error"."""
RETRY_SECONDS = 1
"""What a full queue and a draining server tell in Retry-After."""


class ErrorContent(msgspec.Struct):
    """What went wrong."""

    message: str
    """One sentence."""
    type: str
    param: str | None = None
    """The field of the request that it is about."""
    code: str | None = None


class ErrorResponse(msgspec.Struct):
    """The body of every answer that is an error."""

    error: ErrorContent


class ApiError(Exception):
    """Ends a request with ``status`` and one sentence."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers
        kind = TYPES.get(status, "invalid_request_error")
        self.content = ErrorContent(one_line(message), kind, param, code)

    def response(self) -> Response:
        """The answer."""
        return json_response(ErrorResponse(self.content), self.status, self.headers)


def busy(message: str, status: int = 429) -> ApiError:
    """An error that goes away: a full queue (429), or a server that ends (503)."""
    return ApiError(status, message, headers={"Retry-After": str(RETRY_SECONDS)})


def json_response(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """``content``, a Struct or what JSON has, as an answer."""
    return Response(msgspec.json.encode(content), status, dict(headers or {}), "application/json")
