"""What the server says of itself."""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import gpt2xl
from gpt2xl_serve.errors import busy, json_response
from gpt2xl_serve.service import Service, service_of


class Health(msgspec.Struct):
    """The answer of /health."""

    status: Literal["loading", "ready", "draining"]


class Version(msgspec.Struct):
    """The answer of /version."""

    version: str


class ModelCard(msgspec.Struct, kw_only=True):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """Seconds since 1970."""
    owned_by: str = "gpt2xl"
    max_model_len: int
    """Tokens of the context."""
    vocab_size: int


class ModelCards(msgspec.Struct, kw_only=True):
    """The answer of /v1/models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


async def health(request: Request) -> Response:
    """200 where requests are taken, 503 while the server ends."""
    return (
        unready("draining") if service_of(request).is_draining else json_response(Health("ready"))
    )


def unready(status: Literal["loading", "draining"]) -> Response:
    """The answer of /health where requests are not taken."""
    return json_response(Health(status), 503, busy("", 503).headers)


async def version(_: Request) -> Response:
    """The version of gpt2xl."""
    return json_response(Version(gpt2xl.__version__))


async def models(request: Request) -> Response:
    """The model that is served."""
    return json_response(ModelCards(data=[_model(service_of(request))]))


async def model(request: Request) -> Response:
    """The same by its name."""
    service = service_of(request)
    service.check_name(request.path_params["name"])
    return json_response(_model(service))


def _model(service: Service) -> ModelCard:
    config = service.model.config
    return ModelCard(
        id=service.name,
        created=int(service.started),
        max_model_len=config.n_positions,
        vocab_size=config.vocab_size,
    )


routes = [
    Route("/health", health),
    Route("/version", version),
    Route("/v1/models", models),
    Route("/v1/models/{name:path}", model),
]
