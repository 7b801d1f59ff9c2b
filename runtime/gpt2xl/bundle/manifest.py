"""gpt2xl.json, the manifest that an export writes; docs/bundle.md lists its keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from gpt2xl.errors import BundleError
from gpt2xl.files.json_values import Value
from gpt2xl.files.reading import is_inside

MANIFEST = "gpt2xl.json"
Kv = Literal["float", "int8"]


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle."""

    size: int
    """Bytes."""
    sha256: str
    """In hex."""


@dataclass(frozen=True)
class Origin:
    """A checkpoint, or an adapter."""

    name: str = ""
    revision: str | None = None
    """The hub's commit."""
    sha256: Mapping[str, str] | None = None
    """By weight file; of an adapter, its config as well."""
    adapter: "Origin | None" = None
    """The adapter that was merged into it."""


@dataclass(frozen=True)
class PassError:
    """The error that a change of format has brought into a weight."""

    method: str
    relative_error: float
    """Frobenius norm of the error over that of the weight."""


@dataclass(frozen=True)
class Figures:
    """The difference between a graph's logits and the checkpoint's."""

    max_abs_logit_diff: float
    mean_kl: float
    """Nats."""
    top1_agreement: float
    """Share of positions with the same most probable token."""


@dataclass(frozen=True)
class Calibration:
    """What the export has found on calibration text."""

    text: str = ""
    """Which text, in words."""
    tokens: int = 0
    equalized: tuple[str, ...] = ()
    """The linear layers whose inputs were equalized in the weights before them."""
    divided: tuple[str, ...] = ()
    """Those whose inputs the graphs divide."""


@dataclass(frozen=True)
class Tokenization:
    """The comparison of tokenizer.json with a second implementation on the source's files."""

    strings: int
    tokens: int
    strings_sha256: str
    ids_sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of a manifest; types have been checked."""

    precision: str | None = None
    kv: Kv = "float"
    """Type of the KV cache."""
    long_step_from: int | None = None
    """Steps of at least this many tokens attend in floats, in engine graphs with an int8 cache. None where the export
    did not say: 9."""
    keep: tuple[str, ...] = ()
    """FORMAT:PATTERN of weights in another format."""
    block_size: int = 0
    """Inputs that share a scale in int4; 0 where the export did not say."""
    backend: str = "gpt2xl"
    source: Origin | None = None
    passes: Mapping[str, PassError] = field(default_factory=dict)
    """By weight."""
    calibration: Calibration | None = None
    """None where nothing was calibrated, or an older version has exported it."""
    parity: Mapping[str, Mapping[str, Figures]] = field(default_factory=dict)
    """By graph ("portable", "engine"), then by what was fed ("whole", "stepwise", "page")."""
    tokenization: Tokenization | None = None
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    """By name; the manifest itself is not listed."""
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The parsed JSON."""

    @property
    def is_float32(self) -> bool:
        """Whether all weights and the KV cache are float32; a manifest that names no precision counts as such."""
        return self.precision in (None, "fp32") and self.kv == "float" and not self.keep

    @property
    def int4_block_size(self) -> int:
        """Inputs that share a scale in the int4 weights of the transformer blocks, the most of any; 0 where there are none."""
        has_int4 = self.precision in ("int4", "int4-fp16") or any(
            rule.startswith("int4:") for rule in self.keep
        )
        return max(self.block_size if has_int4 else 0, *map(_block_size, self.keep), 0)

    @property
    def exactness(self) -> Figures | None:
        """How far the logits are from the checkpoint's: of `parity` the figures of the most positions; None without any."""
        portable, engine = self.parity.get("portable", {}), self.parity.get("engine", {})
        return portable.get("page") or engine.get("page") or engine.get("whole")


def _block_size(rule: str) -> int:
    """The inputs that share a scale by a keep rule for blocks.

    >>> _block_size("int4-128:h.0.*"), _block_size("int8:h.0.*"), _block_size("int4-32:wte.weight")
    (128, 0, 0)
    """
    form, _, pattern = rule.partition(":")
    size = form.removeprefix("int4-")
    is_head = pattern.startswith(("wte.", "lm_head."))
    return int(size) if size != form and size.isdecimal() and not is_head else 0


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of the bundle in ``folder``; None where it has none: other tools write no manifest.

    Raises:
        BundleError: it cannot be read, or a value has a wrong type; the message names file and key.
    """
    path = folder / MANIFEST
    if not path.is_symlink() and not path.exists():
        return None
    top = Value.read(path, BundleError)
    return Manifest(
        precision=_optional_text(top.get("precision")),
        kv=_kv(top.get("kv", "float")),
        long_step_from=_optional_integer(top.get("long_step_from"), 2),
        keep=tuple(item.text() for item in top.get("keep").items()),
        block_size=top.get("block_size", 0).integer(),
        backend=top.get("backend", "gpt2xl").text(),
        source=_origin(top.get("source")),
        passes={name: _pass(entry) for name, entry in top.get("passes").entries().items()},
        calibration=_calibration(top.get("calibration")),
        parity={kind: _modes(top.get("parity").get(kind)) for kind in ("portable", "engine")},
        tokenization=_tokenization(top.get("tokenization")),
        files={name: _file(name, entry) for name, entry in top.get("files").entries().items()},
        content=top.content,
    )


def _kv(value: Value) -> Kv:
    for kv in get_args(Kv):
        if value.content == kv:
            return kv  # type: ignore[no-any-return]
    value.refuse("float or int8")


def _optional_text(value: Value) -> str | None:
    return None if value.content is None else value.text()


def _optional_integer(value: Value, minimum: int) -> int | None:
    return None if value.content is None else value.integer(minimum)


def _origin(value: Value) -> Origin | None:
    if value.content is None:
        return None
    sums = value.get("sha256")
    return Origin(
        name=value.get("name", "").text(),
        revision=_optional_text(value.get("revision")),
        sha256=None
        if sums.content is None
        else {name: digest.text() for name, digest in sums.entries().items()},
        adapter=_origin(value.get("adapter")),
    )


def _tokenization(value: Value) -> Tokenization | None:
    if value.content is None:
        return None
    return Tokenization(
        value.get("strings").integer(),
        value.get("tokens").integer(),
        value.get("strings_sha256").text(),
        value.get("ids_sha256").text(),
    )


def _calibration(value: Value) -> Calibration | None:
    if value.content is None:
        return None
    return Calibration(
        value.get("text").text(),
        value.get("tokens").integer(),
        tuple(item.text() for item in value.get("equalized").items()),
        tuple(item.text() for item in value.get("divided").items()),
    )


def _pass(value: Value) -> PassError:
    return PassError(value.get("method").text(), value.get("relative_error").number())


def _modes(value: Value) -> dict[str, Figures]:
    return {
        mode: Figures(
            figures.get("max_abs_logit_diff").number(),
            figures.get("mean_kl").number(),
            figures.get("top1_agreement").number(),
        )
        for mode, figures in value.entries().items()
    }


def _file(name: str, value: Value) -> FileEntry:
    if not is_inside(name):
        raise BundleError(f"'{value.file}': files names {name!r}, which is outside the bundle.")
    return FileEntry(value.get("size").integer(), value.get("sha256").text())
