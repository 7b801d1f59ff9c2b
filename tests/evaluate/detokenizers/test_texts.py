# ruff: noqa: RUF001
"""What texts look like; `test_round_trips` shows that they give the tokens back."""

import pytest

from gpt2xl import RequestError
from gpt2xl_eval.detokenizers.by_name import detokenizer

WIKITEXT = {
    "= = Early life = =": "== Early life ==",
    "= Robert <unk> =": "= Robert <unk> =",
    "He had a guest @-@ starring role , in 2000 .": "He had a guest-starring role, in 2000.",
    "It sold 1 @,@ 500 @,@ 000 copies at $ 3 @.@ 50 .": "It sold 1,500,000 copies at $3.50.",
    'his role as " Craig " in " Teddy \'s Story "': 'his role as "Craig" in "Teddy\'s Story"',
    "the players ' ball ; they didn 't go !": "the players' ball; they didn't go!",
    "he said ' hello ' to them": "he said 'hello' to them",
    "the U.S. Army , Mr. Hall and others , etc. and so on .": (
        "the U.S. Army, Mr. Hall and others, etc. and so on."
    ),
    "at 20 ° C ( 68 ° F ) , 5 – 6 kg [ 11 ft / s ]": "at 20°C (68°F), 5–6 kg [11 ft/s]",
    "the north – south road at 12 : 30": "the north – south road at 12:30",
    "about <unk> @.@ 5 % of <unk> @-@ based": "about <unk>.5% of <unk>-based",
    "It 's 18- to 25 @-@ year - olds": "It's 18- to 25-year - olds",
    "I ’ m No. 1 .": "I’m No. 1.",
    "in vitamin C . The end": "in vitamin C . The end",
}
PTB = {
    "the old mill was n't sold for years": "the old mill wasn't sold for years",
    "the companies ' profit fell to $ N million or N N": (
        "the companies' profit fell to $1 million or 1 1"
    ),
    r"capital cities\/abc 's 500-stock index": "capital cities/abc's 500-stock index",
    "a us$ N bid by <unk> 's <unk> who 'd pay": "a us$1 bid by <unk>'s <unk> who'd pay",
    "1 of them": "1 of them",
}
ONE_BILLION = {
    'a story titled " Crazy Talk : Oprah , Wacky Cures & You . "': (
        'a story titled "Crazy Talk: Oprah, Wacky Cures & You."'
    ),
    "He didn 't say -- that it 's $ 1,000 , or £ 5 .": (
        "He didn't say -- that it's $1,000, or £5."
    ),
    "See http : / / www.example.com and / or ask !": "See http://www.example.com and/or ask!",
    "a bio-identical treatment .": "a bio-identical treatment.",
}


@pytest.mark.parametrize(
    ("name", "tokens", "text"),
    [
        (name, tokens, text)
        for name, lines in (("wikitext", WIKITEXT), ("ptb", PTB), ("1bw", ONE_BILLION))
        for tokens, text in lines.items()
    ],
)
def test_tokens_become_text_as_people_write_it(name: str, tokens: str, text: str) -> None:
    assert detokenizer(name).detokenize(f" {tokens} ") == text


@pytest.mark.parametrize("name", ["wikitext", "ptb", "1bw"])
def test_line_ends_stay(name: str) -> None:
    pair = detokenizer(name)
    assert pair.detokenize(" \n a b \n \n c \n") == "\na b\n\nc\n"
    assert pair.tokenize is not None
    assert pair.tokenize("\na b\n\nc\n") == ["a", "b", "c"]


def test_lm_evaluation_harness_s_rules_are_applied_in_its_order_to_a_whole_page() -> None:
    page = (
        " = One = \n\n = = Two = = \n He 's at 5 ° C , the boys ' N best @-@ of . , x"
        ' \n a " b \n c " d ( e )  \n'
    )
    text = " = One =\n\n== Two ==\nHe's at 5°C, the boys' 1 best-of., x\na \"b\nc\" d (e) \n"
    assert detokenizer("lm-eval").detokenize(page) == text
    assert detokenizer("lm-eval").tokenize is None


def test_none_changes_nothing() -> None:
    assert detokenizer("none").detokenize(" a , b \n") == " a , b \n"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(RequestError, match="no detokenizer 'moses'; detokenizers are wikitext, "):
        detokenizer("moses")
