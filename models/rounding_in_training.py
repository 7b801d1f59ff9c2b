"""Quantization-aware training: round as the exporter does, and more coarsely, while a model trains.

A weight or activation w goes through the model as w + step * e, where e is its rounding error in steps. Gradients
reach the weights unchanged (straight through), and the steps as well: where errors hurt, the largest value of a
block shrinks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

BLOCK = 64  # inputs that share a step in int4
ACTIVATION_LEVELS = 63  # half of int8's


def round_activations(model: GPT2LMHeadModel) -> None:
    """Round the input of every matrix product in training mode, with one scale a token."""

    def hook(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not module.training:
            return None
        x = args[0]
        step = x.abs().max(-1, keepdim=True).values.clamp_min(1e-6) / ACTIVATION_LEVELS
        scaled = (x / step).detach()
        return (x + (scaled.round() - scaled) * step,)

    for module in model.modules():
        if isinstance(module, Conv1D) or module is model.lm_head:
            module.register_forward_pre_hook(hook)


@contextmanager
def rounded_weights(model: GPT2LMHeadModel, nearest: bool) -> Iterator[None]:
    """Round matrices while the context is open: those of the blocks to 4 bits, embedding and head to 8.

    Values go to the nearest code or, without ``nearest``, at random to one of the two neighbouring codes, unbiased:
    other methods such as GPTQ pick other codes, and the loss should not depend on which. Gradients are corrected on
    exit.
    """
    kept = []
    for name, weight in model.named_parameters():
        if weight.ndim != 2 or "wpe" in name:
            continue
        in_block = ".h." in name
        rows = weight.data.T if in_block else weight.data  # [n_out, n_in]
        blocks = rows.reshape(len(rows), -1, BLOCK if in_block else rows.shape[1])
        largest, at = blocks.abs().max(-1, keepdim=True)
        levels = 8 if in_block else 127
        scaled = blocks * (levels / largest)
        shift = 0.5 if nearest else torch.rand_like(scaled)
        # The largest value has code 8 (or 127), so the other end of the range is 7 (or 127), as in the exporter.
        errors = (
            (scaled + shift).floor_().clamp_(min=1 - levels if in_block else -levels).sub_(scaled)
        )
        moved = (blocks + errors * (largest / levels)).reshape(rows.shape)
        kept.append(
            (weight, in_block, weight.data, errors, blocks.gather(-1, at).sign() / levels, at)
        )
        weight.data = (moved.T if in_block else moved).contiguous()
    yield
    for weight, in_block, before, errors, slope, at in kept:
        weight.data = before
        if weight.grad is None:  # no backward pass
            continue
        grad = weight.grad.T if in_block else weight.grad
        blocks = grad.reshape(errors.shape)
        blocks = blocks.scatter_add(-1, at, (blocks * errors).sum(-1, keepdim=True) * slope)
        grad.copy_(blocks.reshape(grad.shape))
