"""Options of a text: from words of the command line, presets and the config file to the library's."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gpt2xl import GenerationOptions, Grammar, RequestError
from gpt2xl_cli.batches.lines import PYTHON_ONLY
from gpt2xl_cli.config.presets import BUILT_IN
from gpt2xl_cli.text_options.conversion import keywords_of
from gpt2xl_cli.text_options.layers import layers_of, options_over, table_options
from gpt2xl_cli.text_options.spreading import spread
from gpt2xl_cli.text_options.text_options import TextOptions

Run = Callable[..., CompletedProcess[str]]
SCHEMA = '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}'


def given(*words: str) -> TextOptions:
    """The options that the words of a command line give."""
    found = list[TextOptions]()

    def take(*, text: TextOptions) -> None:
        found.append(text)

    app = typer.Typer()
    app.command()(spread(take))
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return found[0]


GIVEN: dict[str, dict[str, Any]] = {
    "-n 5 --max-length 9 --min-new-tokens 1 --min-length 2 --max-time 0.5": {
        "max_new_tokens": 5, "max_length": 9, "min_new_tokens": 1, "min_length": 2, "max_time": 0.5,
    },
    "-s 7 -t 0.5 -k 3 -p 0.9 -r 2": {
        "seed": 7, "temperature": 0.5, "top_k": 3, "top_p": 0.9, "num_return_sequences": 2,
    },
    "--greedy": {"greedy": True},
    "--do-sample": {"do_sample": True},
    "--no-do-sample": {"do_sample": False},
    "--dynatemp-range 0.5 --dynatemp-exponent 2": {"dynatemp_range": 0.5, "dynatemp_exponent": 2.0},
    "--top-k-keeps-ties --min-p 0.1 --top-h 0.4 --typical-p 0.8": {
        "top_k_keeps_ties": True, "min_p": 0.1, "top_h": 0.4, "typical_p": 0.8,
    },
    "--epsilon-cutoff 0.01 --eta-cutoff 0.02 --top-n-sigma 1": {
        "epsilon_cutoff": 0.01, "eta_cutoff": 0.02, "top_n_sigma": 1.0,
    },
    "--xtc-probability 0.5 --xtc-threshold 0.2": {"xtc_probability": 0.5, "xtc_threshold": 0.2},
    "--mirostat-tau 5 --mirostat-eta 0.2": {"mirostat_tau": 5.0, "mirostat_eta": 0.2},
    "--guidance-scale 1.5 --negative-prompt No": {"guidance_scale": 1.5, "negative_prompt": "No"},
    "--sampler-order llama.cpp": {"sampler_order": "llama.cpp"},
    "--sampler-order top_k,temperature": {"sampler_order": ("top_k", "temperature")},
    "--renormalize-logits": {"renormalize_logits": True},
    "--repetition-penalty 1.2 --repetition-window 64": {
        "repetition_penalty": 1.2, "repetition_window": 64,
    },
    "--presence-penalty 0.5 --frequency-penalty -0.5 --no-repeat-ngram-size 3": {
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "no_repeat_ngram_size": 3,
    },
    "--dry-multiplier 0.8 --dry-base 2 --dry-allowed-length 3 --dry-window 64": {
        "dry_multiplier": 0.8, "dry_base": 2.0, "dry_allowed_length": 3, "dry_window": 64,
    },
    "--dry-sequence-breakers a --dry-sequence-breakers b": {"dry_sequence_breakers": ("a", "b")},
    "--end-at-sentence": {"end_at_sentence": True},
    "--repetition-detection 4": {"repetition_detection": 4},
    "--bad-words-ids 1,2 --bad-words-ids 3": {"bad_words_ids": ((1, 2), (3,))},
    "--sequence-bias 1,2=-1.5 --sequence-bias 3=2": {"sequence_bias": {(1, 2): -1.5, (3,): 2.0}},
    "--logit-bias 5=-100 --logit-bias 6=1": {"logit_bias": {5: -100.0, 6: 1.0}},
    "--suppress-tokens 1 --suppress-tokens 2 --begin-suppress-tokens 3": {
        "suppress_tokens": (1, 2), "begin_suppress_tokens": (3,),
    },
    "--allowed-token-ids 4": {"allowed_token_ids": (4,)},
    "--forced-eos-token-id 5": {"forced_eos_token_id": 5},
    "--exponential-decay-length-penalty 3 1.5": {"exponential_decay_length_penalty": (3, 1.5)},
    "--eos-token-id 1 --eos-token-id 2 --stop-token-ids 3": {
        "eos_token_id": (1, 2), "stop_token_ids": (3,),
    },
    "--ignore-eos": {"ignore_eos": True},
    "--stop a --stop-strings b --keep-stop-string": {
        "stop_strings": ("a", "b"), "keep_stop_string": True,
    },
    "--overflow slide --overflow-keep 4 --overflow-window 8": {
        "overflow": "slide", "overflow_keep": 4, "overflow_window": 8,
    },
    "--no-special --token-healing --no-prompt-lookup": {
        "parse_special": False, "token_healing": True, "prompt_lookup": False,
    },
    "--num-beams 4 --num-beam-groups 2 --diversity-penalty 0.5 --greedy": {
        "num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5, "greedy": True,
    },
    "--num-beams 2 --length-penalty 0.5 --early-stopping true": {
        "num_beams": 2, "length_penalty": 0.5, "early_stopping": True,
    },
    "--num-beams 2 --early-stopping never": {"num_beams": 2, "early_stopping": "never"},
    "--penalty-alpha 0.6": {"penalty_alpha": 0.6},
    "--logprobs 3 --prompt-logprobs 0 --processed-logprobs": {
        "logprobs": 3, "prompt_logprobs": 0, "processed_logprobs": True,
    },
}  # fmt: skip


@pytest.mark.parametrize(("line", "wanted"), GIVEN.items(), ids=GIVEN)
def test_each_option_becomes_the_field_of_the_library(line: str, wanted: dict[str, Any]) -> None:
    options = options_over(GenerationOptions(), layers_of(given(*line.split())))
    assert options == GenerationOptions(**wanted)


def test_every_option_is_tried_here() -> None:
    tried = {name for wanted in GIVEN.values() for name in wanted}
    assert tried == {f.name for f in fields(GenerationOptions)} - {*PYTHON_ONLY, "grammar"}


def test_grammars_are_those_of_the_library(tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    schema, lark, gbnf = tmp_path / "s.json", tmp_path / "g.lark", tmp_path / "g.gbnf"
    schema.write_text(SCHEMA)
    lark.write_text('start: "a" | "b"')
    gbnf.write_text('root ::= "a" | "b"')
    cases = {
        ("--regex", "[0-9]+"): Grammar.regex("[0-9]+"),
        ("--json-schema", SCHEMA): Grammar.json_schema(SCHEMA),
        ("--json-schema", str(schema)): Grammar.json_schema(SCHEMA),
        ("--choice", "yes", "--choice", "no"): Grammar.choice(["yes", "no"]),
        ("--lark", str(lark)): Grammar.lark(lark.read_text()),
        ("--gbnf", str(gbnf)): Grammar.gbnf(gbnf.read_text()),
    }
    for words, wanted in cases.items():
        assert keywords_of(given(*words)) == {"grammar": wanted}


REFUSED = {
    "--regex a --choice b": "--regex and --choice exclude each other",
    "--lark nowhere": "'nowhere' cannot be read: No such file",
    "--logit-bias 5": "--logit-bias has to be ID=NUMBER, such as 11=-1.5, but is '5'",
    "--logit-bias 5,6=1": "--logit-bias has to be ID=NUMBER",
    "--sequence-bias 5,b=1": "--sequence-bias has to be ID=NUMBER, such as 11,13=-1.5",
    "--bad-words-ids 1,,2": "--bad-words-ids has to be ids with commas between",
    "--top-p 2": "top_p has to be a number > 0 and <= 1, but is 2.0",
    "--logit-bias 5=nan": "logit_bias has to be a number, but is nan",
    "--sampler-order mine": "sampler_order has to be one of transformers, llama.cpp",
    "--preset creativ": "there is no preset 'creativ'; did you mean 'creative'?",
}


@pytest.mark.parametrize(("line", "message"), REFUSED.items(), ids=REFUSED)
def test_a_malformed_value_is_refused_before_a_model_is_loaded(line: str, message: str) -> None:
    with pytest.raises(RequestError) as error:
        layers_of(given(*line.split()))
    assert message in str(error.value)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_preset_can_be_used_alone(name: str) -> None:
    text = given("--preset", name)
    options = options_over(GenerationOptions(greedy=True), layers_of(text))
    assert not options.is_greedy
    wanted = keywords_of(table_options(BUILT_IN[name]))
    assert {field: getattr(options, field) for field in wanted} == wanted


def write_config(text: str) -> None:
    Path("config").mkdir(exist_ok=True)
    Path("config/config.toml").write_text(text, "utf-8")


CONFIG = """
[defaults]
top-k = 5
seed = 1
temperature = 1
stop_strings = "x"  # one text, and the spelling of Python

