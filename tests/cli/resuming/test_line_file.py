"""Lines that survive a kill: a torn last one is overwritten."""

import json
from pathlib import Path

import pytest

from gpt2xl import RequestError
from gpt2xl_cli.resuming.line_file import LineFile


def number(line: bytes) -> int | None:
    value = json.loads(line) if line.isdigit() else None
    return value if isinstance(value, int) else None


@pytest.mark.parametrize("torn", [b"", b"4", b"\xff\n", b'{"a": 1}\n5\n', b"[" * 10])
def test_lines_before_a_torn_one_are_taken_and_the_rest_is_overwritten(
    torn: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b'{"run": 1}\n2\n3\n' + torn)
    lines = LineFile(path)
    assert lines.header() == {"run": 1}
    assert list(lines.take(number)) == [2, 3]
    with lines:
        assert not lines.is_new
        lines.write(6)
    assert path.read_bytes() == b'{"run": 1}\n2\n3\n6\n'


def test_a_file_from_which_nothing_is_taken_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert LineFile(path).header() is None
    path.write_bytes(b"")
    assert LineFile(path).header() is None
    path.write_bytes(b"no JSON\n2\n")
    lines = LineFile(path)
    assert lines.header() == {}
    with lines:
        assert lines.is_new
        lines.write({"run": 2})
    assert path.read_bytes() == b'{"run": 2}\n'


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not a regular file"):
        LineFile(tmp_path).header()
