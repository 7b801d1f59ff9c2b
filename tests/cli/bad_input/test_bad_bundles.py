"""Broken bundles, with and without the manifest that lists the sizes of their files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models

Refused = Callable[..., str]
Damage = Callable[[Path], None]
ENGINE, PORTABLE, WEIGHTS = "onnx/engine.onnx", "onnx/model.onnx", "onnx/model.onnx_data"


def remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def cut(name: str) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


def overwrite(name: str) -> Damage:
    """Keep the size, change the content."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(b"#" * (folder / name).stat().st_size)

    return damage


def foreign(*damages: Damage) -> Damage:
    """Apply the damages to a folder without a manifest, as other exporters write it."""

    def damage(folder: Path) -> None:
        for one in (remove("gpt2xl.json"), *damages):
            one(folder)

    return damage


def config(**changes: object) -> Damage:
    def damage(folder: Path) -> None:
        content = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(content))

    return damage


def manifest(content: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / "gpt2xl.json").write_text(content)

    return damage


def wordpiece(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(folder / "tokenizer.json"))


CHANGED: dict[str, tuple[Damage, str]] = {
    "the engine graph cut short": (cut(ENGINE), f"{ENGINE}' has "),
    "the portable graph cut short": (cut(PORTABLE), f"{PORTABLE}' has "),
    "the weights cut short": (cut(WEIGHTS), f"{WEIGHTS}' has "),
    "the weights missing": (remove(WEIGHTS), f"{WEIGHTS}' is missing"),
    "the config missing": (remove("config.json"), "config.json' does not exist"),
    "the config of a BERT": (config(model_type="bert"), "model_type 'bert'"),
    "the tokenizer missing": (remove("tokenizer.json"), "tokenizer.json' is missing"),
    "a manifest that is not JSON": (cut("gpt2xl.json"), "gpt2xl.json' cannot be read as JSON"),
    "a manifest that is a list": (manifest("[]"), "gpt2xl.json' has to hold a JSON object"),
    "a manifest with values of the wrong type": (manifest('{"files": [1]}'), "gpt2xl.json'"),
}

UNLOADABLE: dict[str, tuple[Damage, str]] = {
    "the engine graph overwritten": (overwrite(ENGINE), f"'{{}}/{ENGINE}'"),
    "the tokenizer overwritten": (overwrite("tokenizer.json"), "tokenizer.json' cannot be read"),
    "foreign, the engine graph cut short": (foreign(cut(ENGINE)), f"'{{}}/{ENGINE}'"),
    "foreign, its only graph cut short": (
        foreign(remove(ENGINE), cut(PORTABLE)),
        f"'{{}}/{PORTABLE}'",
    ),
    "foreign, the weights cut short": (foreign(cut(WEIGHTS)), f"'{{}}/{ENGINE}'"),
    "foreign, the weights missing": (foreign(remove(WEIGHTS)), f"'{{}}/{WEIGHTS}' is missing"),
    "foreign, no tokenizer": (foreign(remove("tokenizer.json")), "tokenizer.json' does not exist"),
    "foreign, the tokenizer cut short": (foreign(cut("tokenizer.json")), "cannot be read"),
    "foreign, a WordPiece tokenizer": (foreign(wordpiece), "not a byte-level BPE"),
}


@pytest.mark.parametrize("command", ["info", "generate"])
@pytest.mark.parametrize(("damage", "message"), CHANGED.values(), ids=CHANGED)
def test_a_bundle_that_contradicts_its_manifest_is_refused_before_loading(
    damage: Damage, message: str, command: str, bundle: Path, tmp_path: Path, refused: Refused
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    damage(copy)
    arguments = [copy] if command == "info" else ["Once", "-m", copy]
    assert message in refused(command, *arguments)


@pytest.mark.parametrize(("damage", "message"), UNLOADABLE.values(), ids=UNLOADABLE)
def test_a_file_that_cannot_be_loaded_is_named(
    damage: Damage, message: str, bundle: Path, tmp_path: Path, refused: Refused
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    damage(copy)
    assert message.format(copy) in refused("generate", "Once", "-m", copy)


def test_tokenize_refuses_a_wordpiece_tokenizer(tmp_path: Path, refused: Refused) -> None:
    wordpiece(tmp_path)
    assert "not a byte-level BPE" in refused("tokenize", "Once", "-m", tmp_path)


@pytest.mark.parametrize("command", [["info"], ["generate", "Once", "-m"]])
def test_a_checkpoint_is_refused_with_the_command_to_export_it(
    command: list[str], checkpoint: Path, refused: Refused
) -> None:
    message = refused(*command, checkpoint)
    assert f"'{checkpoint}' holds no ONNX file" in message
    assert f"run `gpt2xl export {checkpoint} OUT` first" in message


@pytest.mark.parametrize("command", [["info"], ["generate", "Once", "-m"]])
def test_a_path_that_is_not_a_bundle_folder_is_named(
    command: list[str], bundle: Path, tmp_path: Path, refused: Refused
) -> None:
    assert "'nowhere' is not a folder" in refused(*command, "nowhere")
    assert "config.json' is not a folder" in refused(*command, bundle / "config.json")
    assert f"'{tmp_path}' holds no ONNX file." in refused(*command, tmp_path)


def test_subfolders_are_not_searched_for_a_graph(
    bundle: Path, tmp_path: Path, refused: Refused
) -> None:
    shutil.copytree(bundle, tmp_path / "far" / "below")
    assert "holds no ONNX file" in refused("info", tmp_path)
