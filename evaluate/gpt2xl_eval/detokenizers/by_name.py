"""The de-tokenizers by name."""

from collections.abc import Mapping

from gpt2xl import RequestError
from gpt2xl_eval.detokenizers.detokenizer import Detokenizer
from gpt2xl_eval.detokenizers.lm_eval import LM_EVAL
from gpt2xl_eval.detokenizers.one_billion import ONE_BILLION
from gpt2xl_eval.detokenizers.ptb import PTB
from gpt2xl_eval.detokenizers.wikitext import WIKITEXT

NONE = Detokenizer("none", str, str.split)
DETOKENIZERS: Mapping[str, Detokenizer] = {
    each.name: each for each in (WIKITEXT, PTB, ONE_BILLION, LM_EVAL, NONE)
}


def detokenizer(name: str) -> Detokenizer:
    """The de-tokenizer ``name``; RequestError where there is none."""
    if name not in DETOKENIZERS:
        raise RequestError(
            f"there is no detokenizer '{name}'; detokenizers are {', '.join(DETOKENIZERS)}."
        )
    return DETOKENIZERS[name]
