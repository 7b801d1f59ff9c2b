"""On the demo, speculation changes no text in any precision."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gpt2xl import Acceptance, Gpt2xlWarning, Model, RequestError
from gpt2xl.text.tokenizer import Tokenizer

PRECISIONS = ["fp32", "int8", "int8-weight", "int4"]
# int4 in blocks of 64 gets no draft and no shared steps, and says so.
WARNS = pytest.mark.filterwarnings(
    "ignore:texts are generated one after the other", "ignore:the draft model is not used"
)


def fresh(model: Model) -> Model:
    """The same model without the costs measured in earlier texts."""
    return Model(model.config, model.tokenizer, model.session, model.bundle)


def accepted_by(texts: Iterator[Any]) -> int:
    return sum(text.guesses.accepted for text in texts)


@WARNS
@pytest.mark.parametrize(
    ("precision", "count"),
    [
        ("fp32", 15),
        pytest.param("fp32", 50, marks=pytest.mark.slow),
        pytest.param("int8", 50, marks=pytest.mark.slow),
        pytest.param("int8-weight", 10, marks=pytest.mark.slow),
        pytest.param("int4", 10, marks=pytest.mark.slow),
    ],
)
def test_greedy_texts_of_200_tokens_are_those_of_plain_decoding(
    demo: Callable[[str], Model], tales: list[str], precision: str, count: int
) -> None:
    tales = tales[:count]
    model, options = fresh(demo(precision)), {"greedy": True, "max_new_tokens": 200}
    plain = dict(model.generate_batch(tales, **options))  # type: ignore[arg-type]  # options by name
    texts = [model.generate(tale, **options) for tale in tales]  # type: ignore[arg-type]  # options by name
    assert [text.new_ids for text in texts] == [plain[n].new_ids for n in range(count)]
    if precision == "fp32":
        assert accepted_by(iter(texts)) > 100


@pytest.mark.slow
@WARNS
@pytest.mark.parametrize("options", [{"greedy": True}, {"seed": 8}], ids=["greedy", "sampled"])
@pytest.mark.parametrize("drafted", [False, True], ids=["prompt lookup", "draft"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_draft_tokens_change_no_text_of_the_demo(
    demo: Callable[[str], Model],
    tales: list[str],
    precision: str,
    drafted: bool,
    options: dict[str, Any],
) -> None:
    model, some = fresh(demo(precision)), tales[:6]
    draft = demo("draft") if drafted else None
    texts = [model.generate(tale, draft=draft, max_new_tokens=100, **options) for tale in some]
    plain = [
        model.generate(tale, prompt_lookup=False, max_new_tokens=100, **options) for tale in some
    ]
    assert [text.new_ids for text in texts] == [text.new_ids for text in plain]
    assert [text.guesses for text in plain] == [Acceptance()] * len(some)
    if drafted and precision == "fp32":
        # How many are accepted depends on how long steps take here, and so on how many are made.
        assert sum(text.guesses.guessed for text in texts) > 0


def test_quantized_weights_with_a_float_cache_get_no_draft_tokens(
    demo: Callable[[str], Model], tales: list[str]
) -> None:
    model, draft = fresh(demo("int8 --kv float")), demo("draft")
    texts = [model.generate(tale, greedy=True, max_new_tokens=100) for tale in tales[:3]]
    with pytest.warns(Gpt2xlWarning, match="the draft model is not used: .*--kv int8") as warned:
        texts += [model.generate(tale, draft=draft, max_new_tokens=100) for tale in tales[:3]]
    assert [text.guesses for text in texts] == [Acceptance()] * 6
    assert len(warned) == 1  # once a model
    assert warned[0].filename == __file__


def test_a_draft_with_another_tokenizer_is_refused(
    demo: Callable[[str], Model], bundle: Any
) -> None:
    import gpt2xl

    with pytest.raises(RequestError, match="draft model has another tokenizer"):
        demo("fp32").stream("Once", draft=gpt2xl.load(bundle))


def test_the_tokenizer_of_a_draft_is_compared_once(
    demo: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, draft, equal = fresh(demo("int8")), demo("draft"), Tokenizer.__eq__
    compared = []

    def counted(self: Tokenizer, other: object) -> bool:
        compared.append(other)
        return equal(self, other)

    monkeypatch.setattr(Tokenizer, "__eq__", counted)
    for _ in range(2):
        model.generate("Once", draft=draft, max_new_tokens=2)
    assert len(compared) == 1
