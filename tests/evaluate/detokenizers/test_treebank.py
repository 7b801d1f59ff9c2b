import pytest

from gpt2xl_eval.detokenizers.treebank import rejoined


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("`` Go ! '' he said .", '"Go!" he said.'),
        ("`` I do n't know , '' said the others ' king ;", '"I don\'t know," said the others\' king;'),
        ("it 's the king 's -LRB- or -lrb- a -rrb- queen 's -RRB- .", "it's the king's (or (a) queen's)."),
        ("` No , ' said she ; we 'll , they 've , I 'm , you 're , he 'd .", "'No,' said she; we'll, they've, I'm, you're, he'd."),
        ("ca n't wo n't Ca N'T", "can't won't CaN'T"),
        ("well ... a child -- a fine child", "well... a child -- a fine child"),
        ("gon na , Got ta , wan na , gim me , lem me , a gong na", "gonna, Gotta, wanna, gimme, lemme, a gong na"),
        ("-LSB- 1 -RSB- $ 5 and\\/or 10 % -LCB- x -RCB-", "[1] $5 and/or 10% {x}"),
        ("a \\/ b \\* c", "a / b * c"),
        ("said XXXXX , `` XXXXX '' .", 'said XXXXX, "XXXXX".'),
        ("  ", ""),
    ],
)  # fmt: skip
def test_tokens_become_text(tokens: str, text: str) -> None:
    assert rejoined(tokens) == text


def test_text_without_artefacts_keeps_its_words() -> None:
    text = "The king's daughter, who was fair, said: go."
    assert rejoined(text) == text
