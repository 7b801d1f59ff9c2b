"""What examples in docstrings may use: ``model`` and ``tokenizer``, the demo's."""

from importlib.util import find_spec
from pathlib import Path

import pytest

import gpt2xl
from gpt2xl_export import export

DEMO = Path(__file__).parent / "models" / "demo"
# pytest imports every module to look for examples; these need the extras "bench", "cli", "grammar", "lm-eval",
# "ray" and "serve".
collect_ignore_glob = [
    path
    for package, path in (
        ("matplotlib", "cli/*/benchmark/picture.py"),
        ("prompt_toolkit", "cli/*/repl/console.py"),
        ("matplotlib", "cli/*/bias/picture.py"),
        ("matplotlib", "cli/*/comparison/picture.py"),
        ("lm_eval", "evaluate/*/lm_eval/model.py"),
        ("llguidance", "runtime/*/constraints/grammar.py"),
        *(
            (package, "serve/**")
            for package in ("msgspec", "prometheus_client", "starlette", "uvicorn")
        ),
        ("ray", "cluster/**"),
        ("ray", "cli/*/batches/cluster.py"),
    )
    if not find_spec(package)
]


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> gpt2xl.Model:
    """The demo in float32."""
    bundle = tmp_path_factory.mktemp("examples") / "demo"
    export(DEMO, bundle)
    return gpt2xl.load(bundle, threads=1)


@pytest.fixture(autouse=True)
def doctest_place(request: pytest.FixtureRequest) -> None:
    """An empty folder for each example in a docstring; the demo for those that use it."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    source = "".join(example.source for example in request.node.dtest.examples)
    if "model" in source or "tokenizer" in source:
        model = request.getfixturevalue("demo_model")
        names = request.getfixturevalue("doctest_namespace")
        names |= {"model": model, "tokenizer": model.tokenizer}
        names |= {"GenerationOptions": gpt2xl.GenerationOptions}
    place, monkeypatch = request.getfixturevalue("tmp_path"), request.getfixturevalue("monkeypatch")
    monkeypatch.chdir(place)
    monkeypatch.setenv("GPT2XL_CACHE", str(place / "cache"))
