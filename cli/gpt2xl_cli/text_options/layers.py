"""Options from several places: the command line over a preset, over the config file, over the model's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin, get_type_hints

from gpt2xl_cli.config.file import closest, read_config
from gpt2xl_cli.config.presets import Table
from gpt2xl_cli.help_pages.option_names import with_spellings
from gpt2xl_cli.text_options.conversion import Keywords, keywords_of, option_name
from gpt2xl_cli.text_options.text_options import TextOptions

if TYPE_CHECKING:
    from gpt2xl import GenerationOptions


@dataclass(frozen=True)
class Layer:
    """Options that one place gives."""

    keywords: Keywords
    origin: str = ""
    """For errors, such as "preset 'creative'"; nothing for the command line."""


def layers_of(text: TextOptions) -> list[Layer]:
    """What config file, preset and command line give, the last being the strongest.

    Raises:
        RequestError: there is no such preset, or an option that does not exist or is out of its range.
    """
    config = read_config()
    layers = []
    if config.defaults:
        layers.append(table_layer(config.defaults, f"'{config.path}', [defaults]"))
    if text.preset is not None:
        layers.append(table_layer(config.preset(text.preset), f"preset '{text.preset}'"))
    return [*layers, _checked(Layer(keywords_of(text)))]


def options_over(defaults: "GenerationOptions", layers: Sequence[Layer]) -> "GenerationOptions":
    """``defaults`` with what the layers give; raises RequestError where options exclude each other."""
    from gpt2xl import RequestError
    from gpt2xl.options.keywords import updated

    options = defaults
    for layer in layers:
        try:
            options = updated(options, layer.keywords)
        except RequestError as reason:
            raise RequestError(_with_origin(layer.origin, reason)) from None
    return options


def table_layer(table: Table, origin: str) -> Layer:
    """The options of a table of the config file; raises RequestError."""
    from gpt2xl import RequestError

    try:
        return _checked(Layer(keywords_of(table_options(table)), origin))
    except RequestError as reason:
        raise RequestError(_with_origin(origin, reason)) from None


def _checked(layer: Layer) -> Layer:
    """Check ranges before a model is loaded; what excludes each other depends on the other layers."""
    from gpt2xl import GenerationOptions
    from gpt2xl.options.checks import checked_values

    checked_values(vars(GenerationOptions()) | layer.keywords)
    return layer


def _with_origin(origin: str, reason: Exception) -> str:
    """An error about a layer; where it has an origin, with options as they are spelled there."""
    names = {field.name: option_name(field.name) for field in fields(TextOptions)}
    return f"{origin}: {with_spellings(str(reason), names)}" if origin else str(reason)


def table_options(table: Table) -> TextOptions:
    """The options of a table; raises RequestError for a key or a type that no option has."""
    from gpt2xl import RequestError

    values: dict[str, object] = {}
    for key, value in table.items():
        field = field_of(key)
        if field in values:
            raise RequestError(f"{option_name(field)} is given twice.")
        values[field] = _typed(key, value)
    return TextOptions(**cast("dict[str, Any]", values))


def field_of(key: str) -> str:
    """The field of `TextOptions` that a key names; raises RequestError."""
    from gpt2xl import RequestError

    known = {option_name(field.name): field.name for field in fields(TextOptions)}
    del known["preset"]
    name = key.replace("_", "-")
    if name not in known and key not in known.values():
        raise RequestError(f"there is no option '{key}'; {closest(name, known)}")
    return known.get(name, key)


def value_of_words(key: str, words: Sequence[str]) -> object:
    """The value of a config file that ``words`` of a command line mean; raises RequestError.

    >>> value_of_words("top-p", ["0.9"]), value_of_words("stop-strings", ["a", "1"])
    (0.9, ['a', '1'])
    """
    hint = hint_of(field_of(key))
    kinds = get_args(hint) if get_origin(hint) in (list, tuple) else (hint,)
    values = [_of_word(kinds[min(n, len(kinds) - 1)], word) for n, word in enumerate(words)]
    whole = values if get_origin(hint) in (list, tuple) or len(values) > 1 else values[0]
    _typed(key, whole)
    return whole


def _of_word(kind: Any, word: str) -> object:
    """``word`` as a value of TOML where a number or a boolean is wanted; else as it is."""
    if kind is bool:
        return {"true": True, "false": False}.get(word, word)
    for number in (int, float):
        if kind in (int, float):
            try:
                return number(word)
            except ValueError:
                continue
    return word


def _typed(key: str, value: object) -> object:
    from gpt2xl import RequestError

    hint = hint_of(field_of(key))
    found = _as_hint(hint, value)
    if found is None:
        raise RequestError(f"{key} has to be {described(hint)}, but is {value!r}.")
    return found


def hint_of(field: str) -> Any:
    """The type of an option that is given, without None."""
    hint = get_type_hints(TextOptions)[field]
    return next(item for item in get_args(hint) if item is not NoneType)


def _as_hint(hint: Any, value: object) -> object | None:
    """``value`` in the type of ``hint``; None where it has another."""
    arguments = get_args(hint)
    if get_origin(hint) is list:
        items = [_as_hint(arguments[0], item) for item in _listed(value)]
        return None if None in items or not items else items
    if get_origin(hint) is tuple:
        parts = _listed(value)
        if len(parts) != len(arguments):
            return None
        pair = tuple(map(_as_hint, arguments, parts))
        return None if None in pair else pair
    if get_origin(hint) is Literal:
        name = str(value).lower() if isinstance(value, bool) else value
        return name if name in arguments else None
    return _as_plain(hint, value)


def _as_plain(hint: type, value: object) -> object | None:
    if isinstance(value, bool) or hint is bool:
        return value if hint is bool and isinstance(value, bool) else None
    if hint is float and isinstance(value, int | float):
        return float(value)
    if hint is int:
        return value if isinstance(value, int) else None
    return hint(value) if isinstance(value, str) and hint is not float else None


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


NAMES: Mapping[Any, str] = {int: "a whole number", float: "a number", bool: "true or false"}


def described(hint: Any) -> str:
    """A type in words.

    >>> described(list[int]), described(Literal["stop", "slide"])
    ('a list of whole numbers', 'stop or slide')
    """
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return " or ".join(arguments)
    if get_origin(hint) is list:
        return f"a list of {NAMES.get(arguments[0], 'text').removeprefix('a ')}s"
    if get_origin(hint) is tuple:
        return "a list of " + " and ".join(NAMES[item] for item in arguments)
    return NAMES.get(hint, "text")
