import copy
import json
import re
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from gpt2xl import Generation, Model, Tokenizer
from gpt2xl.constraints.constraint import Constraint
from gpt2xl.constraints.grammar import Grammar
from gpt2xl.constraints.vocabulary import Vocabulary
from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.samplers import Categorical
from gpt2xl.errors import RequestError
from gpt2xl.sessions.protocol import Logits

pytest.importorskip("llguidance", reason="the extra 'grammar' is not installed")

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["king", "fox"]}, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
LARK = """
start: greeting ", " NAME "!"
greeting: "Good day" | "Hello" | greeting " again"
NAME: /[A-Z][a-z]{1,5}/
"""
GBNF = r"""
root  ::= sum "="
sum   ::= term ("+" term)*   # no brackets
term  ::= [0-9]{1,2} | "\u00e9"
"""
DATE = r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])"


def is_person(text: str) -> bool:
    value = json.loads(text)
    return (
        list(value) == ["name", "age", "tags"]
        and len(value["name"]) <= 8
        and value["age"] in range(121)
        and len(value["tags"]) <= 3
        and {*value["tags"]} <= {"king", "fox"}
        and text == json.dumps(value, ensure_ascii=False)
    )


def generate(
    model: Model, vocabulary: Vocabulary, grammar: Grammar, seed: int, eos: Sequence[int] = ()
) -> Generation:
    ids = model.prompt_ids("The king said")
    constraint = Constraint(grammar, vocabulary, len(ids), eos or model.config.eos_token_ids)
    return model.generate(ids, processors=(constraint,), temperature=2.0, top_k=0, seed=seed)


def end_of(model: Model) -> int:
    (eos_id,) = model.config.eos_token_ids
    return eos_id


@pytest.mark.parametrize(
    ("grammar", "fits"),
    [
        (lambda: Grammar.regex(DATE), re.compile(DATE).fullmatch),
        (lambda: Grammar.regex(r"^[é-ü]{3}\n/\"$"), re.compile(r"[é-ü]{3}\n/\"").fullmatch),
        (lambda: Grammar.json_schema(json.dumps(PERSON)), is_person),
        (
            lambda: Grammar.choice(["yes", "yes, of course", 'é\n"😀\x01', "no|way"]),
            {"yes", "yes, of course", 'é\n"😀\x01', "no|way"}.__contains__,
        ),
        (
            lambda: Grammar.lark(LARK),
            re.compile(r"(Good day|Hello)( again)*, [A-Z][a-z]{1,5}!").fullmatch,
        ),
        (lambda: Grammar.gbnf(GBNF), re.compile(r"([0-9]{1,2}|é)(\+([0-9]{1,2}|é))*=").fullmatch),
    ],
    ids=["regex", "unicode", "json", "choice", "lark", "gbnf"],
)
def test_texts_match_their_grammar(
    model: Model,
    vocabulary: Vocabulary,
    grammar: Callable[[], Grammar],
    fits: Callable[[str], object],
) -> None:
    ends = 0
    for seed in range(12):
        found = generate(model, vocabulary, grammar(), seed)
        if found.finish_reason == "stop":
            assert fits(found.text), found.text
            ends += 1
    assert ends >= 10


def test_white_space_in_json_is_bounded(model: Model, vocabulary: Vocabulary) -> None:
    grammar = Grammar.json_schema(
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
        max_whitespace=2,
    )
    texts = [generate(model, vocabulary, grammar, seed).text for seed in range(12)]
    assert all(2 <= len(json.loads(text)) <= 3 for text in texts)
    assert any(re.search(r"\s", text) for text in texts)
    assert not any(re.search(r"\s{3}", text) for text in texts)


def test_end_of_text_is_allowed_where_the_grammar_may_end_and_only_then(
    model: Model, vocabulary: Vocabulary
) -> None:
    eos, logits = end_of(model), np.zeros(vocabulary.size, np.float32)
    constraint = Constraint(Grammar.regex("[0-9]{1,2}"), vocabulary, 1, [eos, 7])
    one = vocabulary.tokenizer.encode("1")

    def allowed(ids: list[int]) -> set[int]:
        return {*np.flatnonzero(constraint(ids, logits) == 0).tolist()}

    assert {eos, 7} & allowed([5]) == set()
    assert {eos, 7} < allowed([5, *one])
    assert allowed([5, *one, *one]) == {eos, 7}
    assert allowed([5, *one, eos]) == {eos, 7}  # a drafter may ask after the end
    assert [constraint.is_finished(ids) for ids in ([5], [5, *one], [5, *one, *one])] == [
        False,
        False,
        True,
    ]
    assert constraint.is_finished([5, *one, eos])


def test_a_grammar_may_name_end_of_text(genuine: Vocabulary) -> None:
    a, logits = genuine.tokenizer.encode("a"), np.zeros(genuine.size, np.float32)
    constraint = Constraint(Grammar.lark('start: "a" <|endoftext|>'), genuine, 0, [50256])
    assert np.flatnonzero(constraint(a, logits) == 0).tolist() == [50256]
    assert constraint.is_finished([*a, 50256])


