"""What the server says of itself, and the page."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import gpt2xl
from gpt2xl_serve.errors import ApiError, busy, json_response
from gpt2xl_serve.service import Service, service_of

PAGE = Path(__file__).parents[1] / "page"


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


async def page(_: Request) -> Response:
    """The page to play with the model."""
    index = PAGE / "index.html"
    if not index.is_file():
        raise ApiError(404, "this installation has no page.")
    return FileResponse(index)


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
    Route("/", page),
    Route("/health", health),
    Route("/version", version),
    Route("/v1/models", models),
    Route("/v1/models/{name:path}", model),
    Mount("/page", StaticFiles(directory=PAGE, check_dir=False)),
]