[presets.mine]
seed = 2
top-p = 0.5
early-stopping = true
num-beams = 3
logit-bias = ["5=-1"]
"""


def test_the_command_line_wins_over_preset_config_file_and_the_models_own_defaults() -> None:
    write_config(CONFIG)
    own = GenerationOptions(top_k=9, min_p=0.1, temperature=0.3)
    options = options_over(own, layers_of(given("--preset", "mine", "--top-p", "0.7")))
    assert options == GenerationOptions(
        top_k=5, min_p=0.1, temperature=1.0, stop_strings=("x",), seed=2, top_p=0.7, early_stopping=True,
        num_beams=3, logit_bias={5: -1},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("own", "line", "is_greedy"),
    [
        ({"do_sample": True}, "--greedy", True),
        ({"greedy": True}, "--do-sample", False),
        ({"do_sample": False}, "--do-sample", False),
        ({"do_sample": False}, "", True),
    ],
)
def test_greedy_and_do_sample_take_each_other_back(
    own: dict[str, Any], line: str, is_greedy: bool
) -> None:
    options = options_over(GenerationOptions(**own), layers_of(given(*line.split())))
    assert options.is_greedy == is_greedy


BAD_FILES = {
    "[defaults": "is not TOML",
    "top-p = 0.5": "has 'top-p' outside its tables",
    "defaults = 1": "'defaults' has to be a table",
    "[presets]\na = 1": "'presets.a' has to be a table",
    "[defaults]\ntopp = 0.5": "[defaults]: there is no option 'topp'; did you mean 'top-p'?",
    "[defaults]\ntop-p = true": "[defaults]: top-p has to be a number, but is True",
    "[defaults]\ntop-k = 1.5": "[defaults]: top-k has to be a whole number, but is 1.5",
    "[defaults]\nstop-strings = [1]": "stop-strings has to be a list of texts, but is [1]",
    "[defaults]\noverflow = 'x'": "overflow has to be stop or slide, but is 'x'",
    "[defaults]\ntop-p = 2": "[defaults]: top-p has to be a number > 0 and <= 1, but is 2.0",
    "[defaults]\ntop-p = 1\ntop_p = 1": "[defaults]: top-p is given twice",
    "[defaults]\nmodel = 1": "[defaults]: model has to be text, but is 1",
    "[defaults]\npreset = 'mine'": "there is no option 'preset'",
    "[defaults]\noverflow-keep = 1": "[defaults]: overflow-keep and overflow-window need overflow 'slide'",
}


@pytest.mark.parametrize(("text", "message"), BAD_FILES.items(), ids=BAD_FILES)
def test_a_fault_in_the_config_file_is_named_with_its_place(
    text: str, message: str, refused: Callable[..., str], bundle: Path
) -> None:
    write_config(text)
    line = refused("generate", "-m", bundle, "Once")
    assert "config.toml'" in line
    assert message in line


def test_the_config_file_names_the_model(run: Run, bundle: Path, tmp_path: Path) -> None:
    write_config(
        f"[defaults]\nmodel = {json.dumps(str(bundle))}\ngreedy = true\nmax-new-tokens = 3\n"
    )
    done = run("generate", "Once", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert (len(json.loads(done.stdout)["new_ids"]), json.loads(done.stdout)["seed"]) == (3, None)
    assert run("tokenize", "Once").stderr == ""


def test_an_empty_variable_reads_no_config_file(
    run: Run, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config("[defaults]\nmax-new-tokens = 3\n")
    monkeypatch.setenv("GPT2XL_CONFIG", "")
    done = run("generate", "-m", bundle, "Once", "--json", "--ignore-eos")
    assert len(json.loads(done.stdout)["new_ids"]) > 3
