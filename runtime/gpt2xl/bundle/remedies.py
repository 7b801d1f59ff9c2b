"""Why a bundle generates texts one at a time or without a draft model, and which export does not, for warnings."""

from gpt2xl.bundle.bundle import Bundle
from gpt2xl.bundle.manifest import Manifest

HEAD_DIM_MULTIPLE = 8
"""GroupQueryAttention, and so the engine graph, needs a head size that is a multiple of it."""
MERGING_BLOCK = 32
"""Largest block size of int4 whose kernels round a row alike alone and beside others."""


def row_remedy(bundle: Bundle | None) -> str:
    """Why texts of ``bundle`` do not share steps, and what to do about it."""
    if bundle and bundle.manifest and bundle.engine is None:
        return _engine_remedy(bundle, bundle.manifest)
    return _rounding_remedy(bundle)


def draft_remedy(bundle: Bundle | None, *, on_cuda: bool) -> str:
    """Why draft tokens for ``bundle`` cannot be checked exactly, and what to do about it."""
    if on_cuda:
        return "there is no speculation on CUDA: leave the draft model out."
    return _rounding_remedy(bundle)


def _engine_remedy(bundle: Bundle, manifest: Manifest) -> str:
    if manifest.backend == "optimum":
        return "optimum's graph computes one text a step: export with `--backend gpt2xl`."
    head_dim = bundle.config.head_dim
    if head_dim % HEAD_DIM_MULTIPLE:
        return (
            "texts share steps in an engine graph only, which needs a head size that is a multiple of"
            f" {HEAD_DIM_MULTIPLE}; this model's is {head_dim}, so choose `--rows 1`."
        )
    return "the engine graph, in which texts share steps, is missing: export the model again."


def _rounding_remedy(bundle: Bundle | None) -> str:
    manifest = bundle.manifest if bundle else None
    if bundle is None or manifest is None:
        return (
            "without gpt2xl.json, nothing says how this graph rounds: export the model with gpt2xl."
        )
    if bundle.engine is None:
        return _rounds("the portable graph", "--precision fp32")
    if manifest.precision == "fast":
        return _rounds("the 4-bit set of weights", "--precision int8")
    if (manifest.precision or "").endswith("fp16"):
        return _rounds("float16", "--precision int8")
    options = ["--kv int8"] if manifest.kv == "float" else []
    rules = ""
    if manifest.int4_block_size > MERGING_BLOCK:
        named = any(rule.startswith("int4-") for rule in manifest.keep)
        rules = " and no larger blocks in `--keep`" if named else ""
        options.append(f"--block-size {MERGING_BLOCK}")
    return _rounds("this bundle", " ".join(options) or "--precision fp32", rules)


def _rounds(what: str, options: str, rules: str = "") -> str:
    return (
        f"{what} rounds a token differently when others are computed with it, so texts would change."
        f" For a bundle without this limit, export with `{options}`{rules}."
    )
