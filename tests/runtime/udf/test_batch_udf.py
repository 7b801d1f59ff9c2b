import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2xl import GenerationOptions, Grammar, LoadOptions, Model, RequestError, batch_udf, load
from gpt2xl.udf import process_model as cache
from gpt2xl.udf.rows import row_seed

PROMPTS = ["Once upon", "the king", "a fair daughter", "go"]
ONE = LoadOptions(threads=1)


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    return load(bundle, ONE)


def batch_of(prompts: list[Any] = PROMPTS) -> dict[str, Any]:
    return {"id": np.arange(len(prompts)), "prompt": prompts}


def texts_of(bundle: Path, batch: dict[str, Any], **options: Any) -> list[str]:
    return list(batch_udf(bundle, load=ONE, max_new_tokens=8, seed=3, **options)(batch)["text"])


def test_texts_are_those_of_a_batch(bundle: Path, model: Model) -> None:
    found = batch_udf(bundle, load=ONE, seed=3, max_new_tokens=8)(batch_of())
    expected = dict(model.generate_batch(PROMPTS, seed=3, max_new_tokens=8))
    assert list(found["text"]) == [expected[number].text for number in range(4)]
    assert found["seed"].tolist() == [3, 4, 5, 6]
    assert found["new_tokens"].tolist() == [len(expected[number].new_ids) for number in range(4)]
    assert list(found["error"]) == [""] * 4
    assert found["prompt"] is PROMPTS


def test_the_seed_comes_from_the_id(bundle: Path) -> None:
    """Neither the order of rows, nor the split into batches, nor their number changes a text."""
    whole = texts_of(bundle, batch_of())
    turned = texts_of(bundle, {"id": [3, 2, 1, 0], "prompt": PROMPTS[::-1]}, rows=3)
    parts = [texts_of(bundle, {"id": [n], "prompt": [PROMPTS[n]]})[0] for n in range(4)]
    assert whole == turned[::-1] == parts
    assert texts_of(bundle, {"id": [7] * 4, "prompt": PROMPTS}) != whole


def test_texts_as_ids(bundle: Path, model: Model) -> None:
    found = batch_udf(bundle, load=ONE, seed=3, max_new_tokens=8)(
        {"id": ["x", "y"], "prompt": ["go", "go"]}
    )
    for seed, text in zip(found["seed"].tolist(), found["text"], strict=True):
        assert model.generate("go", seed=seed, max_new_tokens=8).text == text
    assert found["text"][0] != found["text"][1]


@pytest.mark.parametrize(
    ("row_id", "prompt", "error"),
    [
        (1, None, "this one is None"),
        (1, float("nan"), "this one is nan"),
        (1, "go " * 200, "context is 96"),
        (1, [5, 900], "id 900"),
        (None, "go", "an id has to be an integer or a text, but this one is None"),
        (1.0, "go", "an id has to be an integer"),
        (-9, "go", "add up to -6"),
        (2**63, "go", "2**63 - 1"),
    ],
)
def test_a_bad_row_is_an_error_of_its_own(
    bundle: Path, row_id: Any, prompt: Any, error: str
) -> None:
    batch = {"id": [0, row_id, 2], "prompt": ["Once upon", prompt, "a fair daughter"]}
    found = batch_udf(bundle, load=ONE, seed=3, max_new_tokens=8)(batch)
    whole = texts_of(bundle, batch_of())
    assert list(found["text"]) == [whole[0], "", whole[2]]
    assert error in found["error"][1]
    assert found["error"][0] == found["error"][2] == ""
    assert (found["finish_reason"][1], found["new_tokens"][1], found["seed"][1]) == ("", 0, -1)


def test_types_of_columns_do_not_depend_on_rows(bundle: Path) -> None:
    udf = batch_udf(bundle, load=ONE, seed=3, max_new_tokens=2, logprobs=1)
    for prompts in (PROMPTS, [None, None], []):
        found = udf(batch_of(list(prompts)))
        kinds = {name: found[name].dtype.kind for name in list(found)[2:]}
        assert kinds == {
            "text": "O", "finish_reason": "O", "new_tokens": "i", "seed": "i", "error": "O",
            "logprobs": "O",
        }  # fmt: skip


def test_ids_as_prompts_and_greedy_texts_without_ids(bundle: Path, model: Model) -> None:
    ids = np.array(model.tokenizer.encode("the king"))
    found = batch_udf(bundle, load=ONE, greedy=True, max_new_tokens=8)({"prompt": [ids]})
    assert found["text"][0] == model.generate("the king", greedy=True, max_new_tokens=8).text
    assert found["seed"].tolist() == [-1]


