"""Windows: each token is scored once, with as much context as a window has room for."""

from hypothesis import given
from hypothesis import strategies as st

from gpt2xl_eval.corpora.windows import Windows, WindowsOfDocuments


@given(
    tokens=st.integers(0, 60), context=st.integers(1, 20), share=st.floats(0, 1, exclude_min=True)
)
def test_each_token_but_the_first_is_scored_once(tokens: int, context: int, share: float) -> None:
    stride = max(1, round(context * share))
    windows = Windows(range(tokens), context, stride)
    scored = [token for window in windows for token in window.ids]
    assert scored == list(range(1, tokens))
    for number, window in enumerate(windows):
        whole = [*window.context, *window.ids]
        assert whole == list(range(whole[0], whole[0] + len(whole)))
        assert len(window.context) >= 1
        assert len(whole) == min(tokens, context + 1)
        if number and number < len(windows) - 1:
            assert len(window.ids) == stride


def test_a_stride_as_long_as_the_context_makes_windows_of_lm_evaluation_harness() -> None:
    """`get_rolling_token_windows` with context_len=1: the last window is filled up with context."""
    windows = Windows(range(11), context=4, stride=4)
    assert [(list(w.context), list(w.ids)) for w in windows] == [
        ([0], [1, 2, 3, 4]),
        ([4], [5, 6, 7, 8]),
        ([6, 7, 8], [9, 10]),
    ]


def test_no_window_crosses_from_one_document_to_the_next() -> None:
    parts = [Windows([0, *ids], 3, 2) for ids in ([1, 2, 3, 4], [], [5], [6, 7])]
    windows = WindowsOfDocuments(parts, None)
    expected = [window for part in parts for window in part]
    assert list(windows) == expected
    assert windows.scored_tokens == 7
    assert [len(WindowsOfDocuments(parts, limit)) for limit in (1, 3, 99)] == [1, 3, len(expected)]
