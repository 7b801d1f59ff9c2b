"""Memory is estimated before the start, and a server that cannot fit does not start."""

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("prometheus_client", reason="the server needs the extra serve")

from gpt2xl import Model, RequestError
from gpt2xl_serve import memory
from gpt2xl_serve.memory import MemoryNeed, check_fits, memory_need
from gpt2xl_serve.options import ServeOptions
from gpt2xl_serve.server import Server


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_cache_of_full_rows_is_as_large_as_told(
    demo: Callable[[str], Model], precision: str
) -> None:
    model, rows = demo(precision), 3
    cache = model.session.new_cache(rows)
    ids = [[262] * model.config.n_positions] * rows
    model.session.forward(np.array(ids), cache)
    held = sum(values.nbytes for values in cache.keys_and_values)
    assert memory_need(model, rows, 0).growth == held


@pytest.mark.parametrize(
    ("free", "said"), [(10**9, "--rows 9 or fewer"), (10**7, "use fewer --rows")]
)
def test_what_does_not_fit_names_the_numbers_and_the_options(free: int, said: str) -> None:
    need = MemoryNeed(weights=10**9, row=10**8, rows=16, prefixes=10**8)
    check_fits(need, free=need.growth)
    with pytest.raises(RequestError, match=said) as caught:
        check_fits(need, free=free)
    assert "take 1.6 GB" in str(caught.value)
    assert "--prefix-cache" in str(caught.value)


def test_a_server_that_does_not_fit_is_refused(
    demo: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ServeOptions(port=0, prefix_cache=0)
    monkeypatch.setattr(memory, "memory_left", lambda: 10**6)
    with pytest.raises(RequestError, match="16 rows of KV cache take"):
        Server(lambda: demo("int8"), "demo", options).run()
