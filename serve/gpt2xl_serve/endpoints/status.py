"""What the server says of itself."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import gpt2xl
from gpt2xl_serve.errors import busy, json_response
from gpt2xl_serve.service import Service, service_of


async def health(request: Request) -> Response:
    """200 where requests are taken, 503 while the server ends."""
    if service_of(request).is_draining:
        return json_response({"status": "draining"}, 503, busy("", 503).headers)
    return json_response({"status": "ready"})


async def version(_: Request) -> Response:
    """The version of gpt2xl."""
    return json_response({"version": gpt2xl.__version__})


async def models(request: Request) -> Response:
    """The model that is served."""
    return json_response({"object": "list", "data": [_model(service_of(request))]})


async def model(request: Request) -> Response:
    """The same by its name."""
    service = service_of(request)
    service.check_name(request.path_params["name"])
    return json_response(_model(service))


def _model(service: Service) -> dict[str, object]:
    config = service.model.config
    return {
        "id": service.name,
        "object": "model",
        "created": int(service.started),
        "owned_by": "gpt2xl",
        "max_model_len": config.n_positions,
        "vocab_size": config.vocab_size,
    }


routes = [
    Route("/health", health),
    Route("/version", version),
    Route("/v1/models", models),
    Route("/v1/models/{name:path}", model),
]
