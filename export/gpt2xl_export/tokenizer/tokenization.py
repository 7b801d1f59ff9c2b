# ruff: noqa: RUF001  # the strings are of every script
"""Compare two implementations of a bundle's tokenizer; the figures go into the manifest.

One is the tokenizers library with the written tokenizer.json. The other is an independent BPE with the
content that the files of the source were resolved to. source_tokenizer.py has resolved the files for
both, so a mistake there is not found here, but by the tests that compare with transformers.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from gpt2xl.bundle.manifest import Tokenization
from gpt2xl.decoding.context import common_prefix
from gpt2xl.errors import CheckpointError, ParityError, RequestError
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl_export.tokenizer.plain_bpe import PlainTokenizer

SCRIPTS = (
    "The quick brown fox jumps over the lazy dog.", "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg",
    "Voix ambiguë d’un cœur qui préfère les jattes de kiwis", "Příliš žluťoučký kůň úpěl ďábelské ódy",
    "Съешь же ещё этих мягких французских булок", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία", "דג סקרן שט בים מאוכזב",
    "نص حكيم له سر قاطع وذو شأن عظيم", "ऋषियों को सताने वाले दुष्ट", "ஏதோ ஒரு மொழி", "สวัสดีชาวโลก", "ພາສາລາວ",
    "ကမ္ဘာ", "ភាសាខ្មែរ", "བོད་སྐད།", "ქართული ენა", "Հայերեն լեզու", "ሰላም ለዓለም", "天地玄黃，宇宙洪荒。", "いろはにほへと チリヌルヲ",
    "키스의 고유조건은", "ᠮᠣᠩᠭᠣᠯ", "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ", "ᚠᛇᚻ᛫ᛒᛦᚦ", "𐌰𐌽𐍃𐌰𐌽", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ℕ ½ ² Ⅷ ١٢٣ १२३", "e\u0301 é ﬁ ﬀ İ ı ſ ẞ",
    "👩‍👩‍👧 🇩🇪 👍🏽 🙂", "¡¿«»„“‚‘—–…·•†", "$€£¥₹₿ ©®™ ±×÷≠≤∞ ∀∃∅∈",
)  # fmt: skip
SPACES = (
    "", " ", "  ", "   a", "a   ", "a  b   c    d", "\n", "\n\n", " \n \n", "a\nb", "a\n\n\nb", "a\r\nb\r\n", "\t\ta\tb",
    "\u00a0a\u00a0", "\u3000あ\u3000", "\u2028a\u2029b\u0085c", "a\u200bb\u200dc\ufeffd", "\ufeffBOM", " \t\n\r\f\v ",
    "\x1c\x1d\x1e\x1f a",
)  # fmt: skip
FORMS = (
    "I'll we've they're can't he'd I'm it's", "I'LL WE'VE THEY'RE", "don’t", "0 1 12 123 1234 12345 1,234.5 3e-10", "abc123def456",
    "snake_case camelCase kebab-case", "def f(x):\n    return x ** 2  # comment\n", '{"key": [1, 2.5, null]}',
    "https://example.org/a?b=c&d=%20#e", "<b>bold</b> &amp; <br/>", "!!!???...---___", "a" * 60, "ab" * 40, "?" * 50, " " * 50,
    "aaa aaaa aaaaa", "<|endoftext|>", "<|endoftext", "|endoftext|>", "<s></s><unk><pad><mask>", "[CLS] [SEP] [PAD]",
    "Once upon a time there was a king,", "said to his daughter: go", "\ufffd\ufffe\uffff", "\U0010ffff\U000e0001",
)  # fmt: skip
MOST_TOKENS = 60
"""Number of added tokens that are tried."""
LONGEST_TOKEN = 200
"""Characters; longer added tokens are not tried."""


def texts(added: Sequence[str]) -> list[str]:
    """Strings to compare on: scripts, blanks, control characters, and added tokens in context."""
    controls = [chr(i) for i in (*range(0x20), *range(0x7F, 0xA1))] + [
        f"a{chr(i)}b" for i in range(0x20)
    ]
    letters = [chr(i) for i in range(0x21, 0x7F)] + [f" {chr(i)}" for i in range(0x21, 0x7F)]
    fixed = [*SCRIPTS, *SPACES, *FORMS]
    tried = [token for token in added if len(token) <= LONGEST_TOKEN][:MOST_TOKENS]
    spelled = [
        pattern.replace("@", token)
        for token in tried
        for pattern in ("@", "a@b", " @ ", "a  @  b", "@@", "x\n@\nx", "é@é", "@" + " king")
    ]
    return [*fixed, *(f" {text}" for text in SCRIPTS), *controls, *letters, *spelled]


def check_tokenization(source: PlainTokenizer, bundle: Tokenizer) -> Tokenization:
    """Encode and decode `texts` with both, with and without parsing special tokens.

    Args:
        source: the independent BPE with the content that the source's files were resolved to.
        bundle: the library with the bundle's tokenizer.json.

    Raises:
        CheckpointError: the bundle's tokenizer cannot encode a string.
        ParityError: they differ; the first string is named.
    """
    strings = texts(bundle.added_tokens)
    rows = [
        _ids(source, bundle, text, parse_special)
        for text in strings
        for parse_special in (True, False)
    ]
    return Tokenization(len(strings), sum(map(len, rows)), _sha256(strings), _sha256(rows))


def _ids(source: PlainTokenizer, bundle: Tokenizer, text: str, parse_special: bool) -> list[int]:
    try:
        got = bundle.encode(text, parse_special=parse_special)
    except RequestError as reason:
        raise CheckpointError(str(reason)) from None
    wanted = source.encode(text, parse_special=parse_special)
    if got != wanted:
        start = common_prefix(got, wanted)
        raise ParityError(
            f"tokenizer.json gives {text[:40]!r} the ids {got[start : start + 8]} from token"
            f" {start} on, an independent BPE gives {wanted[start : start + 8]}."
        )
    if (found := bundle.decode(got)) != source.decode(wanted):
        raise ParityError(f"the ids of {text[:40]!r} decode to {found[:40]!r}.")
    return got


def _sha256(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
