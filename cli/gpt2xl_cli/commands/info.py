"""gpt2xl info."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from gpt2xl_cli.models import given_model, model_folder
from gpt2xl_cli.options import Json, Model, ModelArgument
from gpt2xl_cli.reporting.verdicts import divergence_text, meaning_of, share_text
from gpt2xl_cli.terminal import echo_line

if TYPE_CHECKING:
    from gpt2xl.bundle.bundle import Bundle
    from gpt2xl.bundle.manifest import Manifest


MAX_NAME, MAX_VALUE = 60, 400  # characters to show


def info(
    bundle: ModelArgument = None,
    *,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Show what a bundle holds, where it comes from and how exact it is."""
    from gpt2xl.bundle.bundle import open_bundle
    from gpt2xl.errors import one_line

    found = open_bundle(model_folder(given_model(bundle, model)))
    if as_json:
        typer.echo(json.dumps(_facts(found)))
        return
    lines = {one_line(n, MAX_NAME): one_line(v, MAX_VALUE) for n, v in _lines(found).items()}
    width = max(map(len, lines))
    for name, value in lines.items():
        shown = value if value.strip() else repr(value)
        echo_line(f"{name:{width}}  {shown}", indent=width + 2)


def _facts(bundle: "Bundle") -> dict[str, Any]:
    from gpt2xl.files.reading import folder_size

    content = bundle.manifest.content if bundle.manifest else {}
    return {
        "folder": str(bundle.folder),
        **{key: content.get(key) for key in ("precision", "kv", "keep", "backend")},
        "size": folder_size(bundle.folder),
        "engine": bundle.engine and bundle.engine.relative_to(bundle.folder).as_posix(),
        "portable": bundle.portable and bundle.portable.relative_to(bundle.folder).as_posix(),
        "text_graphs": {
            kind: path.relative_to(bundle.folder).as_posix()
            for kind, path in bundle.text_graphs.items()
        },
        "config": asdict(bundle.config),
        "generation_config": _json_values(_defaults(bundle)),
        **{
            key: content.get(key)
            for key in ("source", "tools", "calibration", "chosen", "parity", "passes")
        },
    }


def _defaults(bundle: "Bundle") -> dict[str, Any]:
    """The options of texts that generation_config.json sets."""
    from gpt2xl.options.defaults import differing, model_defaults

    return differing(model_defaults(bundle.folder))


def _json_values(options: dict[str, Any]) -> dict[str, Any]:
    """JSON has no sequences of ids as keys: a mapping becomes pairs."""
    return {n: [*v.items()] if isinstance(v, dict) else v for n, v in options.items()}


def _lines(bundle: "Bundle") -> dict[str, str]:
    """The lines to print: name and value."""
    from gpt2xl.errors import counted
    from gpt2xl.files.reading import folder_size

    config, manifest = bundle.config, bundle.manifest
    graphs = [path for path in (bundle.engine, bundle.portable) if path]
    graphs += bundle.text_graphs.values()
    lines = {
        "Folder": str(bundle.folder),
        "Precision": (manifest and manifest.precision) or "unknown (not exported by gpt2xl)",
        "Size": f"{folder_size(bundle.folder) / 1e6:.1f} MB",
        "Model": f"{counted(config.n_layer, 'layer')}, {counted(config.n_head, 'head')}, {config.n_embd} wide,"
        f" context {config.n_positions}, vocabulary {config.vocab_size}",
        "Graphs": ", ".join(path.relative_to(bundle.folder).as_posix() for path in graphs),
    }
    if defaults := _defaults(bundle):
        values = (f"{name} {value}" for name, value in _json_values(defaults).items())
        lines["Defaults"] = f"{', '.join(values)} (generation_config.json)"
    return lines | (_manifest_lines(manifest) if manifest else {})


def _manifest_lines(manifest: "Manifest") -> dict[str, str]:
    """The lines about the source, the exactness and the quantized weights. --json has all figures of the parity."""
    from gpt2xl.errors import counted

    lines = {}
    if source := manifest.source:
        lines["Source"] = (source.name or "unnamed") + (
            f" at {source.revision}" if source.revision else ""
        )
        if source.adapter:
            lines["Source"] += f", with the adapter {source.adapter.name}"
    if found := manifest.calibration:
        lines["Calibration"] = f"{counted(found.tokens, 'token')} of {found.text}"
        matrices = counted(len(found.equalized), "matrix", "matrices")
        lines["Equalized"] = (f"inputs of {matrices}" if found.equalized else "none") + (
            f"; {len(found.divided)} more in the graph ({', '.join(found.divided)})"
            if found.divided
            else ""
        )
    if figures := manifest.exactness:
        lines["Exactness"] = (
            f"same next token as the checkpoint at {share_text(figures.top1_agreement)} of a text,"
            f" {divergence_text(figures.mean_kl)}: {meaning_of(figures.mean_kl)}"
        )
    for method in sorted({error.method for error in manifest.passes.values()}):
        errors = {n: e.relative_error for n, e in manifest.passes.items() if e.method == method}
        worst = max(errors, key=errors.__getitem__)
        lines[f"Stored as {method}"] = (
            f"{counted(len(errors), 'weight')}, relative error {sum(errors.values()) / len(errors):.2g} on"
            f" average, {errors[worst]:.2g} at worst ({worst})"
        )
    return lines
