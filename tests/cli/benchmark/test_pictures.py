"""Where a picture can be drawn is checked before anything is measured."""

from pathlib import Path

import pytest

from gpt2xl import RequestError
from gpt2xl_cli.pictures import check_picture

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("path", "message"),
    [("a.txt", "has to end in .png"), ("a", "has to end in .png"), ("gone/a.png", "not a folder")],
)
def test_a_picture_that_cannot_be_drawn_is_refused(path: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        check_picture(Path(path))


def test_a_png_file_is_taken(tmp_path: Path) -> None:
    check_picture(tmp_path / "a.PNG")
