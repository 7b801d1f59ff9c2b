"""Past the context: the text goes on as a fresh prompt of the ids that are fed again would."""

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.chains import chain_of

from gpt2xl import GenerationOptions, Model, RequestError, load
from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.loop import Request, generate_tokens
from gpt2xl.decoding.sliding import Slide
from gpt2xl.decoding.speculation import Experience, Speculator
from gpt2xl.decoding.speculation_costs import DRAFT_LENGTHS, SpeculationCosts
from gpt2xl.sessions.protocol import Logits, Session

Seen = dict[int, npt.NDArray[np.float32]]  # by the length of the text before it


@pytest.fixture(scope="module", params=["fp32", "int8"])
def model(request: pytest.FixtureRequest, make_bundle: Callable[..., Path]) -> Model:
    """A context of 96 tokens; every id it can draw is one of the tokenizer's."""
    config = {"vocab_size": 287, "tie_word_embeddings": False}
    return load(make_bundle(config, request.param), threads=1)


def fresh_prompts(
    session: Session, prompt: Sequence[int], count: int, keep: int, window: int
) -> tuple[list[int], Seen]:
    """A greedy text by fresh prompts, and the logits before each token."""
    text, shown = list(prompt), list(prompt)
    cache, fed, seen = session.new_cache(), 0, Seen()
    while len(text) < len(prompt) + count:
        if len(shown) > session.n_positions:
            shown = [*text[:keep], *text[-window:]]
            cache, fed = session.new_cache(), 0
        seen[len(text)] = session.forward(np.array([shown[fed:]]), cache)[0, -1]
        fed = len(shown)
        chosen = int(seen[len(text)].argmax())
        text.append(chosen)
        shown.append(chosen)
    return text[len(prompt) :], seen


class Recorder:
    """A logits processor that keeps what it sees of a text that begins with ``prompt``."""

    def __init__(self, prompt: list[int]) -> None:
        self.prompt, self.seen = prompt, Seen()

    def __call__(self, ids: Sequence[int], logits: Logits) -> Logits:
        if list(ids[: len(self.prompt)]) == self.prompt:
            self.seen[len(ids)] = logits.copy()
        return logits

    def assert_saw(self, wanted: Seen, tolerance: float) -> None:
        assert self.seen.keys() == wanted.keys()
        for length, logits in wanted.items():
            difference = np.abs(self.seen[length] - logits).max()
            assert difference <= tolerance, f"{length} tokens: {difference}"


@given(
    keep=st.integers(0, 3),
    window=st.integers(1, 4),
    steps=st.lists(st.integers(1, 3), max_size=30),
)
def test_what_is_shown_is_the_beginning_and_the_end_and_fits(
    keep: int, window: int, steps: list[int]
) -> None:
    slide, text, dropped = Slide(keep, window, 8), [0], 0
    for drafted in steps:
        text.append(len(text))
        is_due = slide.is_due(len(text))
        room = 8 - slide.length(len(text))
        drafts = [-1] * min(drafted, room)
        shown = slide.shown([*text, *drafts], len(drafts))
        assert len(shown) <= 8
        assert shown == [*text[:keep], *text[keep + slide.dropped :], *drafts]
        assert is_due == (slide.dropped > dropped)
        if is_due:
            assert len(shown) - len(drafts) == keep + window
        dropped = slide.dropped


SETTINGS = pytest.mark.parametrize(("keep", "window"), [(0, 48), (5, 60), (2, 3), (0, 1), (1, 94)])


@SETTINGS
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_each_window_is_a_fresh_prompt(model: Model, keep: int, window: int, rows: int) -> None:
    prompt = model.prompt_ids("Once upon a time there was a king")
    count = 150 if window > 90 else 300
    wanted, seen = fresh_prompts(model.session, prompt, count, keep, window)
    recorder = Recorder(prompt)
    options = GenerationOptions(
        greedy=True, max_new_tokens=count, overflow="slide", overflow_keep=keep, ignore_eos=False,
        overflow_window=window, processors=(recorder,), eos_token_id=(), prompt_lookup=False,
    )  # fmt: skip
    if rows:
        others = ["the king", "Once", "go. " * 20][: 2 * rows - 2]
        texts = dict(model.generate_batch([prompt, *others], options, rows=rows))
        result = texts[0]
        model.clear_cache()
        for number, other in enumerate(others, 1):
            assert model.generate(other, options).new_ids == texts[number].new_ids
    else:
        model.clear_cache()
        result = model.generate(prompt, options)
    assert (result.new_ids, result.finish_reason) == (wanted, "length")
    is_float32 = model.bundle is not None and model.bundle.is_float32
    recorder.assert_saw(seen, 1e-3 if is_float32 and rows > 1 else 0)


