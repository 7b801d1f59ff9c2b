"""Tokens a second and peak memory of one text: the runtime, the text graph, and JavaScript.

Each in a process of its own, the second text of it: python benchmarks/peers/languages.py BUNDLE [--tokens N]. BUNDLE is made with
`gpt2xl export --text`; examples/node needs its packages.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import gpt2xl
from gpt2xl.bundle.bundle import open_bundle

NODE = Path(__file__).parents[2] / "examples" / "node"
PROMPT = "Once upon a time"
PYTHON, JAVASCRIPT = ("runtime", "text graph"), ("steps", "graph", "transformers.js")


def by_runtime(bundle: Path, tokens: int) -> float:
    """Tokens a second of the second text, without guesses."""
    model = gpt2xl.load(bundle)
    for _ in range(2):
        start = time.perf_counter()
        model.generate(
            PROMPT, seed=1, max_new_tokens=tokens, temperature=0.8, top_k=40,
            eos_token_id=(), prompt_lookup=False,
        )  # fmt: skip
    return tokens / (time.perf_counter() - start)


def by_text_graph(bundle: Path, tokens: int) -> float:
    """Tokens a second of the second text by one run of the graph."""
    import onnxruntime as ort

    from gpt2xl.text.tokenizer import Tokenizer

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(open_bundle(bundle).text_graphs["ids"], options)
    feed = {
        "input_ids": np.array(Tokenizer.from_file(bundle / "tokenizer.json").encode(PROMPT)),
        "max_new_tokens": np.array(tokens), "temperature": np.array(0.8), "top_k": np.array(40),
        "seed": np.array(1), "stop_at_end_of_text": np.array(False),
    }  # fmt: skip
    for _ in range(2):
        start = time.perf_counter()
        session.run(None, feed)
    return tokens / (time.perf_counter() - start)


def measured(command: list[str], folder: Path) -> str:
    """What a command has printed, with its unit."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return f"{float(done.stdout.split()[0]):7.1f} tokens/s"


def main() -> None:
    """Measure all ways, or one of Python's in this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--way", choices=PYTHON)
    given = parser.parse_args()
    bundle = given.bundle.resolve()
    if given.way:
        run = by_runtime if given.way == "runtime" else by_text_graph
        speed = run(bundle, given.tokens)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(f"{speed} {peak}")
        return
    for way in PYTHON:
        command = [
            sys.executable,
            __file__,
            str(bundle),
            "--tokens",
            str(given.tokens),
            "--way",
            way,
        ]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        print(f"Python, {way:16} {float(out[0]):7.1f} tokens/s, peak {float(out[1]):.0f} MB")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copy(NODE / "gpt2xl.mjs", folder)
        shutil.copy(Path(__file__).with_suffix(".mjs"), folder)
        (folder / "node_modules").symlink_to((NODE / "node_modules").resolve())
        for way in JAVASCRIPT:
            command = ["node", "languages.mjs", str(bundle), way, str(given.tokens)]
            print(f"Node, {way:18} {measured(command, folder)}")


if __name__ == "__main__":
    main()
