"""Whether a bundle can fit at all: one line before loading instead of a kill in the middle of it.

Refuses only what surely cannot work. onnxruntime copies nearly all weights to the heap, in its kernels'
layout, so a limit below their size is hopeless; above it, nobody knows. The KV cache is named but not
counted: it takes memory as the text grows.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from gpt2xl.bundle.bundle import Bundle
from gpt2xl.errors import BundleError

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
KV_BYTES = {"int8": 1}  # by the manifest's "kv"; float32 otherwise
Limit = tuple[str, int]  # what limits, bytes it leaves


def check_memory(bundle: Bundle, *, proc: Path = PROC, cgroups: Path = CGROUPS) -> None:
    """Refuse a bundle that this process may not hold.

    Args:
        bundle: what is about to be loaded.
        proc: where the kernel tells about processes.
        cgroups: where control groups are mounted.

    Raises:
        BundleError: a limit is below the size of the weights.
    """
    need = weights_size(bundle)
    limits = [_address_space(proc), _data_segment(proc), _system(proc), *_cgroups(proc, cgroups)]
    name, free = min(filter(None, limits), key=lambda limit: limit[1], default=("", need))
    if free >= need:
        return
    raise BundleError(
        f"'{bundle.folder}' needs {_mb(need)} for its weights and up to {_mb(_kv_size(bundle))} for"
        f" the KV cache, but {name} leaves {_mb(free)}: raise it, or export with a smaller"
        " --precision (int4 is the smallest)."
    )


def weights_size(bundle: Bundle) -> int:
    """Bytes of the graph and the data file it is known to have."""
    listed = bundle.manifest.files if bundle.manifest else {}
    data = [name for name in listed if name.endswith(".onnx_data")]
    graph = bundle.graph
    files = [graph, *(bundle.folder / name for name in data)]
    if not data:  # somebody else's export
        files += [graph.with_name(graph.name + end) for end in ("_data", ".data")]
    return sum(path.stat().st_size for path in files if os.path.isfile(path))


def address_space_left(proc: Path = PROC) -> int | None:
    """Bytes this process may still map; None for no limit."""
    limit = _address_space(proc)
    return limit and limit[1]


def memory_left(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Bytes of heap this process may still fill without swapping; None where nobody tells."""
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
    """Of this process's control groups and those above them, versions 2 and 1."""
    swap_there = _table(proc / "meminfo").get("SwapTotal", 0)
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers in {"", "memory"}:
            base = root / controllers
            group = base / path.lstrip("/")
            # Inside a container the path may be the host's: what is mounted is the container's own.
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
