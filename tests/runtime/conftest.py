"""The demo in every precision, and its draft."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from gpt2xl import Model, load
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.rounding import calibration

MODELS = Path(__file__).parents[2] / "models"
TALE = (
    "Once upon a time there was a king who had a fair daughter and the old witch came to the castle and"
    " said give me the child or thou shalt lose thy kingdom but the youngest brother went out into the"
    " wide world to seek his fortune"
)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """Call it with "draft", a precision (quantized ones get an int8 KV cache), or "int8 --kv float"."""
    made: dict[str, Model] = {}

    def demo(name: str) -> Model:
        if name not in made:
            out = tmp_path_factory.mktemp("demo") / name
            draft = name == "draft"
            source = MODELS / ("demo-draft" if draft else "demo")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(calibration, "BUDGET", 0)  # int4 is exported faster
                kv: Literal["float", "auto"] = "float" if name.endswith(" --kv float") else "auto"
                export(source, out, ExportOptions("fp32" if draft else name.split()[0], kv=kv))
            made[name] = load(
                out, threads=1
            )  # as fast as two, and less disturbed by other processes
        return made[name]

    return demo


@pytest.fixture(scope="session")
def tales() -> list[str]:
    """50 prompts of 1 to 47 words."""
    words = TALE.split()
    return [" ".join(words[number % 7 :][: 1 + number * 7 % 47]) for number in range(50)]
