"""Memory limits of this process, to refuse a bundle that cannot fit before the system kills the process.

Only what is certain to fail is refused. onnxruntime copies nearly all weights to the heap, in the layout of its
kernels, so loading fails where a limit is below their size; above it, loading may work. The KV cache is named
but not counted: it takes memory as the text grows.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from gpt2xl.bundle.bundle import Bundle
from gpt2xl.errors import BundleError

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
KV_BYTES = {"int8": 1}  # by the manifest's "kv"; float32 otherwise
Limit = tuple[str, int]  # name of the limit, bytes left below it


def check_memory(bundle: Bundle, *, proc: Path = PROC, cgroups: Path = CGROUPS) -> None:
    """Refuse a bundle whose weights exceed a memory limit of this process.

    Args:
        bundle: to be loaded.
        proc: the proc file system.
        cgroups: the mount point of control groups.

    Raises:
        BundleError: a limit is below the size of the weights.
    """
    need = bundle.weights_size
    limits = [_address_space(proc), _data_segment(proc), _system(proc), *_cgroups(proc, cgroups)]
    name, free = min(filter(None, limits), key=lambda limit: limit[1], default=("", need))
    if free >= need:
        return
    raise BundleError(
        f"'{bundle.folder}' needs {_mb(need)} for its weights and up to {_mb(_kv_size(bundle))} for"
        f" the KV cache, but {name} leaves {_mb(free)}: raise it, or export with a smaller"
        " --precision (int4 is the smallest)."
    )


def address_space_left(proc: Path = PROC) -> int | None:
    """Bytes that this process may still map; None where there is no limit."""
    limit = _address_space(proc)
    return limit and limit[1]


def memory_left(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Bytes of heap that this process may still use without swapping; None where the system does not say."""
    limits = filter(None, [_system(proc, swap=False), *_cgroups(proc, cgroups)])
    return min((free for _, free in limits), default=None)


def _kv_size(bundle: Bundle) -> int:
    config = bundle.config
    size = KV_BYTES.get(bundle.manifest.kv, 4) if bundle.manifest else 4
    return 2 * config.n_layer * config.n_positions * config.n_embd * size


def _address_space(proc: Path) -> Limit | None:
    return _rlimit("RLIMIT_AS", "the limit on address space (ulimit -v)", proc, "VmSize")


def _data_segment(proc: Path) -> Limit | None:
    return _rlimit("RLIMIT_DATA", "the limit on data (ulimit -d)", proc, "VmData")


def _rlimit(which: str, name: str, proc: Path, used: str) -> Limit | None:
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(getattr(resource, which))
    if soft == resource.RLIM_INFINITY:
        return None
    return name, max(0, soft - _table(proc / "self" / "status").get(used, 0))


def _system(proc: Path, *, swap: bool = True) -> Limit | None:
    table = _table(proc / "meminfo")
    if "MemAvailable" not in table:
        return None
    return "this machine's memory", table["MemAvailable"] + swap * table.get("SwapFree", 0)


def _cgroups(proc: Path, root: Path) -> Iterator[Limit]:
    """Limits of this process's control groups and their parents, versions 2 and 1."""
    swap_there = _table(proc / "meminfo").get("SwapTotal", 0)
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers in {"", "memory"}:
            base = root / controllers
            group = base / path.lstrip("/")
            # In a container the path may be the host's, while the container's own group is mounted.
            for folder in [group, *group.parents]:
                if folder.is_relative_to(base):
                    yield from _cgroup(folder, 1 if controllers else 2, swap_there)


def _cgroup(folder: Path, version: int, swap_there: int) -> Iterator[Limit]:
    stat = _table(folder / "memory.stat", unit=1)
    if version == 2:
        limit, used = _number(folder / "memory.max"), stat.get("anon", 0)
        swap = _number(folder / "memory.swap.max")
    else:  # memsw is memory and swap together
        limit, used = _number(folder / "memory.limit_in_bytes"), stat.get("total_rss", 0)
        both = _number(folder / "memory.memsw.limit_in_bytes")
        swap = None if limit is None or both is None else max(0, both - limit)
    if limit is not None:
        swap = swap_there if swap is None else min(swap, swap_there)
        yield f"the memory limit of its control group ({folder})", max(0, limit + swap - used)


def _number(path: Path) -> int | None:
    """A count of bytes; None for "max", and where there is no such file."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _table(path: Path, unit: int = 1024) -> dict[str, int]:
    """{name: bytes} of lines such as "MemTotal: 24 kB" or "anon 24"."""
    words = [line.replace(":", " ").split() for line in _lines(path)]
    return {w[0]: int(w[1]) * unit for w in words if len(w) > 1 and w[1].isdigit()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
