"""Adapter for OpenVINO GenAI: MODEL is a folder that ``optimum-cli export openvino`` wrote."""

import argparse

import measure
import numpy as np
import openvino
import openvino_genai


def load(options: argparse.Namespace) -> measure.Generate:
    """A greedy pipeline on the CPU; its metrics have the time of each token."""
    pipeline = openvino_genai.LLMPipeline(
        options.model, "CPU", INFERENCE_NUM_THREADS=options.threads
    )

    def generate(ids: measure.Ids, new: int) -> list[float]:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = new, True, False
        inputs = openvino_genai.TokenizedInputs(
            openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids))
        )
        raw = pipeline.generate(inputs, config).perf_metrics.raw_metrics
        first = raw.m_times_to_first_token[0] / 1e6  # microseconds
        times = np.array(raw.m_new_token_times) / 1e3  # milliseconds
        return [float(second) for second in first + times - times[0]]

    return generate


if __name__ == "__main__":
    measure.run("openvino-genai", load)
