"""Model card, licence and notices of a checkpoint are copied, but no files from elsewhere."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2xl import Gpt2xlWarning
from gpt2xl_export.output.cards import carry_cards


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "LICENCE.txt", "NOTICE"])
@pytest.mark.parametrize("target", ["/etc/passwd", "../secret"])
def test_a_link_out_of_the_folder_is_left_out_with_a_warning(
    tmp_path: Path, out: Path, name: str, target: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / name).symlink_to(target)
    with pytest.warns(Gpt2xlWarning, match=rf"{name}' is left out of the bundle: it is a link out"):
        carry_cards(tmp_path / "source", out)
    assert [path.name for path in out.iterdir()] == ["README.md"]
    assert "came without a model card" in (out / "README.md").read_text()


def test_links_inside_the_folder_and_of_the_hubs_cache_are_followed(
    tmp_path: Path, out: Path, as_hub_cache: Callable[[Path, Path], Path]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "README.md").write_text("card")
    (source / "LICENSE").write_text("MIT")
    snapshot = as_hub_cache(source, tmp_path / "repo")
    (snapshot / "NOTICE").symlink_to("README.md")
    carry_cards(snapshot, out)
    found = {path.name: (path.is_symlink(), path.read_text()) for path in out.iterdir()}
    assert found == {
        "README.md": (False, "card"), "LICENSE": (False, "MIT"), "NOTICE": (False, "card"),
    }  # fmt: skip


def test_what_is_no_file_is_left(tmp_path: Path, out: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    os.mkfifo(source / "README.md")
    (source / "LICENSES").mkdir()
    carry_cards(source, out)
    assert [path.name for path in out.iterdir()] == ["README.md"]


def test_a_git_lfs_pointer_is_left_out_with_a_warning(tmp_path: Path, out: Path) -> None:
    (tmp_path / "README.md").write_text("version https://git-lfs.github.com/spec/v1\nsize 5\n")
    with pytest.warns(Gpt2xlWarning, match="is left out of the bundle: it is a Git LFS pointer"):
        carry_cards(tmp_path, out)
    assert "came without a model card" in (out / "README.md").read_text()
