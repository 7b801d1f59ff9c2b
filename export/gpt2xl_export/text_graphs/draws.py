"""The numbers that numpy's `default_rng(seed)` draws, in standard operators.

A seed has to give the text that the runtime gives, so this is numpy's generator: SeedSequence, which hashes the seed,
and PCG64, a linear congruential generator of 128 bits (O'Neill 2014, https://www.pcg-random.org). Its n-th state is
A[n] * initial + B[n] * increment modulo 2**128, with A and B that do not depend on the seed. So all numbers of a text
come from one product of matrices of 16-bit limbs, whose sums stay below 2**38, and no step of the text computes any.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from gpt2xl_export.graph.builder import typed
from gpt2xl_export.text_graphs.expressions import INT64, Expressions

UINT64, DOUBLE = ir.DataType.UINT64, ir.DataType.DOUBLE
WORD, HALF = 2**32 - 1, 2**16
LIMBS = 8
"""Limbs of 16 bits in 128 bits."""
# numpy/random/bit_generator.pyx
INIT_A, MULT_A = 0x43B0D7E5, 0x931E8875
INIT_B, MULT_B = 0x8B51F9DD, 0x58F38DED
MIX_LEFT, MIX_RIGHT = 0xCA01F9DD, 0x4973F715
POOL = 4
# numpy/random/src/pcg64/pcg64.h
MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645


def uniform_numbers(e: Expressions, seed: ir.Value, count: int) -> ir.Value:
    """What ``numpy.random.default_rng(seed).random(count)`` gives, [count] float64.

    Args:
        e: gets the nodes.
        seed: int64 without dimensions, 0 or more.
        count: of numbers.
    """
    limbs = _state_limbs(e, _generator_state(e, _entropy_pool(e, seed)), count)
    return _output(e, limbs)


def _entropy_pool(e: Expressions, seed: ir.Value) -> list[ir.Value]:
    """SeedSequence.mix_entropy: four words of 32 bits, each int64 [1]."""
    constants = _constants(INIT_A, MULT_A)
    low = e.of("BitwiseAnd", seed, WORD)
    high = e.of("Div", e.of("Sub", seed, low), WORD + 1)
    words = [e.of("Reshape", word, [1]) for word in (low, high)]
    words += [e.array(np.zeros(1, np.int64))] * (POOL - len(words))
    pool = [_hashed(e, word, *next(constants)) for word in words]
    for source in range(POOL):
        for target in (number for number in range(POOL) if number != source):
            pool[target] = _mixed(e, pool[target], _hashed(e, pool[source], *next(constants)))
    return pool


def _generator_state(e: Expressions, pool: list[ir.Value]) -> ir.Value:
    """SeedSequence.generate_state: the first state and the stream of PCG64, limbs by rising weight, [2, 8]."""
    constants = _constants(INIT_B, MULT_B)
    words = [_hashed(e, pool[number % POOL], *next(constants)) for number in range(2 * POOL)]
    # numpy gives the high 64 bits of each number first, and the low 32 bits of each 64.
    ordered = e.concat(*(words[number] for number in (2, 3, 0, 1, 6, 7, 4, 5)))
    low, high = e.of("BitwiseAnd", ordered, HALF - 1), e.of("Div", ordered, HALF)
    pairs = e.concat(*(e.of("Unsqueeze", x, [1]) for x in (low, high)), axis=1)
    return e.of("Reshape", pairs, [2, LIMBS])


def _state_limbs(e: Expressions, start: ir.Value, count: int) -> ir.Value:
    """The state of each draw in limbs by rising weight, [8, count]."""
    # The increment is twice the stream plus one.
    scale = e.array(np.array([[1], [2]], np.int64))
    one = np.zeros((2, LIMBS), np.int64)
    one[1, 0] = 1
    summands = e.of("Add", e.of("Mul", start, scale), e.array(one))
    padded = e.concat(e.array(np.zeros((2, LIMBS), np.int64)), summands, axis=1)
    shifts = LIMBS + np.arange(LIMBS)[None] - np.arange(LIMBS)[:, None]
    shifted = e.of(
        "Gather", padded, e.array(shifts), axis=1
    )  # [2, limb of the factor, limb of the sum]
    factors = e.cast(e.array(_factors(count)), INT64)  # [count, 16]
    sums = e.of("MatMul", factors, e.of("Reshape", shifted, [2 * LIMBS, LIMBS]))
    return _carried(e, e.of("Transpose", sums), count)


def _factors(count: int) -> npt.NDArray[np.uint16]:
    """Of each draw the limbs of what multiplies the first state, and of what multiplies the increment."""
    rows = []
    power, total = MULTIPLIER, 1 + MULTIPLIER
    for _ in range(count):
        power = power * MULTIPLIER % 2**128
        total = (total + power) % 2**128
        rows.append([n >> 16 * limb & HALF - 1 for n in (power, total) for limb in range(LIMBS)])
    return np.array(rows, np.uint16)


def _carried(e: Expressions, sums: ir.Value, count: int) -> ir.Value:
    """Limbs below 2**16: what is above goes to the next limb, and from the last one away."""
    inner = Expressions("carry")
    carry = typed(ir.val("carry.in"), INT64, [count])
    limb = typed(ir.val("carry.limb"), INT64, [count])
    total = inner.of("Add", limb, carry)
    results = [inner.of("Div", total, HALF), inner.of("BitwiseAnd", total, HALF - 1)]
    body = inner.graph([carry, limb], [typed(value, INT64, [count]) for value in results])
    start = e.array(np.zeros(count, np.int64))
    return e.nested("Scan", [start, sums], body, 2, {"num_scan_inputs": 1})[1]


def _output(e: Expressions, limbs: ir.Value) -> ir.Value:
    """PCG64's XSL-RR: the halves of the state, combined and rotated by its highest bits; then 53 bits as a fraction."""
    low, high = e.cut(limbs, [0], [LIMBS // 2]), e.cut(limbs, [LIMBS // 2], [LIMBS])
    combined = e.cast(e.of("BitwiseXor", low, high), UINT64)
    weights = e.array(np.array([[1, 1 << 16, 1 << 32, 1 << 48]], np.uint64))
    word = e.of("Squeeze", e.of("MatMul", weights, combined), [0])
    highest = e.of("Squeeze", e.cut(limbs, [LIMBS - 1], [LIMBS]), [0])
    right = e.of("Div", highest, 1 << 10)
    left = e.of("BitwiseAnd", e.of("Sub", 64, right), 63)
    rotated = e.of("BitwiseOr", _shifted(e, word, right, "RIGHT"), _shifted(e, word, left, "LEFT"))
    bits = _shifted(e, rotated, e.array(np.array(11, np.int64)), "RIGHT")
    return e.of("Mul", e.cast(bits, DOUBLE), e.array(np.array(2.0**-53)))


def _shifted(e: Expressions, x: ir.Value, bits: ir.Value, direction: str) -> ir.Value:
    name = f"shift.{x.name}.{direction}"
    return e.op("BitShift", [x, e.cast(bits, UINT64)], name, {"direction": direction})


def _constants(start: int, multiplier: int) -> Iterator[tuple[int, int]]:
    """What SeedSequence combines with one word after the other, and multiplies it by."""
    while True:
        following = start * multiplier & WORD
        yield start, following
        start = following


def _hashed(e: Expressions, word: ir.Value, mask: int, factor: int) -> ir.Value:
    return _folded(e, _multiplied(e, e.of("BitwiseXor", word, mask), factor))


def _mixed(e: Expressions, x: ir.Value, y: ir.Value) -> ir.Value:
    difference = e.of("Sub", _multiplied(e, x, MIX_LEFT), _multiplied(e, y, MIX_RIGHT))
    return _folded(e, e.of("BitwiseAnd", difference, WORD))


def _folded(e: Expressions, word: ir.Value) -> ir.Value:
    return e.of("BitwiseXor", word, e.of("Div", word, HALF))


def _multiplied(e: Expressions, word: ir.Value, factor: int) -> ir.Value:
    """``word * factor`` modulo 2**32 without a product of 64 bits, which int64 cannot hold."""
    low = e.of("Mul", word, factor % HALF)
    high = e.of("BitwiseAnd", e.of("Mul", word, factor // HALF), HALF - 1)
    return e.of("BitwiseAnd", e.of("Add", low, e.of("Mul", high, HALF)), WORD)
