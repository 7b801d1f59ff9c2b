"""/v1/embeddings: the hidden state after the final layer norm, pooled over a text."""

import asyncio
import base64
from functools import partial
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gpt2xl import RequestError
from gpt2xl_serve.completions.plan import prompts_of
from gpt2xl_serve.completions.request import Prompt
from gpt2xl_serve.completions.response import EmbeddingUsage
from gpt2xl_serve.connections import until_disconnect
from gpt2xl_serve.errors import ApiError, json_response
from gpt2xl_serve.service import Service, service_of

Vector = npt.NDArray[np.float32]


class EmbeddingRequest(msgspec.Struct, kw_only=True):
    """The body of a request to /v1/embeddings."""

    input: Prompt
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    """Only what the model has."""
    user: str | None = None
    """Taken for OpenAI's clients, and not used."""
    pooling: Literal["mean", "last"] | None = None
    """Of the tokens' vectors; "mean" unless given."""
    normalize: bool | None = None
    """Whether vectors have length 1, as OpenAI's; true unless given."""


class Embedding(msgspec.Struct, kw_only=True):
    """The vector of a text."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    """Numbers, or their float32 in little endian as base64."""


class Embeddings(msgspec.Struct, kw_only=True):
    """The answer."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


async def embeddings(request: Request) -> Response:
    """Vectors of texts."""
    service = service_of(request)
    body, headers = await service.body(request, EmbeddingRequest)
    service.check_name(body.model)
    width = service.model.config.n_embd
    if body.dimensions not in (None, width):
        raise ApiError(
            400, f"dimensions has to be {width}, but is {body.dimensions}.", param="dimensions"
        )
    texts = prompts_of(body.input, "input")
    service.engine.check_room(len(texts))
    prompts = await asyncio.to_thread(_ids_of, texts, service)
    vectors = await until_disconnect(request.receive, _vectors(prompts, body, service))
    data = [
        Embedding(index=index, embedding=_encoded(vector, body))
        for index, vector in enumerate(vectors)
    ]
    count = sum(map(len, prompts))
    answer = Embeddings(data=data, model=service.name, usage=EmbeddingUsage(count, count))
    return json_response(answer, headers=headers)


def _ids_of(texts: list[str | list[int]], service: Service) -> list[list[int]]:
    try:
        return [service.model.prompt_ids(each) for each in texts]
    except RequestError as reason:
        raise ApiError(400, str(reason), param="input") from None


async def _vectors(
    prompts: list[list[int]], body: EmbeddingRequest, service: Service
) -> list[Vector]:
    """One job a text, so that the steps of others come in between."""
    pooling = body.pooling or "mean"
    jobs = [partial(service.model.features, ids, pooling=pooling) for ids in prompts]
    futures = service.engine.run(jobs)
    try:
        return [await asyncio.wrap_future(each) for each in futures]
    except RequestError as reason:
        raise ApiError(400, str(reason)) from None
    finally:
        for each in futures:
            each.cancel()


def _encoded(vector: Vector, body: EmbeddingRequest) -> list[float] | str:
    if body.normalize is not False:
        vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
    if body.encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]


routes = [Route("/v1/embeddings", embeddings, methods=["POST"])]
