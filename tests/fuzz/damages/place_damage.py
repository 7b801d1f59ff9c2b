"""Damages of places: a missing file, or something else than a file."""

import json
import os
from pathlib import Path
from random import Random

OUTSIDE = "nothing of this file belongs into a bundle"

BESIDE = (
    "model_int8.onnx", "engine2.onnx", "model.onnx", "tokenizer.json.bak", "pytorch_model.bin", "vocab.json", "merges.txt",
    "model.safetensors.index.json", "added_tokens.json", "generation_config.json", "chat_template.jinja", "adapter_config.json", "README", "LICENSE", "LICENSE.txt",
    "NOTICE", "README\x1b[31m.md", "\x1b[31m.onnx", "\x1b[31m.safetensors", os.fsdecode(b"README\xff.md"), os.fsdecode(b"\xff.onnx"), "\n.onnx",
)  # fmt: skip


def put_beside(rng: Random, path: Path, elsewhere: Path) -> str:
    """Put an unexpected file beside ``path``."""
    other = path.with_name(rng.choice([name for name in BESIDE if name != path.name]))
    what = rng.choice(("a copy", "an empty file", "a JSON file", "a folder", "a link out", "a link to itself", "a pipe"))  # fmt: skip
    if other.exists():
        other.unlink()
    if what == "a copy":
        other.write_bytes(path.read_bytes())
    elif what == "a folder":
        other.mkdir()
    elif what == "a pipe":
        os.mkfifo(other)
    elif what == "a link out":
        text = json.dumps({"x": OUTSIDE}) if other.suffix == ".json" else OUTSIDE
        (elsewhere / "outside").write_text(text)
        other.symlink_to(elsewhere / "outside")
    elif what == "a link to itself":
        other.symlink_to(other)
    else:
        other.write_text("" if what == "an empty file" else "{}")
    return f"{other.name!r} beside it: {what}"


def damage_place(rng: Random, path: Path, elsewhere: Path) -> str:
    """Replace ``path`` by something else; links may lead to the folder ``elsewhere``."""
    size = path.stat().st_size
    moved = elsewhere / path.name
    moved.write_bytes(path.read_bytes())
    whats = ("missing", "empty", "a folder", "a full folder", "a link out of the folder", "a link to itself",
             "a link to nothing", "a link to a folder", "unreadable")  # fmt: skip
    what = rng.choice((*whats, *whats, "a pipe", "a device", "a gap of 8 GB"))
    if (
        what == "a pipe" and path.name == "in.jsonl"
    ):  # named by the user, as <(command) of a shell is
        what = "a device"
    path.unlink()
    if what == "empty":
        path.touch()
    elif what == "a folder":
        path.mkdir()
    elif what == "a full folder":
        path.mkdir()
        (path / path.name).write_text("{}")
    elif what.startswith("a link"):
        targets = {"out of the folder": moved, "to itself": path, "to nothing": elsewhere / "nothing", "to a folder": elsewhere}  # fmt: skip
        if path.name == "README.md":
            moved.write_text(OUTSIDE)
        elif path.suffix == ".json":  # one that its readers take
            content = json.loads(moved.read_text("utf-8"))
            moved.write_text(json.dumps(content | {"x": OUTSIDE}), "utf-8")
        path.symlink_to(targets[what.removeprefix("a link ")])
    elif what == "unreadable":
        path.write_bytes(moved.read_bytes())
        path.chmod(0)
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a device":
        path.symlink_to("/dev/zero")
    elif what == "a gap of 8 GB":
        path.write_bytes(moved.read_bytes())
        os.truncate(path, size + (8 << 30))
    return what
