"""lm-eval's own tasks through our model type, through its `hf` in float32 and by `gpt2xl eval`, on local files."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from gpt2xl import CheckpointError, RequestError
from gpt2xl.bundle.config import read_config
from gpt2xl_export.exporting import export
from gpt2xl_export.source.tensors import expected_shapes

reason = "the extra 'interop' is not installed"
lm_eval = pytest.importorskip("lm_eval", reason=reason)
instance = pytest.importorskip("lm_eval.api.instance", reason=reason)
registry = pytest.importorskip("lm_eval.api.registry", reason=reason)
task_files = pytest.importorskip("lm_eval.tasks", reason=reason)
pytest.importorskip("transformers", reason=reason)
from gpt2xl_eval.lm_eval.model import Gpt2xlLM  # noqa: E402
from gpt2xl_eval.options import EvalOptions  # noqa: E402
from gpt2xl_eval.running import evaluate  # noqa: E402
from gpt2xl_eval.tasks import make_task  # noqa: E402

TASKS = Path(lm_eval.__file__).parent / "tasks"
TITLE = re.compile(r"^ = [^=\n]+ = *$", re.MULTILINE)
CONTEXT = 128
PASSAGES, PAGES = 40, 2


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Data sets from local files, and caches of our own."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HF_HUB_OFFLINE", "1")  # for commands
    for module in ("huggingface_hub.constants", "datasets.config"):
        patch.setattr(f"{module}.HF_HUB_OFFLINE", True)
    patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
    patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
    # It lists every installed package, which takes longer than the tasks.
    patch.setattr("lm_eval.evaluator.add_env_info", lambda _: None)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def evaluation_data(shared_data: Path) -> Path:
    return shared_data / "eval"


@pytest.fixture(scope="module")
def pages(evaluation_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WikiText-2's test set as lm-eval's data set has it: an article a row."""
    text = (evaluation_data / "wikitext-2" / "test.txt").read_text("utf-8")
    starts = [match.start() for match in TITLE.finditer(text)]
    articles = [text[a : b - 1] for a, b in pairwise(starts)]
    path = tmp_path_factory.mktemp("data") / "wikitext.jsonl"
    rows = (json.dumps({"page": article}) + "\n" for article in articles)
    path.write_text("".join(rows), "utf-8")
    (path.parent / "wiki.test.tokens").write_text("\n".join(articles[:PAGES]), "utf-8")
    return path


