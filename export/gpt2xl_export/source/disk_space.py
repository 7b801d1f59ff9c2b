"""How much disk space a download and the bundle made of it need, said before they begin."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpt2xl.errors import ExportError
from gpt2xl_export.source.hub import Plan

BYTES_PER_SECOND = 12.5e6  # 100 Mbit/s
SHARES = {
    "fp32": 1.0,
    "fp16": 0.5,
    "int8": 0.25,
    "int8-weight": 0.28,
    "int4": 0.15,
    "fast": 0.38,
    "int4-fp16": 0.14,
    "auto": 0.3,  # two bundles of about int4's size, until one is chosen
}
"""The size of a bundle, by precision, relative to float32 weights. It holds for GPT-2 XL; smaller models have
relatively larger embeddings."""


@dataclass(frozen=True)
class DiskNeeds:
    """What a plan fetches into the hub's cache, and what is made of it.

    Args:
        plan: its weights are taken to be float32, since the hub need not tell.
        out: the bundle's folder.
        precision: the bundle's; a key of `SHARES`.
    """

    plan: Plan
    out: Path
    precision: str

    @property
    def bundle_size(self) -> float:
        """Bytes of the bundle, about."""
        weights = (f.size for f in self.plan.files if f.name.endswith((".safetensors", ".bin")))
        return SHARES[self.precision] * sum(weights)

    def note(self) -> str:
        """What is going to be fetched and made, with sizes and a time."""
        missing, bundle = self.plan.download_size, self.bundle_size
        made = f"{self.precision} bundle, about {size_text(bundle)}"
        if not missing:
            have = f"{self.plan.repo_id} is in the hub's cache, {size_text(self.plan.total_size)}."
            return f"{have} To make: {made}, in {self.out} ({self._free(self.out)} free)."
        needed = f"Disk space needed: {size_text(missing + bundle)}, with the {made}"
        return f"{download_note(self.plan)} {needed}; {', '.join(self._free_places())}."

    def check(self) -> None:
        """Raise ExportError where a disk cannot hold both."""
        hub, out = _hub_cache(), self.out
        missing, bundle = self.plan.download_size, self.bundle_size
        download = f"a download of {size_text(missing)}"
        made = f"a bundle of about {size_text(bundle)}"
        if _device(hub) == _device(out):
            self._check(out, missing + bundle, f"{download} and {made}")
        else:
            self._check(hub, missing, download)
            self._check(out, bundle, made)

    def _check(self, folder: Path, need: float, what: str) -> None:
        if need > (free := free_space(folder)):
            raise ExportError(
                f"'{self.plan.repo_id}' needs {size_text(need)} on the disk of '{folder}', for {what},"
                f" but {size_text(free)} are free: make room (`gpt2xl models` lists what is there), or"
                " choose a larger disk with HF_HOME or another output folder."
            )

    def _free_places(self) -> Iterator[str]:
        hub = _hub_cache()
        if _device(hub) == _device(self.out):
            yield f"{self._free(self.out)} are free"
        else:
            yield f"{self._free(hub)} are free in {hub}"
            yield f"{self._free(self.out)} in {self.out.parent}"

    def _free(self, folder: Path) -> str:
        return size_text(free_space(folder))


def download_note(plan: Plan) -> str:
    """What a download fetches, and how long that takes."""
    missing, total = plan.download_size, plan.total_size
    rest = "" if missing == total else f" of {size_text(total)}, the rest is in the cache"
    minutes = missing / BYTES_PER_SECOND / 60
    time = f"{minutes:.0f} min" if minutes >= 1 else "less than 1 min"
    return f"Downloading {plan.repo_id}: {size_text(missing)}{rest}, {time} at 100 Mbit/s."


def size_text(size: float) -> str:
    """A number of bytes.

    >>> size_text(6431829964), size_text(999), size_text(0)
    ('6.4 GB', '1.0 kB', '0.0 kB')
    """
    one, unit = next((pair for pair in ((1e9, "GB"), (1e6, "MB")) if size >= pair[0]), (1e3, "kB"))
    return f"{size / one:.1f} {unit}"


def free_space(folder: Path) -> int:
    """Bytes that are free on the disk where ``folder`` is, or will be."""
    return shutil.disk_usage(_existing(folder)).free


def _device(folder: Path) -> int:
    return _existing(folder).stat().st_dev


def _existing(folder: Path) -> Path:
    path = Path(os.path.realpath(folder))
    return next(place for place in (path, *path.parents) if place.exists())


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
