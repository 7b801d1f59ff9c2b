"""Text to ids by the operator GPT2Tokenizer of onnxruntime-extensions."""

import json
from typing import Any

import onnx_ir as ir

from gpt2xl_export.text_graphs.expressions import Expressions

EXTENSIONS = "ai.onnx.contrib"


def unlike_gpt2(content: dict[str, Any]) -> str:
    """What of a tokenizer.json the operator cannot do; "" where it can.

    >>> unlike_gpt2({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}})
    'a space before the text'
    """
    split = content.get("pre_tokenizer") or {}
    if content.get("normalizer"):
        return "a normalizer"
    if split.get("type") != "ByteLevel" or not split.get("use_regex", True):
        return "another way to cut words"
    if split.get("add_prefix_space"):
        return "a space before the text"
    if "TemplateProcessing" in json.dumps(content.get("post_processor")):
        return "tokens around the text"
    if any(not token.get("special") for token in content.get("added_tokens", ())):
        return "added tokens that are ordinary text"
    return ""


def ids_of(e: Expressions, prompt: ir.Value, content: dict[str, Any]) -> ir.Value:
    """The ids of ``prompt``, [1] string: [n] int64.

    Special tokens are not given to the operator: it would cut every text that holds one of their characters. So
    they are ordinary text in a prompt.

    Args:
        e: gets the node.
        prompt: the text.
        content: of tokenizer.json.
    """
    model = content["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    attributes = {
        "vocab": json.dumps(model["vocab"], separators=(",", ":"), ensure_ascii=False),
        "merges": "\n".join(merges),
    }
    names = ["prompt.ids", "prompt.mask"]
    found = e.op_multi_out("GPT2Tokenizer", [prompt], names, attributes, EXTENSIONS)
    return e.of("Reshape", found[0], [-1])
