"""Speed of scoring beside transformers and llama.cpp's perplexity tool, interleaved.

python benchmarks/evaluation/scoring.py --checkpoint CHECKPOINT --bundles FP32 INT8 --text FILE --llama LLAMA-PERPLEXITY --gguf F32 Q8_0

Three kinds of work of one text, all of it different: disjoint windows of the context, last words after some 80 tokens as in
LAMBADA, and questions with 4 endings as in HellaSwag. A rate counts every token of contexts and continuations. On a machine with
other work ``--cpu-time --threads 1`` measures seconds of the processor, which are less disturbed.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

import gpt2xl

HERE = Path(__file__).parent
ENDINGS = 4
LLAMA_STARTS = (b"calculating perplexity over", b"calculating hellaswag score")
Work = list[tuple[list[int], list[int]]]


def main() -> None:
    """Measure every system in each round, and print the table."""
    options = _parser().parse_args()
    model = gpt2xl.load(options.bundles[0])
    with tempfile.TemporaryDirectory() as folder:
        work = _write_work(model, options, Path(folder))
        seconds = defaultdict[tuple[str, str], list[float]](list)
        for round_ in range(options.rounds):
            for kind in options.kinds:
                for name, value in _round(kind, options, Path(folder)):
                    seconds[kind, name].append(value)
                    rate = work[kind] / value
                    print(f"round {round_} {kind} {name}: {rate:.0f} tokens/s", file=sys.stderr)
    _print(options.kinds, seconds, work)


def _write_work(model: gpt2xl.Model, options: argparse.Namespace, folder: Path) -> dict[str, int]:
    """Write the work of each kind as JSON, and as llama.cpp's tool reads it; the tokens of each kind."""
    encode, size = model.tokenizer.encode, model.config.n_positions
    text = options.text.read_text("utf-8")
    ids = encode(text[: 8 * size * max(2, options.windows)])
    (folder / "windows.txt").write_text(text[: 8 * size * max(2, options.windows)], "utf-8")
    cuts = range(0, size * options.windows, size)
    windows = [(ids[at : at + 1], ids[at + 1 : at + size]) for at in cuts]
    halves = [(ids[at : at + size // 2], ids[at + size // 2 : at + size]) for at in cuts]
    passages = _passages(text)
    words = [next(passages).rpartition(" ") for _ in range(options.words)]
    last = [(encode(context), encode(f" {word}")) for context, _, word in words]
    questions, lines = _questions(passages, options.questions)
    endings = [(encode(context), encode(f" {ending}")) for context, ending in questions]
    (folder / "questions.txt").write_text("\n".join(lines), "utf-8")
    work = {"windows": windows, "halves": halves, "words": last, "questions": endings}
    for kind, value in work.items():
        (folder / f"{kind}.json").write_text(json.dumps(value))
    return {kind: sum(len(c) + len(i) for c, i in value) for kind, value in work.items()}


def _passages(text: str) -> Iterator[str]:
    """Consecutive passages of 40 to 80 words."""
    words, rng = text.split(), np.random.default_rng(0)
    while words:
        length = int(rng.integers(40, 80))
        yield " ".join(words[:length])
        words = words[length:]


def _questions(passages: Iterator[str], count: int) -> tuple[list[tuple[str, str]], list[str]]:
    """Contexts with each of their endings of some 8 words, and the same as llama.cpp reads HellaSwag."""
    pairs, lines = list[tuple[str, str]](), list[str]()
    for _ in range(count):
        context = next(passages)
        endings = [" ".join(next(passages).split()[: 7 + n]) for n in range(ENDINGS)]
        pairs += [(context, ending) for ending in endings]
        lines += [context, "0", *endings]
    return pairs, lines


def _round(kind: str, options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, float]]:
    """Name and seconds of each system that can do the work."""
    shared = [str(folder / f"{kind}.json"), "--threads", str(options.threads)]
    for bundle in options.bundles:
        yield f"gpt2xl {bundle.name}", _adapter("scoring_ours.py", bundle, shared, options)
    if options.checkpoint and kind != "halves":
        adapter = "scoring_transformers.py"
        yield "transformers float32", _adapter(adapter, options.checkpoint, shared, options)
    files = {
        "windows": ["-f", str(folder / "windows.txt"), "--chunks", str(options.windows)],
        "questions": ["-f", str(folder / "questions.txt"), "--hellaswag"],
    }
    if options.llama and (kind in files or kind == "halves"):
        arguments = files.get(kind, files["windows"])
        for gguf in options.gguf:
            yield f"llama.cpp {gguf.stem}", _llama(gguf, arguments, options)


def _adapter(name: str, model: Path, arguments: list[str], options: argparse.Namespace) -> float:
    command = [sys.executable, str(HERE / name), str(model), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    line = json.loads(done.stdout)
    print(f"  {name} {model.name}: {line}", file=sys.stderr)
    return float(line["cpu_seconds" if options.cpu_time else "seconds"])


def _llama(gguf: Path, arguments: list[str], options: argparse.Namespace) -> float:
    """Seconds from the line that says that it begins until its last line of results; of the processor until its end."""
    command = [str(options.llama), "-m", str(gguf), "-t", str(options.threads), *arguments]
    if "--hellaswag" in arguments:
        command += ["--hellaswag-tasks", str(options.questions)]
    else:
        command += ["-c", str(options.size)]
    start = end = cpu_start = 0.0
    cpu_before = _cpu_of_children()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout
        seen = b""
        while piece := os.read(process.stdout.fileno(), 1 << 16):
            seen += piece
            if not start and any(mark in seen for mark in LLAMA_STARTS):
                start, cpu_start = time.perf_counter(), _cpu_of(process.pid)
            if start and re.search(rb"\[\d+\]|^\d+\t", piece, re.MULTILINE):
                end = time.perf_counter()
    if process.returncode or not end:
        sys.exit(f"llama-perplexity failed:\n{seen.decode()[-2000:]}")
    print(f"  {gguf.name}: {seen.decode()[-300:]!r}", file=sys.stderr)
    return _cpu_of_children() - cpu_before - cpu_start if options.cpu_time else end - start


def _cpu_of(pid: int) -> float:
    """Seconds of the processor that a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _print(
    kinds: list[str], seconds: dict[tuple[str, str], list[float]], work: dict[str, int]
) -> None:
    """Median rates with their range, and medians of the ratios within a round to the first system."""
    print(
        "| work | system | tokens/s | range | time / first system's |\n| --- | --- | --- | --- | --- |"
    )
    for kind in kinds:
        names = [name for of, name in seconds if of == kind]
        for name in names:
            found = seconds[kind, name]
            rates = [work[kind] / value for value in found]
            pairs = zip(found, seconds[kind, names[0]], strict=True)
            ratio = median(value / first for value, first in pairs)
            print(
                f"| {kind} | {name} | {median(rates):.0f} | {min(rates):.0f} to {max(rates):.0f} | {ratio:.2f} |"
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundles", type=Path, nargs="+", required=True)
    parser.add_argument("--checkpoint", type=Path, help="for transformers")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--llama", type=Path, help="the program llama-perplexity")
    parser.add_argument("--gguf", type=Path, nargs="*", default=[])
    parser.add_argument("--size", type=int, default=1024, help="the context of the model")
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--words", type=int, default=128)
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--kinds", nargs="+", default=["windows", "halves", "words", "questions"])
    return parser


if __name__ == "__main__":
    main()
