"""Error messages are one line, whatever names and values they quote."""

import pickle

import pytest

from gpt2xl import BundleError, Gpt2xlError, RequestError
from gpt2xl.errors import first_line, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'größe 日本.json' is missing.", "'größe 日本.json' is missing."),
        ("a\nb\r\nc\td", r"a\nb\r\nc\td"),
        ("\x1b]0;title\x07\x1b[31mred", r"\x1b]0;title\x07\x1b[31mred"),
        ("\x9b31m\x7f\x00", r"\x9b31m\x7f\x00"),
        ("\u202egpj.exe\u2028", r"\u202egpj.exe\u2028"),
        ("\udcff\ud800", r"\udcff\ud800"),
        ("\\n", "\\n"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert one_line(text) == shown
    for kind in (Gpt2xlError, BundleError, RequestError):
        assert str(kind(text)) == shown


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    shown = str(BundleError(f"'{'a' * 10_000}' is not a folder."))
    assert len(shown) <= 1000
    assert shown.startswith("'aaa")
    assert "..." in shown
    assert shown.endswith("' is not a folder.")


def test_errors_can_be_pickled() -> None:
    again = pickle.loads(pickle.dumps(RequestError("a\nb")))
    assert isinstance(again, RequestError)
    assert str(again) == "a\\nb"


def test_first_line_is_the_message_or_the_class() -> None:
    assert first_line(ValueError("a\nb")) == "a"
    assert first_line(KeyError()) == "KeyError"
