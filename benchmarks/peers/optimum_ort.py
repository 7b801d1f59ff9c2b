"""Adapter for optimum on onnxruntime: MODEL is a folder that ``optimum-cli export onnx`` wrote."""

import argparse
import time

import measure
import onnxruntime
import torch
from optimum.onnxruntime import ORTModelForCausalLM
from transformers import StoppingCriteriaList


class Stamps:
    """A stopping criterion that never stops and notes the time: it is called once a step, for all rows."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.seconds: list[float] = []

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Note the time."""
        self.seconds.append(time.perf_counter() - self.start)
        return torch.zeros(len(ids), dtype=torch.bool)


def load(options: argparse.Namespace) -> measure.Generate:
    """The model on the CPU, greedy, through transformers' ``generate``."""
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = options.threads
    torch.set_num_threads(options.threads)
    model = ORTModelForCausalLM.from_pretrained(options.model, session_options=session_options)

    def generate(ids: measure.Ids, new: int) -> list[float]:
        stamps = Stamps()
        model.generate(
            torch.from_numpy(ids),
            attention_mask=torch.ones(ids.shape, dtype=torch.int64),
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
            stopping_criteria=StoppingCriteriaList([stamps]),
            pad_token_id=0,
        )
        return stamps.seconds

    return generate


if __name__ == "__main__":
    measure.run("optimum-onnx", load)
