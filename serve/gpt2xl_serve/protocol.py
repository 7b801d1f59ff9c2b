"""HTTP connections that do not wait for slow clients without end."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class ImpatientProtocol(H11Protocol):
    """Closes a connection on which a request's head does not arrive in time, or an answer is not read.

    uvicorn has no limits of its own for these.

    Args:
        head_seconds: from the first byte of a head, or from the beginning of the connection.
        stalled_seconds: in which a client has to read something of an answer that is longer than buffers are.
        *arguments: uvicorn's.
        **keywords: uvicorn's.
    """

    def __init__(
        self, *arguments: Any, head_seconds: float, stalled_seconds: float, **keywords: Any
    ) -> None:
        super().__init__(*arguments, **keywords)
        self._head_seconds, self._stalled_seconds = head_seconds, stalled_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait no longer where a request runs now."""
        was_waiting = self._timer is not None
        super().data_received(data)
        if self._runs_request:
            self._stop_waiting()
        elif not was_waiting:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop_waiting()
        self._is_read()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The buffers are full: begin to watch whether the client reads."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """The client has read enough."""
        self._is_read()
        super().resume_writing()

    def _watch(self) -> None:
        size = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(self._stalled_seconds, self._check, size)

    def _check(self, size_before: int) -> None:
        if self.transport.get_write_buffer_size() < size_before:
            self._watch()
        else:
            self.transport.abort()

    def _is_read(self) -> None:
        if self._stall:
            self._stall.cancel()
            self._stall = None

    @property
    def _runs_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self._head_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if not self._runs_request and not self.transport.is_closing():
            self.transport.close()
