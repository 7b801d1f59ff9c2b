from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2xl import RequestError
from gpt2xl_eval.formats.json_lines import read_records

WriteData = Callable[[str | bytes], Path]


def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_accepted(
    write_data: WriteData,
) -> None:
    path = write_data('\ufeff{"text": "a"}\r\n\r\n{"text": "b\u2028c"}')
    assert [(r.line.number, r.text("text")) for r in read_records(path)] == [
        (1, "a"),
        (3, "b\u2028c"),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        (b'{"text": "a"}\n{"text": "Zo\xeb"}', "line 2: byte 0xeb is not UTF-8"),
        ('{"text": "a"}\n{"text": ', "line 2: it is not JSON: Expecting value at column 10"),
        ('{"text": "a"}\n["a"]', "line 2: it has to be a JSON object, but is a list"),
        ('{"text": NaN}', "line 1: it is not JSON: NaN"),
        ("[" * 100_000, "line 1: it is not JSON: it is nested too deep"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(
    write_data: WriteData, content: str | bytes, reason: str
) -> None:
    path = write_data(content)
    with pytest.raises(RequestError, match=reason) as raised:
        list(read_records(path))
    assert str(path) in str(raised.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does not exist"):
        list(read_records(tmp_path / "none"))


def test_values_of_the_wrong_kind_are_refused(write_data: WriteData) -> None:
    (record,) = read_records(write_data('{"a": 1, "b": ["x", 2], "c": "2", "d": true}'))
    for call in (lambda: record.text("a"), lambda: record.text("z"), lambda: record.texts("b")):
        with pytest.raises(RequestError, match="line 1"):
            call()
    assert record.index("c", 3) == 2
    for key, length in (("c", 2), ("d", 9), ("b", 9)):
        with pytest.raises(RequestError, match=f"integer from 0 to {length - 1}"):
            record.index(key, length)
