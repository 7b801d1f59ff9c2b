"""Whole text graphs beside the runtime, on the demo and on small random models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import gpt2xl
from gpt2xl import CheckpointError, ExportError, Gpt2xlWarning, RequestError
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.verification.verify import verify

DEMO = Path(__file__).parents[3] / "models" / "demo"
PROMPTS = (
    "Once upon a time",
    "The king said “hello” ",
    "naïve",
    "The old witch 😀",
    "One day\n\n",
    "",
)
CASES = [
    ExportOptions("fp32", text=True),
    ExportOptions("int8", text=True),
    ExportOptions("int8-weight", text=True),
    ExportOptions("int4", block_size=32, text=True),
    ExportOptions("int4", text=True),
]
NAMES = ["fp32", "int8", "int8-weight", "int4-32", "int4"]
Run = Callable[..., tuple[str, list[int], str]]


def runner(path: Path, options: ort.SessionOptions | None = None) -> Run:
    session = ort.InferenceSession(path, options)
    name = session.get_inputs()[0].name

    def run(
        prompt: Any,
        *,
        n: int = 60,
        heat: float = 0.8,
        k: int = 40,
        seed: int = 1,
        stops: bool = True,
    ) -> tuple[str, list[int], str]:
        is_text = isinstance(prompt, str)
        feed = {
            name: np.array([prompt], object) if is_text else np.array(prompt, np.int64),
            "max_new_tokens": np.array(n), "temperature": np.array(heat, np.float64), "top_k": np.array(k),
            "seed": np.array(seed), "stop_at_end_of_text": np.array(stops),
        }  # fmt: skip
        text, ids, reason = session.run(["text", "ids", "finish_reason"], feed)
        return text[0], ids.tolist(), reason[0]

    return run


def own(result: gpt2xl.Generation) -> tuple[str, list[int], str]:
    return result.text, result.new_ids, result.finish_reason


@pytest.fixture(scope="module", params=CASES, ids=NAMES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("text") / "demo"
    export(DEMO, out, request.param)
    return out


@pytest.mark.slow
def test_texts_are_those_of_the_runtime(folder: Path) -> None:
    model, run = gpt2xl.load(folder), runner(open_bundle(folder).text_graphs["ids"])
    for seed, prompt in enumerate(PROMPTS):
        ids = model.tokenizer.encode(prompt)
        greedy = model.generate(prompt, greedy=True, max_new_tokens=60)
        assert run(ids, heat=0) == own(greedy)
        drawn = model.generate(prompt, seed=seed, temperature=0.8, top_k=40, max_new_tokens=60)
        assert run(ids, seed=seed) == own(drawn)
        wild = model.generate(prompt, seed=seed, temperature=1.4, top_k=0, max_new_tokens=30)
        assert run(ids, seed=seed, heat=1.4, k=0, n=30) == own(wild)


@pytest.fixture(scope="module")
def tiny(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("text") / "tiny"
    export(checkpoint, out, ExportOptions(text=True))
    return out


def test_end_of_text_stops_only_where_it_is_asked_for(tiny: Path) -> None:
    model, run = gpt2xl.load(tiny), runner(tiny / "onnx" / "ids_to_text.onnx")
    stopped = 0
    for seed in range(20):
        found = run([1, 2, 3], seed=seed, heat=2.0, k=0)
        assert found == own(
            model.generate([1, 2, 3], seed=seed, temperature=2, top_k=0, max_new_tokens=60)
        )
        stopped += found[2] == "stop"
        going_on = model.generate(
            [1, 2, 3], seed=seed, temperature=2, top_k=0, max_new_tokens=60, eos_token_id=()
        )
        assert run([1, 2, 3], seed=seed, heat=2.0, k=0, stops=False) == own(going_on)
    assert 0 < stopped < 20


def test_the_context_ends_a_text(tiny: Path) -> None:
    model, run = gpt2xl.load(tiny), runner(tiny / "onnx" / "ids_to_text.onnx")
    for length in (1, 50, 95, 96):
        prompt = [5] * length
        found = run(prompt, n=1000, stops=False)
        assert found == own(
            model.generate(
                prompt, seed=1, temperature=0.8, top_k=40, max_new_tokens=1000, eos_token_id=()
            )
        )
        assert len(found[1]) == 97 - length
    for prompt, n in (([5] * 97, 9), ([5], 0), ([5], -3)):
        assert run(prompt, n=n) == ("", [], "length")


def test_the_bundle_knows_its_text_graphs(tiny: Path) -> None:
    names = {"onnx/ids_to_text.onnx", "onnx/text_to_text.onnx"}
    content = json.loads((tiny / "gpt2xl.json").read_text("utf-8"))
    assert names < content["files"].keys()
    assert (content["text"], content["one_file"]) == (True, "none")
    checks = {check.name: check for check in verify(tiny)}
    assert checks["text"].status == "ok"
    assert checks["text"].detail.endswith(
        "from ids 8 texts, greedy and drawn, as by the engine graph"
    )


def test_a_text_graph_that_gives_other_texts_fails(tiny: Path, tmp_path: Path) -> None:
    import shutil

    from tests.export.verification.tampering import sum_again

    copy = Path(shutil.copytree(tiny, tmp_path / "copy"))
    path = copy / "onnx" / "ids_to_text.onnx"
    content = path.read_bytes()
    changed = content.replace(np.array(2.0**-53).tobytes(), np.array(2.0**-55).tobytes())
    assert changed != content
    path.write_bytes(changed)
    sum_again(copy)
    failed = [check for check in verify(copy) if check.status == "failed"]
    assert [check.name for check in failed] == ["text"]
    assert "the engine graph " in failed[0].detail


def test_one_file_needs_no_other(checkpoint: Path, tiny: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "out", ExportOptions(text=True, one_file="ids"))
    alone = tmp_path / "alone.onnx"
    (tmp_path / "out" / "onnx" / "ids_to_text.onnx").rename(alone)
    assert runner(alone)([1, 2, 3]) == runner(tiny / "onnx" / "ids_to_text.onnx")([1, 2, 3])


def test_a_file_beyond_2_gb_is_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2xl_export.text_graphs.writing.LARGEST_FILE", 2**24 + 1000)
    with pytest.raises(ExportError, match=r"would not stay below 2 GB.*leave out --one-file"):
        export(checkpoint, tmp_path / "out", ExportOptions(text=True, one_file="ids"))
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_is_refused(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="one_file is about a text graph"):
        ExportOptions(one_file="ids")
    with pytest.raises(
        CheckpointError, match="text graphs need a head size that is a multiple of 8, not 4"
    ):
        export(make_checkpoint({"n_head": 8}), tmp_path / "out", ExportOptions(text=True))


def test_a_tokenizer_unlike_gpt2s_gets_no_graph_for_strings(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_checkpoint()
    config = {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True}
    (source / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    with pytest.warns(
        Gpt2xlWarning, match="no graph from string to text: the tokenizer has a space before"
    ):
        export(source, tmp_path / "out", ExportOptions(text=True))
    assert list(open_bundle(tmp_path / "out").text_graphs) == ["ids"]
