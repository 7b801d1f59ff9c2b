"""generation_config.json of a bundle sets the defaults of its texts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import BundleError, GenerationOptions, Gpt2xlWarning, LoadOptions, RequestError, load
from gpt2xl.options.defaults import differing, model_defaults


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    """Call it with the content of a generation_config.json; the folder that has it."""

    def write(content: Any) -> Path:
        (tmp_path / "generation_config.json").write_text(json.dumps(content))
        return tmp_path

    return write


def test_values_replace_our_defaults(write: Callable[[Any], Path]) -> None:
    folder = write(
        {"do_sample": True, "top_k": 50, "temperature": 1.0, "max_length": 50, "num_beams": 4,
         "early_stopping": "never", "bad_words_ids": [[1, 2]], "sequence_bias": [[[3], -1.5]]}
    )  # fmt: skip
    assert model_defaults(folder) == GenerationOptions(
        do_sample=True, top_k=50, temperature=1.0, max_length=50, num_beams=4,
        early_stopping="never", bad_words_ids=((1, 2),), sequence_bias={(3,): -1.5},
    )  # fmt: skip


def test_a_null_and_what_is_no_option_change_nothing(write: Callable[[Any], Path]) -> None:
    folder = write(
        {"top_k": None, "max_new_tokens": None, "_from_model_config": True, "transformers_version": "4.57.6",
         "bos_token_id": 50256, "eos_token_id": [50256], "pad_token_id": 0, "use_cache": True,
         "cache_implementation": "static", "of_the_future": {"a": 1}}
    )  # fmt: skip
    assert model_defaults(folder) == GenerationOptions()
    assert differing(model_defaults(folder)) == {}


def test_a_folder_without_the_file_has_our_defaults(tmp_path: Path) -> None:
    assert model_defaults(tmp_path) == GenerationOptions()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"top_p": 2}, "top_p has to be a number > 0 and <= 1, but is 2"),
        ({"temperature": "hot"}, "temperature has to be a number"),
        ({"num_beam_groups": 2}, "are options of beam search"),
        ({"grammar": "[a-z]"}, "grammar has to be a gpt2xl.Grammar"),
        ([1], "generation_config.json"),
    ],
    ids=str,
)
def test_a_value_out_of_range_names_the_file(
    write: Callable[[Any], Path], content: Any, message: str
) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        model_defaults(write(content))
    assert "generation_config.json" in str(caught.value)


@pytest.mark.parametrize(
    "field", ["watermarking_config", "force_words_ids", "dola_layers", "constraints"]
)
def test_what_is_not_supported_warns(write: Callable[[Any], Path], field: str) -> None:
    with pytest.warns(Gpt2xlWarning, match=rf"generation_config.json' has {field}, which"):
        assert model_defaults(write({field: [[1]], "top_k": 3})).top_k == 3
    nothing: Any
    for nothing in (None, False, [], {}):
        assert model_defaults(write({field: nothing})) == GenerationOptions()


def test_a_model_generates_with_them(bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    (folder / "gpt2xl.json").unlink()  # else its sums refuse the change
    config = json.loads((folder / "generation_config.json").read_text())
    config |= {"do_sample": False, "max_new_tokens": 3, "suppress_tokens": [7]}
    (folder / "generation_config.json").write_text(json.dumps(config))
    model, plain = load(folder), load(folder, generation_config="none")
    assert differing(plain.defaults) == {}
    assert differing(model.defaults).keys() == {"do_sample", "max_new_tokens", "suppress_tokens"}
    result = model.generate("Once")
    assert (len(result.new_ids), result.seed) == (3, None)
    options = GenerationOptions(do_sample=False, suppress_tokens=(7,), max_new_tokens=3)
    assert result.new_ids == plain.generate("Once", options).new_ids
    assert len(model.generate("Once", max_new_tokens=5).new_ids) == 5  # keywords replace some
    whole = model.generate("Once", GenerationOptions(seed=1))  # an object replaces all
    assert whole.new_ids == plain.generate("Once", seed=1).new_ids
    ((_, row),) = model.generate_batch(["Once"], rows=1)
    assert row.new_ids == result.new_ids


def test_other_sources_of_defaults_are_refused(bundle: Path) -> None:
    with pytest.raises(RequestError, match="generation_config has to be one of model, none"):
        load(bundle, generation_config="vllm")  # type: ignore[arg-type]
    assert LoadOptions().generation_config == "model"
