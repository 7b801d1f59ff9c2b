"""The machine that is measured, and the versions of what runs on it."""

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gpt2xl.errors import counted

EXTENSIONS = {
    "AVX512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "AMX": ("amx_int8",),
    "dot products": ("asimddp",),
    "int8 products": ("i8mm",),
}
"""Names for users, and the flags of /proc/cpuinfo that mean them: what the kernels' speed depends on."""


@dataclass(frozen=True)
class Machine:
    """What the figures depend on beside the bundles."""

    cpu: str
    extensions: tuple[str, ...]
    """Instructions that speed up products."""
    cores: int
    """Logical cores that this process may use."""
    memory_bytes: int | None
    """None where the system does not say."""
    system: str
    versions: dict[str, str]
    """By package."""

    @property
    def hardware(self) -> str:
        """CPU, cores and memory in a line."""
        extensions = f" ({', '.join(self.extensions)})" if self.extensions else ""
        memory = f", {self.memory_bytes / 1e9:.0f} GB memory" if self.memory_bytes else ""
        return f"{self.cpu}{extensions}, {counted(self.cores, 'core')}{memory}"

    @property
    def software(self) -> str:
        """Versions and the system in a line."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{versions}, {self.system}"


def this_machine() -> Machine:
    """What the system says about itself."""
    import onnxruntime

    from gpt2xl.version import __version__

    versions = {
        "gpt2xl": __version__,
        "onnxruntime": onnxruntime.__version__,
        "Python": platform.python_version(),
    }
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return Machine(
        cpu=_cpu(info),
        extensions=tuple(name for name, means in EXTENSIONS.items() if flags & set(means)),
        cores=_cores(),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.machine()}",
        versions=versions,
    )


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cpu(info: dict[str, str]) -> str:
    if name := info.get("model name"):
        return re.sub(r"\((R|TM)\)", "", name)
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stdout.strip():
            return done.stdout.strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
