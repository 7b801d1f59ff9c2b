"""`Model.generate` equals transformers' generate in float32: greedy token for token, sampling by its distributions."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.torch.demo_searches import COMMA, DEMO, prompts

from gpt2xl import GenerationOptions, load
from gpt2xl.options.keywords import updated
from gpt2xl_export.exporting import export

torch = pytest.importorskip("torch", reason="parity with transformers needs torch")
transformers = pytest.importorskip("transformers", reason="parity with transformers needs it")

NEW = 16
FREQUENT = COMMA[0]
GREEDY: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.3},
    {"no_repeat_ngram_size": 2},
    {"bad_words_ids": [[FREQUENT], [257, 281], [1490]]},
    {"sequence_bias": {(FREQUENT,): -2.0, (489, 1490): 3.0}},
    {"suppress_tokens": [FREQUENT, 489]},
    {"begin_suppress_tokens": [FREQUENT, 489, 277]},
    {"eos_token_id": COMMA},
    {"eos_token_id": COMMA, "min_new_tokens": 6},
    {"eos_token_id": COMMA, "min_length": 12},
    {"eos_token_id": [FREQUENT, 13], "exponential_decay_length_penalty": (3, 1.4)},
    {"forced_eos_token_id": FREQUENT, "eos_token_id": COMMA},
    {"max_length": 60, "max_new_tokens": None},
    {"guidance_scale": 1.5},
    {"renormalize_logits": True, "repetition_penalty": 1.1},
    {
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 3,
        "eos_token_id": COMMA,
        "min_new_tokens": 4,
    },
]
SAMPLING: list[dict[str, Any]] = [
    {"temperature": 0.7},
    {"top_k": 20},
    {"top_p": 0.9},
    {"min_p": 0.05},
    {"typical_p": 0.8},
    {"epsilon_cutoff": 0.002},
    {"eta_cutoff": 0.01},
    {"temperature": 1.3, "top_k": 30, "top_p": 0.8, "repetition_penalty": 1.2},
    {"temperature": 0.8, "top_k": 100, "top_p": 0.95, "min_p": 0.02, "typical_p": 0.95},
]
NOTHING = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("demo") / "fp32"
    export(DEMO, out)
    return load(out, threads=1)


@pytest.fixture(scope="module")
def peer() -> Any:
    torch.set_num_threads(1)
    found = transformers.GPT2LMHeadModel.from_pretrained(DEMO, attn_implementation="eager")
    return found.float().eval()


def generated(peer: Any, ids: list[int], **options: Any) -> Any:
    prompt = torch.tensor([ids])
    eos = options.setdefault("eos_token_id", [0])
    return peer.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        pad_token_id=eos if isinstance(eos, int) else eos[0],
        return_dict_in_generate=True,
        **options,
    )


@pytest.mark.parametrize("options", GREEDY, ids=lambda options: "-".join(options) or "plain")
def test_greedy_texts_equal(model: Any, peer: Any, options: dict[str, Any]) -> None:
    """Six of 30 prompts each, others for each case."""
    named = {"max_new_tokens": NEW, "eos_token_id": [0]} | options
    start = GREEDY.index(options) % 5
    for ids in prompts()[start::5]:
        wanted = generated(peer, ids, do_sample=False, **named).sequences[0].tolist()[len(ids) :]
        got = model.generate(ids, do_sample=False, **named)
        eos: Any = named["eos_token_id"]
        ends = {eos} if isinstance(eos, int) else set(eos)
        assert [i for i in wanted if i not in ends] == got.new_ids
        assert (got.finish_reason == "stop") == (wanted[-1] in ends)


@pytest.mark.parametrize("options", SAMPLING, ids="-".join)
def test_the_distributions_of_sampling_equal(
    model: Any, peer: Any, options: dict[str, Any]
) -> None:
    """What survives, and with which probability, at 200 steps that transformers has drawn."""
    named = NOTHING | {"eos_token_id": [0], "min_new_tokens": 200, "max_new_tokens": 200} | options
    torch.manual_seed(0)
    ids = prompts()[3]
    found = generated(peer, ids, do_sample=True, output_scores=True, **named)
    text = found.sequences[0].tolist()
    with torch.no_grad():
        logits = peer(torch.tensor([text])).logits[0].numpy()
    preparer = model._texts._preparer  # the chain that `generate` uses
    chain = preparer.prepare(ids, updated(GenerationOptions(), named), seed=0).request.chain
    edges = list[int]()
    for step, scores in enumerate(found.scores):
        end = len(ids) + step
        ours = probabilities(chain.process(text[:end], logits[end - 1]))
        theirs = probabilities(scores[0].numpy())
        if not np.array_equal(ours > 0, theirs > 0):
            edges.append(step)
        np.testing.assert_allclose(ours, theirs, atol=2e-3 if step in edges else 1e-5)
    assert len(found.scores) == 200
    assert len(edges) <= 2  # a token whose probability lies within rounding of the threshold


def probabilities(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    weights = np.exp(scores.astype(np.float64) - scores.max())
    return np.asarray(weights / weights.sum())


def test_stop_strings_end_where_those_of_transformers_do(model: Any, peer: Any) -> None:
    """Transformers keeps the stop string and the rest of its last token, and looks at the end of the prompt as well."""
    compared = 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO)
    for ids in prompts()[::5]:
        found = generated(
            peer,
            ids,
            do_sample=False,
            max_new_tokens=40,
            stop_strings=["he w", "ing."],
            tokenizer=tokenizer,
        )
        wanted = found.sequences[0].tolist()[len(ids) :]
        got = model.generate(ids, greedy=True, max_new_tokens=40, stop_strings=("he w", "ing."))
        text = model.tokenizer.decode(wanted)
        if "he w" in text or "ing." in text:
            compared += 1
            assert got.new_ids == wanted
            assert text.startswith(got.text + str(got.stop_string))
    assert compared >= 3
