"""The ASGI application."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gpt2xl_serve.connections import ClientLeftError
from gpt2xl_serve.endpoints import chat, completions, documents, embeddings, page, status, tokens
from gpt2xl_serve.errors import ApiError, busy
from gpt2xl_serve.guards import Guards
from gpt2xl_serve.metrics import CountRequests
from gpt2xl_serve.service import UNKNOWN_HEADER, Service

routes = [
    *status.routes,
    *completions.routes,
    *chat.routes,
    *embeddings.routes,
    *tokens.routes,
    *documents.routes,
    *page.routes,
]
"""Of all endpoints."""
CLIENT_LEFT = 499  # as nginx has it; nobody sees it


class Entrance:
    """An ASGI application that is there before the one that it leads to: while the model is loaded, it answers 503."""

    def __init__(self) -> None:
        self.app: ASGIApp = _loading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        await self.app(scope, receive, send)


async def _loading(scope: Scope, receive: Receive, send: Send) -> None:
    is_health = scope["path"] == "/health"
    error = busy("the model is being loaded: try again in a moment.", 503)
    answer = status.unready("loading") if is_health else error.response()
    await answer(scope, receive, send)


def make_app(service: Service) -> Starlette:
    """The application for ``service``, whose engine runs."""
    middleware = [Middleware(Guards, service=service)]
    if service.options.cors:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=service.options.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["Retry-After", UNKNOWN_HEADER],
        )
        middleware.insert(0, cors)
    paths = frozenset(route.path for route in routes if isinstance(route, Route))
    middleware.insert(0, Middleware(CountRequests, metrics=service.metrics, paths=paths))
    app = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            ClientLeftError: _client_left,
            Exception: _bug,
        },
    )
    app.state.service = service
    return app


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _http_error(request: Request, error: Exception) -> Response:
    """An unknown path, or a method that a path does not have."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        return ApiError(404, f"there is nothing at {path}.", code="not_found").response()
    if error.status_code == 405:
        message = f"{path} does not take {request.method}."
        return ApiError(405, message, headers=error.headers).response()
    return ApiError(error.status_code, f"{error.detail}.").response()


async def _client_left(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


async def _bug(_: Request, error: Exception) -> Response:
    return ApiError(500, f"an internal error: {type(error).__name__}.").response()