def test_beam_search(bundle: Path, model: Model) -> None:
    options = GenerationOptions(num_beams=2, greedy=True, max_new_tokens=6)
    found = batch_udf(bundle, options, load=ONE)({"prompt": ["the king", None]})
    assert found["text"][0] == model.generate("the king", options).text
    assert "None" in found["error"][1]


def test_pickled_it_is_small_and_keeps_the_seed_it_drew(bundle: Path) -> None:
    udf = batch_udf(bundle, load=ONE, max_new_tokens=8, grammar=Grammar.regex("[a-z ]+"))
    first = udf(batch_of())
    data = pickle.dumps(udf)
    assert len(data) < 4000
    assert list(pickle.loads(data)(batch_of())["text"]) == list(first["text"])


def test_another_process_gives_the_same_texts(bundle: Path, tmp_path: Path) -> None:
    udf = batch_udf(bundle, load=ONE, seed=3, max_new_tokens=8)
    (tmp_path / "udf").write_bytes(pickle.dumps((udf, batch_of())))
    code = (
        "import pickle, sys; udf, batch = pickle.load(open(sys.argv[1], 'rb')); "
        "assert not {'ray', 'pandas', 'pyarrow', 'pyspark'} & set(sys.modules); "
        "sys.stdout.buffer.write(pickle.dumps(list(udf(batch)['text'])))"
    )
    out = subprocess.check_output([sys.executable, "-c", code, str(tmp_path / "udf")])
    assert pickle.loads(out) == texts_of(bundle, batch_of())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_loads_its_own_model(bundle: Path) -> None:
    """onnxruntime's threads do not survive a fork: a session that came along would wait for them forever."""
    udf = batch_udf(bundle, load=LoadOptions(threads=2), seed=3, max_new_tokens=8)
    expected = list(udf(batch_of())["text"])
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(udf, (batch_of(),)).get(60)
    assert list(found["text"]) == expected


def test_a_process_loads_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = list[object]()
    real: Callable[..., Model] = load

    def counted_load(*arguments: Any) -> Model:
        loads.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(cache, "load", counted_load)
    cache._loaded.cache_clear()
    udf = batch_udf(bundle, load=ONE, seed=3, max_new_tokens=4)
    copies = [pickle.loads(pickle.dumps(udf)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        texts = [list(found["text"]) for found in pool.map(lambda f: f(batch_of()), copies)]
    assert texts == [texts[0]] * 4
    assert len(loads) == 1


def test_refusals(bundle: Path) -> None:
    udf = batch_udf(bundle, load=ONE, max_new_tokens=2)
    with pytest.raises(RequestError, match=r"no column 'prompt', only id, words: .*prompt_column"):
        udf({"id": [1], "words": ["go"]})
    with pytest.raises(RequestError, match="no column 'id'"):
        udf({"prompt": ["go"]})
    with pytest.raises(RequestError, match="a column 'text' already: give another prefix"):
        udf({"id": [1], "prompt": ["go"], "text": ["x"]})
    with pytest.raises(RequestError, match="top_k"):
        batch_udf(bundle, top_k=-1)
    with pytest.raises(TypeError, match="did you mean 'top_k'"):
        batch_udf(bundle, topk=1)  # type: ignore[call-arg]
    with pytest.raises(RequestError, match="num_return_sequences"):
        batch_udf(bundle, num_return_sequences=2)
    with pytest.raises(RequestError, match="rows has to be >= 1"):
        batch_udf(bundle, rows=0)
    # An option that no row could have is the job's error, not one of each row.
    with pytest.raises(RequestError, match="less than the context"):
        batch_udf(bundle, load=ONE, overflow="slide", overflow_keep=90)(batch_of())


def test_other_names_of_columns(bundle: Path) -> None:
    udf = batch_udf(
        bundle, load=ONE, seed=3, max_new_tokens=8, id_column="n", prompt_column="text",
        prefix="new_",
    )  # fmt: skip
    found = udf({"n": [0], "text": ["Once upon"]})
    assert list(found) == [
        "n", "text", "new_text", "new_finish_reason", "new_new_tokens", "new_seed", "new_error",
    ]  # fmt: skip
    assert found["new_text"][0] == texts_of(bundle, batch_of())[0]


def test_pandas_frames(bundle: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"id": range(4), "prompt": PROMPTS, "more": [1.5] * 4})
    udf = batch_udf(bundle, load=ONE, seed=3, max_new_tokens=8)
    first, second = udf.map_frames(iter([frame[:3], frame[3:]]))
    assert [*first["text"], *second["text"]] == texts_of(bundle, batch_of())
    assert list(first.columns)[:4] == ["id", "prompt", "more", "text"]
    assert list(frame.columns) == ["id", "prompt", "more"]


def test_row_seed_spreads_texts() -> None:
    seeds = {row_seed(0, f"row {number}") for number in range(10_000)}
    assert len(seeds) == 10_000
    assert max(seeds) < 2**62
