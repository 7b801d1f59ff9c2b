"""Check the text graphs: their form, and that they give the texts of the engine graph."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.loop import Request, generate_tokens
from gpt2xl.decoding.samplers import Categorical
from gpt2xl.errors import BundleError, ParityError
from gpt2xl.processors.scaling import temperature
from gpt2xl.processors.truncation import top_k
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl_export.verification.contract import (
    INT64,
    SYMBOL,
    Port,
    check_all,
    check_onnx,
    check_weights,
    read_graph,
)

STRING = ir.DataType.STRING
PROMPTS = {
    "ids": ("input_ids", Port((INT64,), (SYMBOL,))),
    "string": ("prompt", Port((STRING,), (1,))),
}
OPTIONS = {
    "max_new_tokens": Port((INT64,), ()),
    "temperature": Port((ir.DataType.DOUBLE,), ()),
    "top_k": Port((INT64,), ()),
    "seed": Port((INT64,), ()),
    "stop_at_end_of_text": Port((ir.DataType.BOOL,), ()),
}
OUTPUTS = {
    "text": Port((STRING,), (1,)),
    "ids": Port((INT64,), (SYMBOL,)),
    "finish_reason": Port((STRING,), (1,)),
}
NEW_TOKENS = 24
DRAWS = ({"temperature": 0.0}, {"temperature": 0.8})


def check_form(path: Path, kind: str) -> None:
    """Raise BundleError where the text graph ``kind`` is not as docs/bundle.md says."""
    model = read_graph(path)
    check_weights(model, path.parent)
    check_onnx(path)
    prompt, port = PROMPTS[kind]
    check_all("input", {prompt: port, **OPTIONS}, model.graph.inputs)
    check_all("output", OUTPUTS, model.graph.outputs)


def check_texts(
    path: Path, prompts: Sequence[Sequence[int]], session: Session, tokenizer: Tokenizer
) -> str:
    """Say how many texts from ids are those of the runtime, greedy and drawn.

    Args:
        path: the graph from ids to text.
        prompts: ids.
        session: the engine graph's.
        tokenizer: the bundle's.

    Raises:
        ParityError: one is not.
    """
    graph = open_graph(path, "cpu", LoadOptions(provider="cpu")).session
    rounds = [(ids, draw, seed) for seed, ids in enumerate(prompts) for draw in DRAWS]
    for ids, draw, seed in rounds:
        feed = {
            "input_ids": np.array(ids, np.int64), "max_new_tokens": np.array(NEW_TOKENS),
            "temperature": np.array(draw["temperature"]), "top_k": np.array(40), "seed": np.array(seed),
            "stop_at_end_of_text": np.array(False),
        }  # fmt: skip
        text, found, _ = graph.run(None, feed)
        wanted = _own_ids(session, ids, draw, seed)
        if found.tolist() != wanted or text[0] != tokenizer.decode(
            i for i in wanted if i in tokenizer
        ):
            raise ParityError(
                f"'{path.name}' gives {text[0]!r} after ids {list(ids)} (temperature {draw['temperature']}, seed {seed}),"
                f" the engine graph {tokenizer.decode(wanted)!r}."
            )
    return f"{len(rounds)} texts, greedy and drawn, as by the engine graph"


def _own_ids(
    session: Session, ids: Sequence[int], draw: Mapping[str, float], seed: int
) -> list[int]:
    chain = Chain()
    if draw["temperature"]:
        chain = Chain((top_k(40), temperature(draw["temperature"])), Categorical(seed), 40)
    tokens = generate_tokens(Context(session), Request(ids, chain, NEW_TOKENS))
    return [token.id for token in tokens]


def names_of(graphs: Mapping[str, Path]) -> str:
    """The files, for a line of the report; raises BundleError where the one from ids is missing."""
    if "ids" not in graphs:
        raise BundleError("the graph from ids to text is missing: onnx/ids_to_text*.onnx.")
    return " and ".join(path.name for path in graphs.values())
