"""lm-eval's model type "local-completions" over HTTP, with the tokenizer of the server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.serve.conftest import Running

from gpt2xl import Continuation

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("uvicorn", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")
completions = pytest.importorskip("lm_eval.models.openai_completions", reason="needs lm-eval")
instance = pytest.importorskip("lm_eval.api.instance", reason="needs lm-eval")
pytest.importorskip("tenacity", reason="needs lm-eval[api]")

PAIRS = [
    ("Once upon", " a time"),
    ("The king", " said no"),
    ("Once upon a time there was a king who had a fair daughter.", " The wolf ate é"),
]
pytestmark = pytest.mark.filterwarnings("default")  # lm-eval's own


@pytest.fixture
def scorer(served: Callable[[str], Running]) -> Iterator[Any]:
    url = f"{served('fp32').server.url}/v1/completions"
    yield completions.LocalCompletionsAPI(
        base_url=url, model="demo", num_concurrent=3, batch_size=2
    )


def test_scores_are_those_of_the_library(served: Callable[[str], Running], scorer: Any) -> None:
    assert type(scorer.tokenizer).__name__ == "RemoteTokenizer"
    requests = [
        instance.Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(PAIRS)
    ]
    model = served("fp32").model
    encode = model.tokenizer.encode
    for (context, rest), (total, is_greedy) in zip(
        PAIRS, scorer.loglikelihood(requests), strict=True
    ):
        ids = encode(context)
        item = Continuation(ids, encode(context + rest)[len(ids) :])
        (wanted,) = model.score_continuations([item])
        assert total == pytest.approx(float(wanted.logprobs.sum()), rel=1e-6)
        assert is_greedy == bool((wanted.top_ids[:, 0] == item.ids).all())


def test_texts_end_at_its_stop_strings(served: Callable[[str], Running], scorer: Any) -> None:
    how = {"until": ["."], "max_gen_toks": 20, "do_sample": False, "temperature": 0}
    request = instance.Instance("generate_until", {}, ("Once upon", how), 0)
    alone = served("fp32").model.generate(
        "Once upon", greedy=True, stop_strings=(".",), max_new_tokens=20
    )
    assert scorer.generate_until([request]) == [alone.text]
