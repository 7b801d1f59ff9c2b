"""What is said of disk space before a download."""

import shutil
from pathlib import Path

import pytest

from gpt2xl import ExportError
from gpt2xl_export.options import AUTO
from gpt2xl_export.recipes import RECIPES
from gpt2xl_export.source.disk_space import SHARES, DiskNeeds, download_note
from gpt2xl_export.source.hub import Plan
from gpt2xl_export.source.hub_files import HubFile

pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")
OTHER_DISK = Path("/dev/shm")


def plan(size: int, *, adapter: bool = False) -> Plan:
    return Plan("o/m", "abc", (HubFile("model.safetensors", size, "0"),), "main", adapter)


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_every_precision_has_a_size() -> None:
    assert SHARES.keys() == RECIPES.keys() | {AUTO}
    assert {name for name, share in SHARES.items() if share >= 1} == {"fp32"}


def test_minutes_and_sizes_are_said(tmp_path: Path) -> None:
    note = DiskNeeds(plan(6_000_000_000), tmp_path / "out", "fp16").note()
    assert note.startswith(
        "Downloading o/m: 6.0 GB, 8 min at 100 Mbit/s. Disk space needed: 9.0 GB,"
    )
    assert "the fp16 bundle, about 3.0 GB; " in note
    assert download_note(plan(1000)) == "Downloading o/m: 1.0 kB, less than 1 min at 100 Mbit/s."


def test_the_bundle_counts_where_the_download_alone_would_fit(tmp_path: Path) -> None:
    size = round(shutil.disk_usage(tmp_path).free * 0.8)
    DiskNeeds(plan(size), tmp_path / "out", "int4").check()
    with pytest.raises(
        ExportError, match=r"'o/m' needs .* GB on the disk of '.*out', for a download"
    ):
        DiskNeeds(plan(size), tmp_path / "out", "fp32").check()


def test_two_disks_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not OTHER_DISK.is_dir() or OTHER_DISK.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second disk")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(OTHER_DISK / "hub"))
    note = DiskNeeds(plan(1_000_000), tmp_path / "out", "int8").note()
    assert f"are free in {OTHER_DISK / 'hub'}, " in note
    assert note.endswith(f" in {tmp_path}.")
    with pytest.raises(ExportError, match=f"on the disk of '{OTHER_DISK / 'hub'}', for a download"):
        DiskNeeds(plan(10**15), tmp_path / "out", "int8").check()
