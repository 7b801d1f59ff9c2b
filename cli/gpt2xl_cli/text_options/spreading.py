"""Commands that take a dataclass of options."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Any, get_type_hints


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """A function for typer: where ``command`` takes a dataclass, it takes the fields, as options.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Pair:
    ...     left: int
    ...     right: int = 2
    >>> @spread
    ... def show(*, pair: Pair, end: str = "!") -> None:
    ...     print(pair, end)
    >>> inspect.signature(show)
    <Signature (*, left: int, right: int = 2, end: str = '!') -> None>
    >>> show(left=1, right=3, end=".")
    Pair(left=1, right=3) .
    """
    signature = inspect.signature(command, eval_str=True)
    kinds: dict[str, type[Any]] = {}
    parameters = list[Parameter]()
    for name, parameter in signature.parameters.items():
        kind: Any = parameter.annotation
        if is_dataclass(kind):
            kinds[name] = parameter.annotation
            parameters += _fields_of(parameter.annotation)
        else:
            parameters.append(parameter)

    @wraps(command)
    def run(**values: object) -> None:
        for name, kind in kinds.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(**values)

    run.__dict__["__signature__"] = signature.replace(parameters=parameters)
    return run


def _fields_of(kind: type[Any]) -> list[Parameter]:
    """The fields as keyword arguments, with what `Annotated` says of them."""
    hints = get_type_hints(kind, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(kind)
    ]