def random_checkpoint(folder: Path, tokenizer: Path) -> Path:
    """Random weights, GPT-2's vocabulary, a short context."""
    folder.mkdir()
    values = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 50257,
        "n_positions": CONTEXT, "n_embd": 32, "n_layer": 2, "n_head": 2,
        "bos_token_id": 50256, "eos_token_id": 50256,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(values))
    rng = np.random.default_rng(0)
    shapes = expected_shapes(read_config(folder, CheckpointError))
    tensors = {
        name: (rng.normal(0, 0.3, shape) + ("ln_" in name and name.endswith("weight"))).astype("f4")
        for name, shape in shapes.items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name, published in (("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe")):
        shutil.copy(tokenizer / published, folder / name)
    return folder


@pytest.fixture(scope="module", params=["random", "demo"])
def checkpoint(
    request: pytest.FixtureRequest, evaluation_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    if request.param == "demo":
        return Path(__file__).parents[2] / "models" / "demo"
    tokenizer = evaluation_data.parent / "tokenizer"
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "random", tokenizer)


@pytest.fixture(scope="module")
def ours(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    export(checkpoint, out)
    return Gpt2xlLM(str(out), batch_size="auto")


@pytest.fixture(scope="module")
def theirs(checkpoint: Path) -> Any:
    make = registry.get_model("hf")
    return make(pretrained=str(checkpoint), device="cpu", dtype="float32", batch_size=4)


@pytest.fixture(scope="module")
def tasks(evaluation_data: Path, pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """lm-eval's own tasks, with data from files; beside them one that generates."""
    folder = tmp_path_factory.mktemp("tasks")
    lambada = evaluation_data / "lambada" / "lambada_test.jsonl"
    write_task(folder, "lambada/lambada_openai.yaml", "lambada", lambada)
    write_task(folder, "wikitext/wikitext.yaml", "wiki", pages)
    write_task(folder, "lambada/lambada_openai.yaml", "words", lambada, GENERATION)
    return task_files.TaskManager(include_path=str(folder), include_defaults=False)


GENERATION = """
output_type: generate_until
doc_to_text: "{{text[:300]}}"
generation_kwargs: {until: ["\\n", "."], max_gen_toks: 12, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


def write_task(folder: Path, included: str, name: str, data: Path, changes: str = "") -> None:
    lines = f"""
include: {TASKS / included}
task: {name}
dataset_path: json
dataset_name: null
training_split: null
validation_split: null
dataset_kwargs: {{data_files: {{test: {data}}}}}
"""
    (folder / f"{name}.yaml").write_text(lines + changes)


def results(model: Any, tasks: Any, task: str, limit: int) -> dict[str, Any]:
    """The figures of a task by name, and what the model has answered."""
    found = lm_eval.simple_evaluate(
        model=model, tasks=[task], task_manager=tasks, limit=limit, bootstrap_iters=0
    )
    figures = found["results"][task]
    answers = [sample["resps"] for sample in found["samples"][task]]
    numbers = {name: value for name, value in figures.items() if isinstance(value, float)}
    return {"answers": answers, **numbers}


def figures_of_eval(ours: Any, task: str, data: Path, **options: Any) -> dict[str, float]:
    """By `gpt2xl eval` with the options that docs/evaluation.md names for lm-eval's task."""
    model = ours.model
    made = make_task(task, data, model.tokenizer, model.config.n_positions, EvalOptions(**options))
    return dict(evaluate(model, made).figures)


def test_figures_of_lambada_are_those_of_transformers(
    ours: Any, theirs: Any, tasks: Any, evaluation_data: Path
) -> None:
    wanted, found = (results(model, tasks, "lambada", PASSAGES) for model in (theirs, ours))
    del wanted["answers"], found["answers"]
    assert found == pytest.approx(wanted, rel=1e-4)
    data = evaluation_data / "lambada" / "lambada_test.jsonl"
    options = {"detokenizer": "none", "prefix": "none", "limit": PASSAGES}
    ours_alone = figures_of_eval(ours, "lambada", data, **options)
    names = {
        "perplexity,none": "perplexity per last word",
        "acc,none": "accuracy of the last word",
    }
    for theirs_name, name in names.items():
        assert ours_alone[name] == pytest.approx(wanted[theirs_name], rel=1e-4), name


def test_figures_of_wikitext_are_those_of_transformers(
    ours: Any, theirs: Any, tasks: Any, pages: Path
) -> None:
    wanted, found = (results(model, tasks, "wiki", PAGES) for model in (theirs, ours))
    del wanted["answers"], found["answers"]
    assert found == pytest.approx(wanted, rel=1e-4)
    ours_alone = figures_of_eval(
        ours,
        "wikitext2",
        pages.with_name("wiki.test.tokens"),
        detokenizer="lm-eval",
        documents="articles",
        stride=ours.max_length,
    )
    names = {
        "word_perplexity,none": "perplexity per word",
        "byte_perplexity,none": "perplexity per byte",
        "bits_per_byte,none": "bits per byte",
    }
    for theirs_name, name in names.items():
        assert ours_alone[name] == pytest.approx(wanted[theirs_name], rel=1e-4), name


def test_greedy_texts_are_those_of_transformers(ours: Any, theirs: Any, tasks: Any) -> None:
    wanted, found = (results(model, tasks, "words", 6) for model in (theirs, ours))
    assert found["answers"] == wanted["answers"]
    assert any(answer[0][0] for answer in wanted["answers"])


def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Any]:
    return [instance.Instance(kind, {}, given, number) for number, given in enumerate(arguments)]


PAIRS = (
    ("", "Once upon a time"),
    ("The king said to his ", "daughter"),
    ("word " * 2 * CONTEXT, "one two three"),
    ("Once", " upon a time, there was"),
    ("Once", " upon a time, there is"),
    ("Once upon", " a"),
    ("One day", " " + "word " * 20),
)


def test_pairs_of_any_length_are_scored_as_by_transformers(ours: Any, theirs: Any) -> None:
    """An empty context, one with a space at its end, one that is too long, and one that is shared."""
    wanted = theirs.loglikelihood(requests("loglikelihood", *PAIRS), disable_tqdm=True)
    found = ours.loglikelihood(requests("loglikelihood", *PAIRS), disable_tqdm=True)
    totals = [total for total, _ in wanted]  # one is near zero, where float32 has few digits
    assert [total for total, _ in found] == pytest.approx(totals, rel=1e-4, abs=1e-6)
    assert [is_greedy for _, is_greedy in found] == [is_greedy for _, is_greedy in wanted]


@pytest.mark.parametrize("over", [-1, 0, 1, 2, CONTEXT + 3])
def test_a_text_about_as_long_as_the_context_is_scored_as_by_transformers(
    ours: Any, theirs: Any, over: int
) -> None:
    # Not one word again and again: lm-eval takes equal windows for one, whatever part of them is scored.
    length = ours.max_length + over
    text = "".join(random.Random(over).choices((" the", " of", " and", " in", " he"), k=length))
    assert len(ours.tok_encode(text)) == length
    given = requests("loglikelihood_rolling", (text,), (text[:-8],))
    wanted = theirs.loglikelihood_rolling(given, disable_tqdm=True)
    assert ours.loglikelihood_rolling(given, disable_tqdm=True) == pytest.approx(wanted, rel=1e-4)


def test_samples_depend_on_the_seed_alone(ours: Any) -> None:
    options = {"until": [], "do_sample": True, "temperature": 1.0, "max_gen_toks": 9}
    given = requests("generate_until", ("Once upon", options), ("Once upon", options))
    first, second = ours.generate_until(given, disable_tqdm=True)
    assert first != second
    assert ours.generate_until(given, disable_tqdm=True) == [first, second]


def test_requests_with_other_options_keep_their_places(ours: Any) -> None:
    texts = ("The old king", "Once", "The young king")
    lengths = (3, 1, 2)
    given = [(text, {"max_gen_toks": n}) for text, n in zip(texts, lengths, strict=True)]
    together = ours.generate_until(requests("generate_until", *given), disable_tqdm=True)
    alone = [
        ours.generate_until(requests("generate_until", one), disable_tqdm=True) for one in given
    ]
    assert together == [text for (text,) in alone]


def test_an_unknown_option_is_named(ours: Any) -> None:
    given = requests("generate_until", ("Once", {"topk": 3, "max_gen_toks": 5}))
    with pytest.raises(RequestError, match="'topk'; did you mean 'top_k'"):
        ours.generate_until(given, disable_tqdm=True)


def test_chat_templates_are_refused(ours: Any, tasks: Any) -> None:
    with pytest.raises(RequestError, match="without --apply_chat_template"):
        lm_eval.simple_evaluate(
            model=ours, tasks=["lambada"], task_manager=tasks, limit=1, apply_chat_template=True
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 10**6}, "max_length has to be from 1 to"),
        ({"batch_size": "many"}, "batch_size has to be a number or auto"),
    ],
)
def test_an_option_out_of_range_is_refused(
    ours: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        Gpt2xlLM(str(ours.model.bundle.folder), **options)


def test_the_command_has_the_model_type(ours: Any, tasks: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gpt2xl_eval.lm_eval", "--model", "gpt2xl"]
    command += ["--model_args", f"pretrained={ours.model.bundle.folder}", "--tasks", "lambada"]
    command += ["--include_path", str(tasks.include_path), "--limit", "2"]
    command += ["--batch_size", "auto", "--output_path", str(tmp_path / "out.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "|lambada|" in done.stdout
    (written,) = tmp_path.rglob("*.json")
    config = json.loads(written.read_text())["config"]
    assert (config["model"], config["model_precision"]) == ("gpt2xl", "fp32")


def test_the_command_names_what_is_no_bundle_on_one_line(tasks: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gpt2xl_eval.lm_eval", "--model", "gpt2xl", "--limit", "1"]
    command += ["--model_args", f"pretrained={tmp_path}", "--tasks", "lambada"]
    command += ["--include_path", str(tasks.include_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
