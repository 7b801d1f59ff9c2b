"""Read texts as they are distributed."""

import re
from pathlib import Path

from gpt2xl import RequestError
from gpt2xl.errors import one_line
from gpt2xl_eval.formats.files import files_in, read_maybe_zipped, read_utf8

WIKITEXT_FILES = ("wiki.test.raw", "wiki.test.tokens", "test.txt")
PTB_FILES = ("ptb.test.txt", "data/ptb.test.txt", "test.txt")
SHARDS = ("news.en.heldout-*-of-00050", "heldout-monolingual.tokenized.shuffled/news.en.heldout-*")
HEADING = re.compile(r" ?= .+ = ?")
HUNDRED_MB, TEST_BYTES = 100_000_000, 5_000_000


def plain_text(path: Path) -> str:
    """Any UTF-8 text; RequestError where it is not one."""
    return read_utf8(path)


def wikitext(path: Path) -> str:
    """WikiText, raw or with ``<unk>``: a file, or a folder with one of WIKITEXT_FILES.

    Raises:
        RequestError: it cannot be read, or does not begin with a heading.
    """
    (file,) = files_in(path, WIKITEXT_FILES)
    text = read_utf8(file)
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not HEADING.fullmatch(line):
            raise RequestError(
                f"'{file}', line {number}: WikiText begins with a heading such as ' = Title = ', but this is"
                f" '{one_line(line, 40)}'."
            )
        if line.strip():
            break
    return text


def penn_treebank(path: Path) -> str:
    """Mikolov's Penn Treebank, a sentence a line: a file, or a folder with one of PTB_FILES.

    Raises:
        RequestError: it cannot be read, or has words in upper case other than ``N``.
    """
    (file,) = files_in(path, PTB_FILES)
    text = read_utf8(file)
    for number, line in enumerate(text.split("\n"), 1):
        if wrong := next((w for w in line.split() if w != "N" and w != w.lower()), None):
            raise RequestError(
                f"'{file}', line {number}: the Penn Treebank for language models is in lower case but for N, and this"
                f" line has '{one_line(wrong, 40)}'."
            )
    return text


def one_billion(path: Path) -> str:
    """Held-out shards of the One Billion Word Benchmark, a sentence a line: a file, or a folder with all of SHARDS.

    Raises:
        RequestError: one cannot be read.
    """
    shards = [read_utf8(file) for file in files_in(path, SHARDS)]
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in shards)


def enwik8(path: Path, part: str) -> bytes:
    """The first 100 MB of Wikipedia of 2006: the file, or the zip archive of it.

    Args:
        path: the file.
        part: "test" for the last 5 MB of the 100 MB, "all" for all. A file of another size is taken whole.

    Raises:
        RequestError: it cannot be read.
    """
    content = read_maybe_zipped(_one_file(path, "enwik8"), "enwik8")
    return content[-TEST_BYTES:] if part == "test" and len(content) == HUNDRED_MB else content


def text8(path: Path, part: str) -> bytes:
    """The same without markup, in a to z and spaces: the file, or the zip archive of it.

    Raises:
        RequestError: it cannot be read, or has other characters.
    """
    file = _one_file(path, "text8")
    content = read_maybe_zipped(file, "text8").rstrip(b"\n")
    if wrong := re.search(rb"[^a-z ]", content):
        line = content.count(b"\n", 0, wrong.start()) + 1
        raise RequestError(
            f"'{file}', line {line}: text8 has the letters a to z and spaces only, but this line has byte"
            f" 0x{wrong[0][0]:02x}."
        )
    return content[-TEST_BYTES:] if part == "test" and len(content) == HUNDRED_MB else content


def _one_file(path: Path, name: str) -> Path:
    return files_in(path, (name, f"{name}.zip"))[0]
