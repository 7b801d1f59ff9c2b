"""From ids to text, with standard operators, as `gpt2xl.text.tokenizer.StreamDecoder` does it.

The bytes of the tokens are joined, and what is not UTF-8 becomes U+FFFD, one for each maximal part of a character, as
Python and browsers do it: a string that onnxruntime returns has to be valid.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from gpt2xl_export.graph.builder import typed
from gpt2xl_export.text_graphs.expressions import (
    BOOL,
    END,
    INT64,
    STRING,
    Expressions,
    loop_inputs,
)

REPLACED, SILENT = 256, 257
"""Behind the 256 bytes: U+FFFD, and nothing."""


def text_of(e: Expressions, ids: ir.Value, tokens: Sequence[bytes]) -> ir.Value:
    """The text of ``ids``, [1] string.

    Args:
        e: gets the nodes.
        ids: [n] int64.
        tokens: the bytes of every id.
    """
    shown = _shown(e, _bytes_of(e, ids, tokens))
    pieces = [bytes([byte]) for byte in range(256)] + ["\N{REPLACEMENT CHARACTER}".encode(), b""]
    return _joined(e, e.of("Gather", e.strings(pieces), shown))


def _bytes_of(e: Expressions, ids: ir.Value, tokens: Sequence[bytes]) -> ir.Value:
    """The bytes of all tokens, [m] int64."""
    sizes = np.array([len(token) for token in tokens], np.int32)
    starts = e.array(np.cumsum(sizes, dtype=np.int32) - sizes)
    content = e.array(np.frombuffer(b"".join(tokens) or b"\0", np.uint8))
    lengths = e.cast(e.of("Gather", e.array(sizes), ids), INT64)
    ends = e.of("CumSum", lengths, 0)
    firsts = e.of("Sub", ends, lengths)
    total = e.of("ReduceSum", lengths, [0])
    # A 1 where each token begins sums up to the number of the token of each byte; tokens may be empty.
    marks = e.of("Expand", 0, e.of("Add", total, 1))
    ones = e.of("Expand", 1, e.of("Shape", ids))
    marks = e.op("ScatterElements", [marks, firsts, ones], "text.marks", {"reduction": "add"})
    number = e.of("Sub", e.of("CumSum", e.cut(marks, [0], total), 0), 1)
    every = e.of("Range", 0, e.of("Squeeze", total), 1)
    within = e.of("Sub", every, e.of("Gather", firsts, number))
    start = e.cast(e.of("Gather", starts, e.of("Gather", ids, number)), INT64)
    return e.cast(e.of("Gather", content, e.of("Add", start, within)), INT64)


def _shown(e: Expressions, found: ir.Value) -> ir.Value:
    """What each byte becomes: itself, REPLACED or SILENT."""
    size, low, high = (e.of("Gather", e.array(t), found) for t in _lead_tables())
    follows = e.of("Equal", e.of("BitwiseAnd", found, 0xC0), 0x80)
    # second[i]: byte i is the second one of a character, and so on.
    second = e.all_of(
        e.of("Greater", _before(e, size, 1), 1),
        e.of("GreaterOrEqual", found, _before(e, low, 1)),
        e.of("LessOrEqual", found, _before(e, high, 1)),
    )
    third = e.all_of(e.of("Greater", _before(e, size, 2), 2), _was(e, second, 1), follows)
    fourth = e.all_of(e.of("Greater", _before(e, size, 3), 3), _was(e, third, 1), follows)
    is_whole = e.of("Equal", size, 1)
    for length, last in ((2, second), (3, third), (4, fourth)):
        ends = e.all_of(e.of("Equal", size, length), _was(e, last, 1 - length))
        is_whole = e.of("Or", is_whole, ends)
    lead = e.of("Where", is_whole, found, REPLACED)
    for distance, place in ((1, second), (2, third), (3, fourth)):
        rest = e.of("Where", _was(e, is_whole, distance), found, SILENT)
        lead = e.of("Where", place, rest, lead)
    return lead


def _lead_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By first byte: the bytes of a character, 0 where none begins, and the range of its second byte (Unicode, table 3-7)."""
    size, low, high = (np.zeros(256, np.int64) for _ in range(3))
    size[:0x80], size[0xC2:0xE0], size[0xE0:0xF0], size[0xF0:0xF5] = 1, 2, 3, 4
    low[:], high[:] = 0x80, 0xBF
    low[0xE0], low[0xF0] = 0xA0, 0x90
    high[0xED], high[0xF4] = 0x9F, 0x8F
    return size, low, high


def _before(e: Expressions, x: ir.Value, distance: int) -> ir.Value:
    """``x[i - distance]``, 0 outside."""
    zeros = e.of("Expand", 0, [abs(distance)])
    if distance < 0:
        return e.cut(e.concat(x, zeros), [-distance], [END])
    return e.cut(e.concat(zeros, x), [0], [-distance])


def _was(e: Expressions, x: ir.Value, distance: int) -> ir.Value:
    """`_before` of a condition."""
    return e.cast(_before(e, e.cast(x, INT64), distance), BOOL)


def _joined(e: Expressions, pieces: ir.Value) -> ir.Value:
    """All strings as one, [1]: each round joins pairs."""
    # One more, so that there is one.
    pieces = e.concat(e.strings([b""]), pieces)
    size = e.of("Squeeze", e.of("Shape", pieces))
    body = _pair_graph()
    last_round = e.array(np.array(64, np.int64))
    return e.nested("Loop", [last_round, e.of("Greater", size, 1), pieces], body, 1, {})[0]


def _pair_graph() -> ir.Graph:
    inner = Expressions("pairs")
    inputs = [*loop_inputs("pairs"), typed(ir.val("pairs.pieces"), STRING, ["pieces"])]
    size = inner.of("Shape", inputs[-1])
    half = inner.of("Div", inner.of("Add", size, 1), 2)
    even = inner.cut(inner.concat(inputs[-1], inner.strings([b""])), [0], inner.of("Mul", half, 2))
    left, right = (
        inner.op("Slice", [even, *(inner.constant(f"pairs.n{n}", [n]) for n in (first, END, 0, 2))], f"pairs.side_{first}")
        for first in (0, 1)
    )  # fmt: skip
    joined = typed(inner.of("StringConcat", left, right), STRING, ["pieces"])
    goes_on = typed(inner.of("Squeeze", inner.of("Greater", half, 1)), BOOL, [])
    return inner.graph(inputs, [goes_on, joined])
