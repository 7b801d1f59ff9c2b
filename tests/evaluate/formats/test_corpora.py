"""Texts as they are distributed, and files that are not."""

import zipfile
from pathlib import Path

import pytest

from gpt2xl import RequestError
from gpt2xl_eval.formats import corpora
from gpt2xl_eval.formats.documents import articles, lines

WIKITEXT = " \n = Title = \n \n A <unk> line , with a stop . \n \n = = Part = = \n \n Más \n"


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def zipped(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["wiki.test.raw", "wiki.test.tokens", "test.txt"])
def test_wikitext_is_a_file_or_the_folder_of_one(tmp_path: Path, name: str) -> None:
    file = written(tmp_path / name, WIKITEXT)
    written(tmp_path / "wiki.train.raw", "other")
    assert corpora.wikitext(file) == corpora.wikitext(tmp_path) == WIKITEXT


def test_the_raw_file_of_a_folder_is_preferred(tmp_path: Path) -> None:
    written(tmp_path / "wiki.test.tokens", WIKITEXT)
    written(tmp_path / "wiki.test.raw", " = Raw = \n")
    assert corpora.wikitext(tmp_path) == " = Raw = \n"


def test_the_penn_treebank_is_a_file_or_its_folder(tmp_path: Path) -> None:
    content = " the old mill was n't sold for years \n the <unk> fell N N to $ N \n"
    file = written(tmp_path / "simple-examples" / "data" / "ptb.test.txt", content)
    for path in (file, file.parent, file.parents[1]):
        assert corpora.penn_treebank(path) == content


def test_shards_of_the_one_billion_word_benchmark_follow_one_another(tmp_path: Path) -> None:
    folder = tmp_path / "heldout-monolingual.tokenized.shuffled"
    second = written(folder / "news.en.heldout-00001-of-00050", "Second one .\nThird .\n")
    written(folder / "news.en.heldout-00000-of-00050", "First one .")
    written(folder / "README", "not a shard")
    assert corpora.one_billion(second) == "Second one .\nThird .\n"
    for path in (folder, tmp_path):
        assert corpora.one_billion(path) == "First one .\nSecond one .\nThird .\n"


@pytest.mark.parametrize("name", ["enwik8", "text8"])
def test_a_zip_archive_reads_as_the_file_in_it(tmp_path: Path, name: str) -> None:
    read = {"enwik8": corpora.enwik8, "text8": corpora.text8}[name]
    archive = zipped(tmp_path / f"{name}.zip", name, b"a test of bytes")
    assert read(archive, "test") == read(tmp_path, "test") == b"a test of bytes"
    written(tmp_path / name, b"the file itself")
    assert read(tmp_path, "all") == b"the file itself"


@pytest.mark.parametrize("name", ["enwik8", "text8"])
def test_the_test_part_is_the_end_of_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(corpora, "WHOLE_BYTES", 100)
    monkeypatch.setattr(corpora, "TEST_BYTES", 5)
    read = {"enwik8": corpora.enwik8, "text8": corpora.text8}[name]
    whole = written(tmp_path / name, b"a" * 95 + b"b" * 5)
    assert read(whole, "test") == b"b" * 5
    assert read(whole, "all") == whole.read_bytes()
    part = written(tmp_path / "part", b"b" * 20)
    assert read(part, "test") == part.read_bytes()


def test_articles_begin_at_headings_of_the_first_level() -> None:
    text = WIKITEXT + " = Second = \n b \n"
    first, second = articles(text)
    assert first == WIKITEXT.removeprefix(" \n").removesuffix("\n")
    assert second == " = Second = \n b \n"


def test_lines_keep_their_ends_and_only_they_end_lines() -> None:
    assert lines("a\u2028b\r\n\n \nc") == ["a\u2028b\r\n", "c"]


BAD = {
    "'{}' does not exist.": (corpora.plain_text, None),
    "'{}' is empty.": (corpora.plain_text, ""),
    "'{}', line 2: byte 0xff is not UTF-8.": (corpora.plain_text, b"a\nb \xff\n"),
    "'{}', line 2: WikiText begins with a heading such as ' = Title = ', but this is 'A story.'.": (
        corpora.wikitext,
        " \nA story.\n",
    ),
    "'{}', line 2: the Penn Treebank for language models is in lower case but for N, and this line has 'The'.": (
        corpora.penn_treebank,
        " the N \n The end \n",
    ),
    "'{}', line 1: text8 has the letters a to z and spaces only, but this line has byte 0x2e.": (
        lambda path: corpora.text8(path, "test"),
        "a line.",
    ),
    "'{}' is a zip archive without a file 'enwik8'.": (
        lambda path: corpora.enwik8(path, "test"),
        "zip",
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_files_of_another_format_are_refused(tmp_path: Path, message: str) -> None:
    read, content = BAD[message]
    file = tmp_path / "data"
    if content == "zip":
        zipped(file, "enwik9", b"a")
    elif content is not None:
        written(file, content)
    with pytest.raises(RequestError) as caught:
        read(file)
    assert str(caught.value) == message.format(file)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "enwik8.zip", "enwik8", b"some bytes to keep " * 99)
    content = bytearray(archive.read_bytes())
    content[60:64] = b"\0\0\0\0"
    archive.write_bytes(content)
    with pytest.raises(RequestError, match="is a damaged zip archive"):
        corpora.enwik8(archive, "test")


def test_an_archive_whose_download_broke_off_is_not_taken_for_text(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "enwik8.zip", "enwik8", b"a test of bytes")
    archive.write_bytes(archive.read_bytes()[:60])
    with pytest.raises(RequestError, match="is a damaged zip archive"):
        corpora.enwik8(archive, "test")


def test_a_folder_without_the_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"holds no wiki\.test\.raw or wiki\.test\.tokens or"):
        corpora.wikitext(tmp_path)
