"""Classifier-free guidance: away from what a negative prompt would continue with."""

from collections.abc import Sequence

import numpy as np

from gpt2xl.decoding.context import Context
from gpt2xl.decoding.logprobs import log_softmax
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.sessions.protocol import Logits, Session, TopLogits


def guidance(
    session: Session, negative_ids: Sequence[int], prompt_length: int, scale: float
) -> LogitsProcessor:
    """Extrapolate from the log-probabilities after the negative prompt to those after the prompt.

    Source: Sanchez et al. 2023, arXiv:2306.17806, equation 7; `UnbatchedClassifierFreeGuidanceLogitsProcessor` of
    transformers 4.57. Each call runs the model on the negative prompt and the text so far, with a KV cache of its own.

    Args:
        session: what runs the model.
        negative_ids: the negative prompt, at least one id.
        prompt_length: ids of the prompt, which the negative one stands for.
        scale: 1 changes nothing; above, guidance is the stronger the larger it is.
    """
    context = Context(session)
    longest = session.n_positions - len(negative_ids)

    def guide(ids: Sequence[int], logits: Logits) -> Logits:
        text = ids[prompt_length:]
        if len(text) > longest:  # a negative prompt longer than the prompt, or a text that slides
            text = text[len(text) - longest :]
        found = context.advance([*negative_ids, *text])
        assert not isinstance(found, TopLogits)  # all logits were asked for
        negative = log_softmax(found[-1])
        wanted = log_softmax(logits)
        return np.asarray(scale * (wanted - negative) + negative, np.float32)

    return guide
