"""How wheels are built: with the demo's bundle inside, so that it runs where the exporter is not installed.

An editable install gets no bundle: there the exporter makes one at the first use, in the user's cache.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.build import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)
from hatchling.builders.constants import EDITABLES_REQUIREMENT
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]


def get_requires_for_build_editable(config_settings: object = None) -> list[str]:
    """Hatchling's answer without what the exporter needs, which takes half a minute to install."""
    return [EDITABLES_REQUIREMENT]


class DemoBundle(BuildHookInterface[Any]):
    """Adds ``gpt2xl/demo``, exported from ``models/demo``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Export before the files of the wheel are collected."""
        self._temporary = TemporaryDirectory(prefix="gpt2xl-")
        if version == "editable":
            return
        root, bundle = Path(self.root), Path(self._temporary.name, "demo")
        sys.path[:0] = [str(root / "runtime"), str(root / "export")]
        from gpt2xl_export import ExportOptions, export
        from gpt2xl_export.named_models import DEMO_PRECISION

        export(root / "models" / "demo", bundle, ExportOptions(DEMO_PRECISION))
        build_data["force_include"][str(bundle)] = "gpt2xl/demo"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the bundle: the wheel holds it."""
        self._temporary.cleanup()
