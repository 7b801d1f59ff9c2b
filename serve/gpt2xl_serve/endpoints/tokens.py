"""/tokenize, /detokenize and /tokenizer_info, with the fields of vLLM and of llama.cpp's server."""

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gpt2xl import RequestError
from gpt2xl_serve.errors import ApiError, json_response
from gpt2xl_serve.service import service_of


class TokenizeRequest(msgspec.Struct, kw_only=True):
    """The body of a request to /tokenize."""

    prompt: str | None = None
    content: str | None = None
    """llama.cpp's name of ``prompt``."""
    model: str | None = None
    add_special_tokens: bool | None = None
    add_special: bool | None = None
    """llama.cpp's name of ``add_special_tokens``."""
    parse_special: bool | None = None
    with_pieces: bool | None = None
    """Taken for llama.cpp's clients: ``pieces`` are always there."""
    return_token_strs: bool | None = None
    """The same for vLLM's."""


class Tokens(msgspec.Struct):
    """The answer of /tokenize."""

    tokens: list[int]
    count: int
    max_model_len: int
    pieces: list[str]
    """The text of each token, bytes that are no characters as U+FFFD."""


class DetokenizeRequest(msgspec.Struct, kw_only=True):
    """The body of a request to /detokenize."""

    tokens: list[int]
    model: str | None = None


class Detokenized(msgspec.Struct):
    """The answer of /detokenize: one text under vLLM's name and under llama.cpp's."""

    prompt: str
    content: str


class TokenizerInfo(msgspec.Struct):
    """The answer of /tokenizer_info."""

    tokenizer_class: str
    vocab_size: int
    model_max_length: int
    bos_token: str | None
    eos_token: str | None
    pad_token: str | None
    add_bos_token: bool
    chat_template: str | None


async def tokenize(request: Request) -> Response:
    """The ids of a text of any length."""
    service = service_of(request)
    body, headers = await service.body(request, TokenizeRequest)
    text = body.content if body.prompt is None else body.prompt
    if text is None:
        raise ApiError(400, "prompt is missing: give the text to tokenize.", param="prompt")
    adds = body.add_special if body.add_special_tokens is None else body.add_special_tokens
    tokenizer = service.model.tokenizer

    def encoded() -> Tokens:
        ids = tokenizer.encode(
            text,
            parse_special=body.parse_special is not False,
            add_special_tokens=adds is not False,
        )
        pieces = [tokenizer.decode([each]) for each in ids]
        return Tokens(ids, len(ids), service.model.config.n_positions, pieces)

    try:
        return json_response(await asyncio.to_thread(encoded), headers=headers)
    except RequestError as reason:
        raise ApiError(400, str(reason), param="prompt") from None


async def detokenize(request: Request) -> Response:
    """The text of ids."""
    service = service_of(request)
    body, headers = await service.body(request, DetokenizeRequest)
    try:
        text = await asyncio.to_thread(service.model.tokenizer.decode, body.tokens)
    except RequestError as reason:
        raise ApiError(400, str(reason), param="tokens") from None
    return json_response(Detokenized(text, text), headers=headers)


async def tokenizer_info(request: Request) -> Response:
    """What lm-eval asks for, so that its clients need no tokenizer of their own."""
    service = service_of(request)
    config, tokenizer = service.model.config, service.model.tokenizer
    ends = sorted(each for each in config.eos_token_ids if each in tokenizer)
    starts = [each for each in (config.bos_token_id,) if each is not None and each in tokenizer]
    info = TokenizerInfo(
        tokenizer_class="GPT2Tokenizer",
        vocab_size=tokenizer.vocab_size,
        model_max_length=config.n_positions,
        bos_token=tokenizer.decode(starts[:1]) or None,
        eos_token=tokenizer.decode(ends[:1]) or None,
        pad_token=None,
        add_bos_token=False,
        chat_template=service.chat.source if service.chat else None,
    )
    return json_response(info)


routes = [
    Route("/tokenize", tokenize, methods=["POST"]),
    Route("/detokenize", detokenize, methods=["POST"]),
    Route("/tokenizer_info", tokenizer_info),
]
