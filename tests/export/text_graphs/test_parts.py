"""The parts of a text graph beside what they stand for: numpy's generator, the runtime's sampler and its decoder."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2xl.decoding.samplers import Categorical, greedy
from gpt2xl.processors.scaling import temperature
from gpt2xl.processors.truncation import top_k
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl_export.graph.builder import typed
from gpt2xl_export.text_graphs.choosing import chosen_id, make_choice
from gpt2xl_export.text_graphs.detokenizing import text_of
from gpt2xl_export.text_graphs.draws import uniform_numbers
from gpt2xl_export.text_graphs.expressions import INT64, STRING, Expressions

DOUBLE, FLOAT = ir.DataType.DOUBLE, ir.DataType.FLOAT
VOCAB = 50


def session_of(
    e: Expressions, inputs: Sequence[ir.Value], output: ir.Value
) -> ort.InferenceSession:
    graph = ir.Graph(
        inputs, [output], nodes=e.tape.nodes, initializers=e.tape.initializers,
        opset_imports={"": 21}, name="part",
    )  # fmt: skip
    return ort.InferenceSession(ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString())


@pytest.mark.parametrize("seed", [0, 1, 42, 2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1])
def test_the_numbers_are_those_of_numpys_generator(seed: int) -> None:
    e, value = Expressions("t"), typed(ir.val("seed"), INT64, [])
    numbers = typed(uniform_numbers(e, value, 1024), DOUBLE, [1024])
    (found,) = session_of(e, [value], numbers).run(None, {"seed": np.array(seed)})
    assert found.tolist() == np.random.default_rng(seed).random(1024).tolist()


@pytest.fixture(scope="module")
def choose() -> Callable[[np.ndarray, float, int, float], int]:
    """From logits, temperature, top_k and a number to an id, by the graph."""
    e = Expressions("t")
    logits = typed(ir.val("logits"), FLOAT, [1, 1, VOCAB])
    heat, k = typed(ir.val("temperature"), DOUBLE, []), typed(ir.val("top_k"), INT64, [])
    number = typed(ir.val("number"), DOUBLE, [1])
    found = typed(chosen_id(e, logits, make_choice(e, heat, k, VOCAB), number), INT64, [1])
    session = session_of(e, [logits, heat, k, number], found)

    def run(values: np.ndarray, heat: float, k: int, number: float) -> int:
        feed = {"logits": values[None, None], "temperature": np.array(heat), "top_k": np.array(k)}
        return int(session.run(None, feed | {"number": np.array([number])})[0][0])

    return run


# Few values, so that there are ties.
@given(
    logits=st.lists(st.integers(-9, 9), min_size=VOCAB, max_size=VOCAB),
    heat=st.sampled_from([0.0, 1e-9, 0.7, 0.8, 1.0, 3.0]),
    k=st.sampled_from([0, 1, 2, 40, VOCAB, 99]),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=200, deadline=None)
def test_the_id_is_that_of_the_runtimes_sampler(
    choose: Callable[..., int], logits: list[int], heat: float, k: int, seed: int
) -> None:
    values: Any = np.array(logits, np.float32) / np.float32(2)
    found = choose(values, heat, k, np.random.default_rng(seed).random())
    if heat == 0:
        assert found == greedy(values)
    else:
        kept = top_k(k)([], values) if k else values
        assert found == Categorical(seed)(temperature(heat)([], kept))


def decoder(tokens: Sequence[bytes]) -> Callable[[Sequence[int]], str]:
    e, ids = Expressions("t"), typed(ir.val("ids"), INT64, ["n"])
    session = session_of(e, [ids], typed(text_of(e, ids, tokens), STRING, [1]))
    return lambda found: str(session.run(None, {"ids": np.array(found, np.int64)})[0][0])


HARD = (
    b"", b"\x00", b"a", "é€😀".encode(), b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\x80\x80",
    b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf5a", b"\xe2\xe2\x82\xac",
    b"\xf0\x9f\xc3\xa9", b"\xe2\x82\xf0\x9f\x98\x80\x80", b"\xff\xfe", b"\xf0\x80\x80\x80",
)  # fmt: skip


@pytest.fixture(scope="module")
def text_of_bytes() -> Callable[[Sequence[int]], str]:
    return decoder([bytes([byte]) for byte in range(256)])


@pytest.mark.parametrize("content", HARD, ids=repr)
def test_what_is_not_utf_8_is_replaced_as_python_does(
    text_of_bytes: Callable[[Sequence[int]], str], content: bytes
) -> None:
    assert text_of_bytes([*content]) == content.decode("utf-8", "replace")


@given(
    content=st.lists(
        st.sampled_from(
            [0x41, 0x80, 0x8F, 0x90, 0xA0, 0xBF, 0xC2, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 0xF5]
        )
    )
)
@settings(max_examples=300, deadline=None)
def test_so_are_bytes_at_random(
    text_of_bytes: Callable[[Sequence[int]], str], content: list[int]
) -> None:
    assert text_of_bytes(content) == bytes(content).decode("utf-8", "replace")


def test_tokens_may_be_empty() -> None:
    decode = decoder([b"", b"ab", b"", b"\xc3", b"\xa9"])
    assert decode([0, 1, 2, 0, 3, 0, 4, 2]) == "abé"
    assert decode([0, 0]) == decode([]) == ""


def test_ids_of_gpt2s_vocabulary_give_the_golden_texts(
    shared_data: Path, genuine_files: Path
) -> None:
    from gpt2xl_export.tokenizer.source_tokenizer import read_source_tokenizer

    tokenizer = Tokenizer(read_source_tokenizer(genuine_files, 1024).json)
    decode = decoder([tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)])
    lines = (shared_data / "tokenizer" / "golden_decode.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == 150
    wanted = [bytes.fromhex(r["bytes_hex"]).decode("utf-8", "replace") for r in records]
    assert [decode(r["ids"]) for r in records] == wanted