class Eager(SpeculationCosts):
    """As many draft tokens as fit, whatever they cost."""

    def choose(self, room: int) -> int:
        return max((count for count in DRAFT_LENGTHS if count <= room), default=0)


@dataclass
class Oracle:
    """Knows the text; every fifth draft token is wrong."""

    text: list[int]

    def draft(self, ids: Sequence[int], count: int, chain: Chain) -> list[int]:
        places = range(len(ids), min(len(ids) + count, len(self.text)))
        return [self.text[at] if at % 5 else 0 for at in places]


@SETTINGS
def test_draft_tokens_change_no_window(model: Model, keep: int, window: int) -> None:
    session, prompt = model.session, model.prompt_ids("Once upon a time there was a king")
    wanted, seen = fresh_prompts(session, prompt, 200, keep, window)
    recorder = Recorder(prompt)
    chain = chain_of(GenerationOptions(greedy=True, processors=(recorder,)))
    slide = Slide(keep, window, session.n_positions)
    tolerance = model.exactness.tolerance
    speculator = Speculator(
        Oracle([*prompt, *wanted]), Experience(Eager(plain_seconds=1.0)), tolerance
    )
    request = Request(prompt, chain, 200, slide=slide, speculator=speculator)
    found = [token.id for token in generate_tokens(Context(session), request)]
    assert found == wanted
    assert speculator.acceptance.accepted > 60
    recorder.assert_saw(seen, tolerance)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_windows_of_the_demo(
    demo: Callable[[str], Model], tales: list[str], precision: str
) -> None:
    model = demo(precision)
    prompt = model.tokenizer.encode(" ".join(tales[:30]))[:500]
    wanted, seen = fresh_prompts(model.session, prompt, 130, 10, 400)
    options = GenerationOptions(
        greedy=True, max_new_tokens=130, overflow="slide", overflow_keep=10, overflow_window=400,
        eos_token_id=(),
    )  # fmt: skip
    recorder = Recorder(prompt)
    assert model.generate(prompt, options, draft=demo("draft")).new_ids == wanted
    result = model.generate(prompt, options, processors=(recorder,))
    assert result.new_ids == wanted
    recorder.assert_saw(seen, model.exactness.tolerance)
    rows = dict(model.generate_batch([prompt, prompt[:300]], options, rows=2))
    assert rows[0].new_ids == wanted


def test_a_sampled_text_with_a_seed_is_one_text(model: Model) -> None:
    options = GenerationOptions(
        seed=3, temperature=1.5, max_new_tokens=250, overflow="slide", ignore_eos=True
    )
    plain = model.generate("Once", options, prompt_lookup=False)
    assert len(plain.new_ids) == 250
    assert model.generate("Once", options).new_ids == plain.new_ids
    texts = dict(model.generate_batch(["Once", "go. " * 20], options, rows=2))
    assert texts[0].new_ids == plain.new_ids


def test_the_next_text_reuses_nothing_that_it_would_not_compute(model: Model) -> None:
    options = {"greedy": True, "eos_token_id": (), "max_new_tokens": 40}
    slid = model.generate("Once", max_new_tokens=150, overflow="slide", seed=1, ignore_eos=True)
    ids = slid.prompt_ids + slid.new_ids
    for prompt in (ids[-56:-6], ids[:50], ids[-70:]):
        model.generate("Once", max_new_tokens=150, overflow="slide", seed=1, ignore_eos=True)
        again = model.generate(prompt, **options).new_ids  # type: ignore[arg-type]
        model.clear_cache()
        assert again == model.generate(prompt, **options).new_ids  # type: ignore[arg-type]


def test_tokens_beyond_the_context_take_no_memory_of_their_own(
    make_bundle: Callable[..., Path],
) -> None:
    model = load(make_bundle({"vocab_size": 287, "tie_word_embeddings": False}), threads=1)
    stream = model.stream("Once", seed=1, max_new_tokens=2500, overflow="slide", ignore_eos=True)
    tracemalloc.start()
    try:
        used = []
        for number, _ in enumerate(stream, 1):
            if number in (500, 2500):
                used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(stream.ids) == 2500
    # Ids, pieces and the n-grams of prompt lookup grow; a KV cache of the text would have 1 MB more.
    assert (used[1] - used[0]) / 2000 < 2 * 2 * 32 * 4 * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overflow_keep": 50, "overflow_window": 46}, "have to be less than the context, 96"),
        ({"overflow_window": 96}, "overflow_keep 0 and overflow_window 96 have to be less"),
        ({"overflow_keep": 48}, "overflow_keep 48 and overflow_window 48 have to be less"),
    ],
)
def test_what_does_not_fit_into_the_context_is_refused(
    model: Model, options: dict[str, int], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        model.stream("Once", overflow="slide", **options)  # type: ignore[arg-type]
