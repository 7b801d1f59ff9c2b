"""What programs read about the server: its OpenAPI document and its metrics."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gpt2xl_serve.chat.messages import ChatCompletion, ChatRequest
from gpt2xl_serve.completions.request import CompletionRequest
from gpt2xl_serve.completions.response import Completion
from gpt2xl_serve.endpoints.embeddings import EmbeddingRequest, Embeddings
from gpt2xl_serve.endpoints.status import Health, ModelCard, ModelCards, Version
from gpt2xl_serve.endpoints.tokens import (
    Detokenized,
    DetokenizeRequest,
    TokenizeRequest,
    TokenizerInfo,
    Tokens,
)
from gpt2xl_serve.errors import json_response
from gpt2xl_serve.metrics import CONTENT_TYPE
from gpt2xl_serve.openapi import Operation, document
from gpt2xl_serve.service import service_of

OPERATIONS = (
    Operation(
        "post",
        "/v1/completions",
        "Continue texts, or score them",
        Completion,
        CompletionRequest,
        streams=True,
    ),
    Operation(
        "post",
        "/v1/chat/completions",
        "Answer a conversation; 404 without --chat-template",
        ChatCompletion,
        ChatRequest,
        streams=True,
    ),
    Operation("post", "/v1/embeddings", "Vectors of texts", Embeddings, EmbeddingRequest),
    Operation("get", "/v1/models", "The model that is served", ModelCards),
    Operation("get", "/v1/models/{name}", "The same by its name", ModelCard, parameters=("name",)),
    Operation("post", "/tokenize", "The ids of a text", Tokens, TokenizeRequest),
    Operation("post", "/detokenize", "The text of ids", Detokenized, DetokenizeRequest),
    Operation("get", "/tokenizer_info", "The tokenizer's special tokens", TokenizerInfo),
    Operation("get", "/health", "Whether requests are taken", Health),
    Operation("get", "/version", "The version of gpt2xl", Version),
    Operation("get", "/metrics", "Metrics in Prometheus' text format", "text/plain"),
    Operation("get", "/openapi.json", "This document", "application/json"),
    Operation("get", "/", "The page to play with the model", "text/html"),
)
"""All that the document tells of."""


async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    options = service_of(request).options
    return json_response(document(OPERATIONS, has_key=bool(options.api_key)))


async def metrics(request: Request) -> Response:
    """The metrics."""
    text = service_of(request).metrics.text()
    return Response(text, headers={"Content-Type": CONTENT_TYPE})


routes = [Route("/openapi.json", openapi), Route("/metrics", metrics)]
