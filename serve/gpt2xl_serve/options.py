"""How a server runs."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from gpt2xl.errors import RequestError
from gpt2xl.startup.options import checked_integer

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
KEY = re.compile(r"[!-~]+")
MEBIBYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The options of a server.

    >>> ServeOptions(rows=0)
    Traceback (most recent call last):
    gpt2xl.errors.RequestError: rows has to be >= 1, but is 0.
    """

    host: str = "127.0.0.1"
    """The address to listen at."""
    port: int = 8000
    """0 takes a free one."""
    rows: int = 16
    """Most texts that share a step."""
    queue: int = 128
    """Most texts that wait for a row; a request beyond that is answered 429."""
    prefix_cache: int = 256
    """Memory for the beginnings of earlier prompts, in MB; 0 keeps none."""
    api_key: str | None = None
    """What clients have to send as "Authorization: Bearer KEY"; None lets everybody in."""
    no_auth: bool = False
    """Whether a server that others can reach may go without an API key."""
    cors: tuple[str, ...] = ()
    """Origins whose pages may use the server; "*" is all."""
    max_body: int = MEBIBYTE
    """Most bytes of a request's body."""
    grace: float = 30.0
    """Seconds that running texts have when the server is told to end."""
    header_timeout: float = 10.0
    """Seconds in which a client has to send a request's head; and then its body."""
    keep_alive: float = 30.0
    """Seconds that a connection stays open which is idle, or on which the client does not read its answer."""
    max_connections: int = 1024
    """Connections beyond it are answered 503."""
    ignore_unknown: bool = False
    """Whether fields that the server does not know are named in a header and not refused."""
    chat_template: Path | None = None
    """A Jinja template that makes a prompt of messages; without it there is no chat."""

    def __post_init__(self) -> None:
        """Validate.

        Raises:
            RequestError: an option out of its range, or an open server without a key.
        """
        for name, lowest, highest in (
            ("port", 0, 65535),
            ("rows", 1, 4096),
            ("queue", 0, None),
            ("prefix_cache", 0, None),
            ("max_body", 1, None),
            ("max_connections", 1, None),
        ):
            checked_integer(name, getattr(self, name), lowest, highest)
        if not self.grace >= 0:
            raise RequestError(f"grace has to be seconds >= 0, but is {self.grace}.")
        for name in ("header_timeout", "keep_alive"):
            if not 0 < getattr(self, name) < math.inf:
                raise RequestError(f"{name} has to be seconds > 0, but is {getattr(self, name)}.")
        if self.api_key is not None and not KEY.fullmatch(self.api_key):
            raise RequestError(
                "api_key has to be ASCII characters without spaces, one at least, or be left out."
            )
        if not (self.is_local or self.api_key or self.no_auth):
            raise RequestError(
                f"host {self.host} lets other machines use the model without a key: give --api-key,"
                " or --no-auth if everybody may use it."
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        return self.host in LOOPBACK