def test_without_end_of_text_a_finished_text_has_to_be_stopped(vocabulary: Vocabulary) -> None:
    constraint = Constraint(Grammar.choice(["1"]), vocabulary, 0)
    ids, logits = vocabulary.tokenizer.encode("1"), np.zeros(vocabulary.size, np.float32)
    assert not constraint.is_finished([])
    constraint([], logits)
    assert constraint.is_finished(ids)
    with pytest.raises(RequestError, match=r"allows no token after '1': it is complete"):
        constraint(ids, logits)


def test_an_empty_text_may_be_all_that_matches(model: Model, vocabulary: Vocabulary) -> None:
    assert generate(model, vocabulary, Grammar.regex(""), 0).text == ""
    assert generate(model, vocabulary, Grammar.choice([""]), 0).finish_reason == "stop"


def test_an_ordinary_token_that_ends_texts_is_not_used_inside(vocabulary: Vocabulary) -> None:
    """A line is often ended by the token of the line feed."""
    (line_feed,) = vocabulary.tokenizer.encode("\n")
    logits = np.zeros(vocabulary.size, np.float32)
    constraint = Constraint(Grammar.regex("a[\n ]*"), vocabulary, 0, [line_feed])
    assert constraint([], logits)[line_feed] == -np.inf
    a = vocabulary.tokenizer.encode("a")
    assert constraint(a, logits)[line_feed] == 0
    assert constraint.is_finished([*a, line_feed])
    inside = Constraint(Grammar.regex("a\nb"), vocabulary, 0, [line_feed])
    with pytest.raises(
        RequestError, match=r"allows no token after 'a': .* the model lacks or stops at"
    ):
        inside(a, logits)


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        (lambda: Grammar.regex(r"[^\x00-\U0010ffff]"), "allows no token after '': no text matches"),
        (lambda: Grammar.lark('start: "a" start'), "cannot be followed after"),
    ],
)
def test_a_grammar_without_texts_is_refused_in_the_end(
    vocabulary: Vocabulary, grammar: Callable[[], Grammar], message: str
) -> None:
    constraint, ids = Constraint(grammar(), vocabulary, 0), list[int]()
    with pytest.raises(RequestError, match=message):
        for _ in range(5):
            logits = constraint(ids, np.zeros(vocabulary.size, np.float32))
            ids.append(int(logits.argmax()))
    with pytest.raises(RequestError):  # and again
        constraint(ids, np.zeros(vocabulary.size, np.float32))


def test_a_special_token_that_the_tokenizer_lacks_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(RequestError, match=r'line 1, column 8: unknown special token: "<king>"\.$'):
        Constraint(Grammar.lark('start: "a" <king>'), vocabulary, 0)


def test_ids_outside_the_tokenizer_and_special_tokens_stay_out(genuine: Vocabulary) -> None:
    constraint = Constraint(Grammar.regex(r"(?s).*"), genuine, 0, [])
    allowed = np.isfinite(constraint([], np.zeros(genuine.size, np.float32)))
    assert allowed.sum() > 40000
    assert not allowed[50256:].any()


def test_the_text_of_a_special_token_is_spelled(genuine: Vocabulary) -> None:
    constraint, ids = (
        Constraint(Grammar.choice(["<|endoftext|>"]), genuine, 0, [50256]),
        list[int](),
    )
    for _ in range(20):
        ids.append(int(constraint(ids, np.zeros(genuine.size, np.float32)).argmax()))
    assert ids[-1] == 50256
    text = ids[: ids.index(50256)]
    assert len(text) > 1
    assert genuine.tokenizer.decode(text) == "<|endoftext|>"


def test_a_tokenizer_may_put_a_space_before_a_text(model: Model, vocabulary: Vocabulary) -> None:
    assert model.bundle is not None
    content = json.loads((model.bundle.folder / "tokenizer.json").read_text("utf-8"))
    content["pre_tokenizer"]["add_prefix_space"] = True
    spaced = Vocabulary(Tokenizer(json.dumps(content)), vocabulary.size)
    assert spaced.tokenizer.decode(spaced.tokenizer.encode("king")) == " king"
    ids = list[int]()
    constraint = Constraint(Grammar.choice(["king of the castle"]), spaced, 0, [end_of(model)])
    while not constraint.is_finished(ids):
        ids.append(int(constraint(ids, np.zeros(spaced.size, np.float32)).argmax()))
    assert spaced.tokenizer.decode(ids) == "king of the castle"


