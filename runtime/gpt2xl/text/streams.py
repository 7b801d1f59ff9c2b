"""A text as it is generated, piece by piece."""

from collections.abc import Generator

from gpt2xl.decoding.loop import Token
from gpt2xl.errors import RequestError
from gpt2xl.sessions.cancellation import Cancellation, Cancelled
from gpt2xl.text.results import Generation, Piece, Transcript


class Stream:
    """An iterator of the pieces of one text; `result` sums it up.

    Each piece is computed when it is asked for, so leaving a loop with ``break`` computes nothing more until
    the next piece, or `result`, is asked for. To end a text early, call `cancel`.

    A stream belongs to one thread at a time, but `cancel` may be called from any.

    >>> stream = model.stream("Once upon a time", greedy=True)
    >>> for piece in stream:
    ...     if len(stream.ids) == 3:
    ...         stream.cancel()
    >>> result = stream.result()
    >>> len(result.new_ids), result.finish_reason
    (3, 'cancelled')
    """

    def __init__(
        self, tokens: Generator[Token], transcript: Transcript, cancellation: Cancellation
    ) -> None:
        self._tokens = tokens
        self._transcript = transcript
        self._cancellation = cancellation
        self._has_failed = False

    @property
    def prompt_ids(self) -> list[int]:
        """The ids of the prompt."""
        return self._transcript.start.prompt_ids

    @property
    def ids(self) -> list[int]:
        """The new ids so far, an end-of-text that stopped the text, or what would follow its last sentence, included."""
        return [piece.id for piece in self._transcript.pieces]

    @property
    def all_ids(self) -> list[int]:
        """The ids of prompt and text so far, without an end-of-text that stopped it.

        With ``token_healing`` they are not `prompt_ids` and the new ones: the end of the prompt is there once, as the
        model has generated it again.
        """
        return self._transcript.all_ids

    @property
    def seed(self) -> int | None:
        """The sampler's; None when greedy, or with a sampler of your own."""
        return self._transcript.start.seed

    def __repr__(self) -> str:
        state = self._transcript.finish_reason or "not finished"
        if state == "not finished" and self._cancellation.is_cancelled:
            state = "cancelled"
        return f"<Stream: {len(self.prompt_ids)} prompt tokens, {len(self.ids)} new, {state}>"

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Piece:
        if self._cancellation.is_cancelled:
            self._tokens.close()
        try:
            piece = self._transcript.add(next(self._tokens))
        except Cancelled:
            raise StopIteration from None
        except StopIteration:
            raise
        except BaseException:
            self._has_failed = True
            raise
        if piece.finish_reason:
            self._tokens.close()  # it may have been ended by what the decode loop knows nothing of
        return piece

    def cancel(self) -> None:
        """End the text here: no further piece comes, and `result` has finish_reason "cancelled".

        May be called from any thread; a step that is under way is cut short. Nothing happens where the text has
        ended already.
        """
        self._cancellation.cancel()

    def result(self) -> Generation:
        """The whole text. Generates what is left of it, unless it was cancelled.

        Raises:
            RequestError: an error has ended the stream before.
        """
        for _ in self:
            pass
        is_complete = self._transcript.finish_reason or self._cancellation.is_cancelled
        if self._has_failed or not is_complete:
            raise RequestError("this stream has no result: an error ended it.")
        return self._transcript.result()
