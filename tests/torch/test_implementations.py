"""Every implementation of GPT-2 here, compared with transformers; a new one is one line."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.engine import EngineSession
from gpt2xl.sessions.portable import PortableSession
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.source.checkpoint import open_checkpoint

pytest.importorskip("torch", reason="parity with transformers needs torch")
pytest.importorskip("transformers", reason="parity with transformers needs it")

Logits = npt.NDArray[np.float32]
Implementation = Callable[[Path, Path, list[int]], Logits]


def reference(source: Path, bundle: Path, ids: list[int]) -> Logits:
    """The exporter's numpy reference."""
    return Reference(open_checkpoint(source)).logits([ids])[0]


def stepwise(session: EngineSession | PortableSession, ids: list[int]) -> Logits:
    """Logits after every token."""
    cache = session.new_cache()
    return np.concatenate([session.forward(np.array([[token]]), cache)[:, -1] for token in ids])


def engine(source: Path, bundle: Path, ids: list[int]) -> Logits:
    """The engine graph, token by token."""
    opened = open_bundle(bundle)
    assert opened.engine is not None
    return stepwise(
        EngineSession(open_graph(opened.engine, "cpu", LoadOptions(threads=1)), opened.config), ids
    )


def portable(source: Path, bundle: Path, ids: list[int]) -> Logits:
    """The portable graph, token by token."""
    opened = open_bundle(bundle)
    assert opened.portable is not None
    return stepwise(
        PortableSession(open_graph(opened.portable, "cpu", LoadOptions(threads=1)), opened.config),
        ids,
    )


@dataclass(frozen=True)
class Case:
    """One implementation; ``atol`` bounds every logit's difference: they reach 5, 1.3 on average."""

    run: Implementation
    options: ExportOptions
    atol: float

    def __str__(self) -> str:
        kv = "-kv-int8" if self.options.kv == "int8" else ""
        return f"{self.run.__name__}-{self.options.precision}{kv}"


CASES = [
    Case(reference, ExportOptions("fp32"), 1e-4),
    Case(portable, ExportOptions("fp32"), 1e-4),
    Case(engine, ExportOptions("fp32"), 1e-4),
    Case(portable, ExportOptions("fp16"), 0.02),
    Case(engine, ExportOptions("fp16"), 0.02),
    Case(portable, ExportOptions("int8"), 0.3),
    Case(engine, ExportOptions("int8"), 0.3),
    Case(engine, ExportOptions("int8", kv="int8"), 0.3),
    Case(portable, ExportOptions("int8-weight"), 0.3),
    Case(engine, ExportOptions("int8-weight"), 0.3),
    Case(portable, ExportOptions("int4"), 2),
    Case(engine, ExportOptions("int4"), 2),
]


@pytest.fixture(scope="module")
def original(
    build: Callable[..., Any],
    save: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Any, Path]:
    """One model and its folder."""
    model = build({"n_layer": 3, "n_head": 4, "head_dim": 32}, seed=5)
    return model, save(model, tmp_path_factory.mktemp("original") / "model")


@pytest.fixture(scope="module")
def exported(
    original: tuple[Any, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[ExportOptions], Path]:
    """Call it with options for the bundle of ``original``."""
    made: dict[ExportOptions, Path] = {}

    def make(options: ExportOptions) -> Path:
        if options not in made:
            made[options] = tmp_path_factory.mktemp("exported") / "bundle"
            export(original[1], made[options], options)
        return made[options]

    return make


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_implementation_gives_the_logits_of_transformers(
    original: tuple[Any, Path],
    exported: Callable[[ExportOptions], Path],
    logits_of: Callable[[Any, list[int]], Logits],
    case: Case,
) -> None:
    model, source = original
    ids = np.random.default_rng(1).integers(0, 287, 120).tolist()
    wanted = logits_of(model, ids)
    assert np.abs(wanted).max() == pytest.approx(5, abs=0.5)
    got = case.run(source, exported(case.options), ids)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=case.atol)
