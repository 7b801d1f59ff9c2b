"""Adapter for CTranslate2: MODEL is a folder that ``ct2-transformers-converter`` wrote.

CTranslate2 takes words of the vocabulary, not ids; vocabulary.json in the folder lists them.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import ctranslate2
import measure


def load(options: argparse.Namespace) -> measure.Generate:
    """A greedy generator in 8 bits; a step ends with the token of the last row."""
    words = json.loads((Path(options.model) / "vocabulary.json").read_text(encoding="utf8"))
    generator = ctranslate2.Generator(
        options.model, device="cpu", compute_type="int8", intra_threads=options.threads
    )

    def generate(ids: measure.Ids, new: int) -> list[float]:
        ends: dict[int, float] = {}

        def token(result: Any) -> bool:
            ends[result.step] = time.perf_counter() - start
            return False

        start = time.perf_counter()
        generator.generate_batch(
            [[words[i] for i in row] for row in ids],
            max_length=new,
            min_length=new,
            sampling_topk=1,
            include_prompt_in_result=False,
            callback=token,
        )
        return [ends[step] for step in sorted(ends)]

    return generate


if __name__ == "__main__":
    measure.run("ctranslate2", load)
