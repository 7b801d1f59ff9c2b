"""Change a bundle, and run `verify` on it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx.external_data_helper import uses_external_data

from gpt2xl_export.source.sums import file_sha256
from gpt2xl_export.verification.verify import Check, verify

WEIGHTS = "onnx/model.onnx_data"


def manifest(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "gpt2xl.json").read_text("utf-8"))
    assert isinstance(content, dict)
    return content


def change_manifest(folder: Path, **changes: object) -> None:
    (folder / "gpt2xl.json").write_text(json.dumps(manifest(folder) | changes), "utf-8")


def sum_again(folder: Path) -> None:
    """Update sizes and sums in the manifest."""
    names = [name for name in manifest(folder)["files"] if (folder / name).is_file()]
    files = {
        name: {"size": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)}
        for name in names
    }
    change_manifest(folder, files=files)


def change_graph(folder: Path, stem: str, change: Callable[[onnx.ModelProto], None]) -> None:
    path = folder / "onnx" / f"{stem}.onnx"
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    sum_again(folder)


def external(model: onnx.ModelProto, name: str) -> dict[str, Any]:
    """The entries of a tensor's external data, by key."""
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    assert uses_external_data(tensor)
    return {entry.key: entry for entry in tensor.external_data}


def statuses(folder: Path, source: Path | None = None) -> dict[str, str]:
    return {check.name: check.status for check in verify(folder, source)}


def failure(folder: Path, source: Path | None = None) -> Check:
    """The failed check; all checks after it are skipped because of it."""
    checks = list(verify(folder, source))
    (at,) = (i for i, check in enumerate(checks) if check.status == "failed")
    for check in checks[at + 1 :]:
        assert (check.status, check.detail) == ("skipped", f"{checks[at].name} failed")
    return checks[at]
