"""English words that are hardly ever the last word of a LAMBADA passage."""

from gpt2xl import Tokenizer

# src/backend/snowball/stopwords/english.stop of PostgreSQL (PostgreSQL Licence), which has it from Snowball
# (BSD-3-Clause). NLTK distributed the same 127 words until 2017; cybertronai/bflm filtered with them.
_WORDS = """
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its
    itself they them their theirs themselves what which who whom this that these those am is are was were be been being
    have has had having do does did doing a an the and but if or because as until while of at by for with about against
    between into through during before after above below to from up down in out on off over under again further then once
    here there when where why how all any both each few more most other some such no nor not only own same so than too
    very s t can will just don should now
"""
STOP_WORDS = frozenset(_WORDS.split())


def stop_word_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens that are a stop word, in any case, with or without white space around it.

    A token of which only a longer word begins, such as " the" in " theatre", counts as a stop word too.
    """
    return frozenset(
        token_id
        for token_id in range(tokenizer.vocab_size)
        if token_id in tokenizer and _text(tokenizer, token_id).strip().lower() in STOP_WORDS
    )


def _text(tokenizer: Tokenizer, token_id: int) -> str:
    return tokenizer.token_bytes(token_id).decode("utf-8", "replace")