def test_the_ids_may_go_back(genuine: Vocabulary) -> None:
    """What it allows depends on the ids only, not on the calls before."""
    rng, logits = np.random.default_rng(0), np.zeros(genuine.size, np.float32)
    constraint, ids, seen = new(genuine), [9], {}
    for _ in range(40):
        allowed = seen[tuple(ids)] = np.isfinite(constraint(ids, logits))
        ids.append(int(rng.choice(np.flatnonzero(allowed))))
        if ids[-1] == 50256:
            ids = ids[: int(rng.integers(1, len(ids)))]
    assert len(seen) > 20
    for known in rng.permutation(len(seen)):
        ids = [*list(seen)[known]]
        assert (np.isfinite(constraint(ids, logits)) == seen[tuple(ids)]).all()
        assert (np.isfinite(new(genuine)(ids, logits)) == seen[tuple(ids)]).all()


def new(vocabulary: Vocabulary) -> Constraint:
    return Constraint(Grammar.json_schema(PERSON), vocabulary, 1, [50256])


def test_a_deep_copy_goes_its_own_way(vocabulary: Vocabulary) -> None:
    encode, logits = vocabulary.tokenizer.encode, np.zeros(vocabulary.size, np.float32)
    constraint = Constraint(Grammar.choice(["aab", "aba"]), vocabulary, 0)
    a, b = encode("a"), encode("b")
    constraint(a, logits)
    twin = copy.deepcopy(constraint)
    twin([*a, *b], logits)
    chain = Chain((constraint,), Categorical(1))
    assert copy.deepcopy(chain).choose([*a, *b], logits) == a[0]
    assert twin.accepted([*a, *b], a) == a
    assert constraint.accepted(a, [*a, *b, *a]) == [*a, *b]


def test_texts_of_a_draft_model_are_those_without_it(
    demo: Callable[[str], Model], model: Model, vocabulary: Vocabulary
) -> None:
    ids = model.prompt_ids("Once upon a time")
    texts = []
    for draft in (None, demo("draft")):
        constraint = Constraint(
            Grammar.regex("([a-z]{1,7} ){20}"), vocabulary, len(ids), model.config.eos_token_ids
        )
        found = model.generate(ids, processors=(constraint,), seed=3, draft=draft)
        texts.append(found.text)
    assert texts[0] == texts[1]
    assert re.fullmatch("([a-z]{1,7} ){20}", texts[0])


def test_a_draft_is_cut_where_it_leaves_the_grammar(genuine: Vocabulary) -> None:
    encode = genuine.tokenizer.encode
    constraint = Constraint(Grammar.regex("The king( said)* so"), genuine, 2, [50256])
    draft = encode(" king said said that")
    assert constraint.accepted([1, 2, *encode("The")], draft) == draft[:3]
    assert constraint.accepted([1, 2], draft) == []
    assert constraint.accepted([1, 2], []) == []
    whole = encode("The king so")
    assert constraint.accepted([1, 2], [*whole, 50256]) == whole
    assert constraint.accepted([1, 2, *whole, 50256], whole) == []


def test_a_token_that_does_not_fit_is_named(vocabulary: Vocabulary) -> None:
    constraint = Constraint(Grammar.regex("ab"), vocabulary, 0)
    ids = [*vocabulary.tokenizer.encode("a"), *vocabulary.tokenizer.encode("c")]
    with pytest.raises(
        RequestError, match=r"\('c'\) after 'a' does not fit the regex 'ab': a processor"
    ):
        constraint(ids, np.zeros(vocabulary.size, np.float32))


def test_ids_that_other_processors_exclude_leave_a_clear_error(vocabulary: Vocabulary) -> None:
    logits = np.zeros(vocabulary.size, np.float32)
    logits[vocabulary.tokenizer.encode("a")] = -np.inf
    with pytest.raises(RequestError, match="other processors exclude every token that it allows"):
        Constraint(Grammar.regex("a"), vocabulary, 0)([], logits)


def test_all_logits_are_needed(vocabulary: Vocabulary) -> None:
    with pytest.raises(RequestError, match=r"a grammar needs all \d+ logits, but got 3"):
        Constraint(Grammar.regex("a"), vocabulary, 0)([], np.zeros(3, np.float32))


def test_the_logits_are_left_alone(vocabulary: Vocabulary) -> None:
    logits = np.arange(vocabulary.size, dtype=np.float32)
    logits.flags.writeable = False
    changed = Constraint(Grammar.regex("[a-z]+"), vocabulary, 0)([], logits)
    kept = np.isfinite(changed)
    assert changed.dtype == np.float32
    assert (changed[kept] == logits[kept]).all()


def test_threads_may_share_a_vocabulary(genuine: Vocabulary) -> None:
    texts: dict[int, list[int]] = {}

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        constraint, ids = Constraint(Grammar.json_schema(PERSON), genuine, 0, [50256]), list[int]()
        while 50256 not in ids and len(ids) < 200:
            logits: Logits = rng.normal(0, 1, genuine.size).astype(np.float32)
            ids.append(int(constraint(ids, logits).argmax()))
        texts[seed] = ids[:-1] if ids[-1] == 50256 else []

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 6
    assert all(is_person(genuine.tokenizer.decode(ids)) for ids in texts.values())
