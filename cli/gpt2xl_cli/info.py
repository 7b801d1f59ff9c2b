"""gpt2xl info."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from gpt2xl_cli.options import Json


def info(
    model: Annotated[Path, typer.Argument(help="Bundle folder.", show_default=False)],
    *,
    as_json: Json = False,
) -> None:
    """Say what a bundle holds, where it comes from and how exact it is."""
    from gpt2xl.bundle import open_bundle

    bundle = open_bundle(model)
    files = [path for path in bundle.folder.rglob("*") if path.is_file()]
    facts = {
        "folder": str(bundle.folder),
        **{key: bundle.manifest.get(key) for key in ("precision", "kv", "keep", "backend")},
        "size": sum(path.stat().st_size for path in files),
        "engine": bundle.engine and bundle.engine.relative_to(model).as_posix(),
        "portable": bundle.portable and bundle.portable.relative_to(model).as_posix(),
        "config": asdict(bundle.config),
        "source": bundle.manifest.get("source"),
        "tools": bundle.manifest.get("tools"),
        "parity": bundle.manifest.get("parity"),
        "passes": bundle.manifest.get("passes"),
    }
    typer.echo(json.dumps(facts) if as_json else _as_text(facts))


def _pass_lines(passes: dict[str, Any]) -> dict[str, str]:
    """For each method: how many weights, and the relative error it introduced."""
    lines = {}
    for method in sorted({error["method"] for error in passes.values()}):
        errors = {n: e["relative_error"] for n, e in passes.items() if e["method"] == method}
        worst = max(errors, key=errors.__getitem__)
        lines[f"Stored as {method}"] = (
            f"{len(errors)} weights, relative error {sum(errors.values()) / len(errors):.2g} on"
            f" average, {errors[worst]:.2g} at worst ({worst})"
        )
    return lines


def _as_text(facts: dict[str, Any]) -> str:
    config = facts["config"]
    lines = {
        "Folder": facts["folder"],
        "Precision": facts["precision"] or "unknown (not exported by gpt2xl)",
        "Size": f"{facts['size'] / 1e6:.1f} MB",
        "Model": f"{config['n_layer']} layers, {config['n_head']} heads, {config['n_embd']} wide,"
        f" context {config['n_positions']}, vocabulary {config['vocab_size']}",
        "Graphs": ", ".join(facts[kind] for kind in ("engine", "portable") if facts[kind]),
    }
    if facts["source"]:
        revision = facts["source"].get("revision")
        lines["Source"] = facts["source"]["name"] + (f" at {revision}" if revision else "")
        adapter = facts["source"].get("adapter")
        if isinstance(adapter, dict):
            lines["Source"] += f", with the adapter {adapter.get('name')}"
    for kind in ("engine", "portable"):
        for mode, figures in ((facts["parity"] or {}).get(kind) or {}).items():
            lines[f"Parity, {kind}, {mode}"] = (
                f"largest logit difference {figures['max_abs_logit_diff']:.2g},"
                f" KL {figures['mean_kl']:.2g}, same top token {figures['top1_agreement']:.1%}"
            )
    lines |= _pass_lines(facts["passes"] or {})
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())
