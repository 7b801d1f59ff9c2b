"""A template that makes a prompt of messages, as transformers' chat templates do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gpt2xl.errors import RequestError, one_line, system_reason
from gpt2xl_serve.chat.messages import Message
from gpt2xl_serve.errors import ApiError


class ChatTemplate:
    """A Jinja template, which runs in a sandbox.

    Args:
        path: of the template.

    Raises:
        RequestError: it cannot be read, or jinja2 is not installed.
    """

    special_tokens: Mapping[str, str] = {}
    """Variables beside ``messages`` and ``add_generation_prompt``, such as ``eos_token``."""

    def __init__(self, path: Path) -> None:
        try:
            from jinja2 import TemplateError
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ModuleNotFoundError:
            raise RequestError(
                "a chat template needs `pip install 'gpt2xl[serve]'` (jinja2 is not installed)."
            ) from None
        try:
            self.source = path.read_text("utf-8")
        except OSError as reason:
            raise RequestError(f"the chat template {system_reason(reason)}") from None
        except UnicodeDecodeError:
            raise RequestError(f"the chat template '{path}' is not UTF-8.") from None
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _raise
        try:
            self._template = environment.from_string(self.source)
        except TemplateError as reason:
            raise RequestError(f"the chat template '{path}' is refused: {reason}.") from None

    def prompt(self, messages: Sequence[Message]) -> str:
        """The prompt for the next message.

        Raises:
            ApiError: the template refuses them.
        """
        values = [{"role": each.role, "content": each.text} for each in messages]
        try:
            return self._template.render(
                messages=values, add_generation_prompt=True, **self.special_tokens
            )
        except Exception as reason:  # a template may fail in any way
            message = f"the chat template refuses the messages: {one_line(reason)}."
            raise ApiError(400, message, param="messages") from None


def _raise(message: Any) -> NoReturn:
    raise ValueError(message)
