"""Options, seeds and structures of text generation; tests/torch compares them with transformers."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpt2xl
from gpt2xl import Model, RequestError, pipeline, set_seed
from gpt2xl import TextGenerationPipeline as Generator

PROMPTS = ["Once upon a time", "The king", "A"]


def test_the_call_of_the_model_card_runs(generator: Generator) -> None:
    set_seed(42)
    found = generator("Hello, I'm a language model,", max_length=30, num_return_sequences=5)
    texts = [record["generated_text"] for record in found]
    assert len(set(texts)) == 5
    assert all(text.startswith("Hello, I'm a language model,") for text in texts)
    lengths = [len(generator.tokenizer.encode(text)) for text in texts]
    assert max(lengths) <= 30


def test_set_seed_repeats_all_later_calls(generator: Generator) -> None:
    def calls() -> list[Any]:
        return [
            generator("The king", max_new_tokens=6),
            generator(PROMPTS, max_new_tokens=4, num_return_sequences=2),
            generator("The king", max_new_tokens=6),
        ]

    set_seed(1)
    first = calls()
    set_seed(1)
    assert calls() == first
    assert first[0] != first[2]
    set_seed(2)
    assert calls() != first


def test_without_set_seed_texts_differ(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2xl.pipelines.seeds.SEEDS._generator", None)
    assert generator("The king", max_new_tokens=12) != generator("The king", max_new_tokens=12)


def test_greedy_calls_draw_no_seed(generator: Generator) -> None:
    set_seed(3)
    wanted = generator("The king", max_new_tokens=6)
    set_seed(3)
    generator("The king", do_sample=False, max_new_tokens=6)
    generator("The king", seed=9, max_new_tokens=6)
    assert generator("The king", max_new_tokens=6) == wanted


@pytest.mark.parametrize("seed", [-1, 1.5, None, "42"])
def test_a_seed_out_of_range_is_refused(seed: Any) -> None:
    with pytest.raises(RequestError, match="seed has to be"):
        set_seed(seed)


def test_threads_draw_different_seeds(generator: Generator) -> None:
    set_seed(5)
    found: list[str] = []
    lock = threading.Lock()

    def draw() -> None:
        text = generator("The king", max_new_tokens=16)[0]["generated_text"]
        with lock:
            found.append(text)

    threads = [threading.Thread(target=draw) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) > 1


def test_texts_are_those_of_the_model_with_the_defaults_of_transformers(
    generator: Generator, model: Model
) -> None:
    wanted = model.generate("The king", seed=4, temperature=0.7, top_k=50, max_new_tokens=256).text
    assert generator("The king", seed=4)[0]["generated_text"] == f"The king{wanted}"
    for number, prompt in enumerate(PROMPTS):
        for k in range(2):
            found = generator(
                PROMPTS, seed=4, max_new_tokens=5, num_return_sequences=2, return_full_text=False
            )
            wanted = model.generate(
                prompt, seed=4 + 2 * number + k, temperature=0.7, top_k=50, max_new_tokens=5
            ).text
            assert found[number][k]["generated_text"] == wanted


@pytest.mark.parametrize("batch_size", [1, 2, 16, None])
def test_the_batch_size_changes_no_text(generator: Generator, batch_size: int | None) -> None:
    wanted = generator(PROMPTS, seed=1, max_new_tokens=6)
    assert generator(PROMPTS, seed=1, max_new_tokens=6, batch_size=batch_size) == wanted


def test_an_iterator_is_read_as_rows_become_free(generator: Generator) -> None:
    read: list[str] = []

    def prompts() -> Iterator[str]:
        for number in range(100):
            read.append(f"The king {number}")
            yield read[-1]

    results = generator(prompts(), max_new_tokens=2, batch_size=2, seed=1)
    first = next(results)
    assert first[0]["generated_text"].startswith("The king 0")
    assert len(read) < 10


def test_ids_stand_for_a_text(generator: Generator) -> None:
    ids = generator.tokenizer.encode("The king")
    wanted = generator("The king", do_sample=False, max_new_tokens=4)
    assert generator(ids, do_sample=False, max_new_tokens=4) == wanted
    assert generator([ids, ids], do_sample=False, max_new_tokens=4) == [wanted, wanted]
    array: Any = np.array(ids)
    assert generator(array, do_sample=False, max_new_tokens=4) == wanted


def test_no_prompts_give_no_results(generator: Generator) -> None:
    assert generator([]) == []


def test_options_of_the_pipeline_hold_for_all_calls(model: Model) -> None:
    generator = pipeline(model=model, do_sample=False, max_new_tokens=3, return_full_text=False)
    assert generator.task == "text-generation"
    short = generator("The king")[0]["generated_text"]
    assert short == model.generate("The king", greedy=True, max_new_tokens=3).text
    assert generator("The king", return_full_text=True) == [{"generated_text": f"The king{short}"}]
    # a generation_config of a call replaces what generates, and not what shapes the result
    config = {"do_sample": False, "max_new_tokens": 5}
    longer = model.generate("The king", greedy=True, max_new_tokens=5).text
    assert generator("The king", generation_config=config) == [{"generated_text": longer}]


def test_generation_options_are_taken_as_they_are(generator: Generator, model: Model) -> None:
    options = gpt2xl.GenerationOptions(seed=3, max_new_tokens=7)
    wanted = model.generate("The king", options).text
    found = generator("The king", generation_config=options, return_full_text=False)
    assert found == [{"generated_text": wanted}]
    other = generator("The king", generation_config=options, max_new_tokens=2)
    assert len(other[0]["generated_text"]) < len("The king" + wanted)


def test_options_of_generation_config_json_come_before_the_defaults(
    demo: Callable[[str], Model], tmp_path: Path
) -> None:
    """Even where they are our own defaults, which the model's options do not show."""
    bundle = demo("fp32").bundle
    assert bundle
    folder = tmp_path / "configured"
    folder.mkdir()
    for path in bundle.folder.iterdir():
        if path.name not in ("gpt2xl.json", "generation_config.json"):
            (folder / path.name).symlink_to(path)
    (folder / "generation_config.json").write_text('{"temperature": 0.8, "top_k": 7}')
    configured = gpt2xl.load(folder)
    wanted = configured.generate("The king", seed=8, max_new_tokens=30).text
    ours = pipeline("text-generation", model=configured)("The king", seed=8, max_new_tokens=30)
    assert ours == [{"generated_text": f"The king{wanted}"}]
    ignoring = gpt2xl.load(folder, generation_config="none")
    plain = pipeline("text-generation", model=demo("fp32"))("The king", seed=8, max_new_tokens=30)
    assert pipeline(model=ignoring)("The king", seed=8, max_new_tokens=30) == plain


def test_a_stop_string_stays_unless_it_is_to_be_cut_off(generator: Generator) -> None:
    given: dict[str, Any] = {"do_sample": False, "max_new_tokens": 40, "return_full_text": False}
    whole = generator("Once upon a time", **given)[0]["generated_text"]
    stop = whole.split()[3]
    kept = generator("Once upon a time", **given, stop_sequence=stop)[0]["generated_text"]
    cut = generator("Once upon a time", **given, stop_strings=(stop,), keep_stop_string=False)
    assert kept == cut[0]["generated_text"] + stop
    assert whole.startswith(kept)


def test_the_prefix_is_fed_but_not_returned(generator: Generator, model: Model) -> None:
    wanted = model.generate("Hello , The king", greedy=True, max_new_tokens=5).text
    found = generator("The king", prefix="Hello , ", do_sample=False, max_new_tokens=5)
    assert found == [{"generated_text": f"The king{wanted}"}]
