"""Our graphs against the original implementation, on checkpoints that it wrote itself.

Transformers runs with eager attention: its sdpa path ignores scale_attn_weights and
scale_attn_by_inverse_layer_idx (seen in 4.57).
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpt2xl import load
from gpt2xl.bundle import open_bundle
from gpt2xl.session import EngineSession, PortableSession
from gpt2xl_export.activations import ACTIVATIONS
from gpt2xl_export.checkpoint import open_checkpoint
from gpt2xl_export.export import export
from gpt2xl_export.graphs import ExportOptions
from gpt2xl_export.reference import Reference

torch = pytest.importorskip("torch", reason="parity with transformers needs torch")
transformers = pytest.importorskip("transformers", reason="parity with transformers needs it")
activations = pytest.importorskip("transformers.activations")

Logits = npt.NDArray[np.float32]
Config = dict[str, Any]
DEMO = Path(__file__).parents[2] / "models" / "demo"
CONTEXT, NEW = 256, 200


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Threads only get in each other's way in models this small."""
    torch.set_num_threads(1)


def build(config: Config, seed: int = 0) -> Any:
    """A random model whose every parameter matters: norms are not 1, biases not 0.

    Its weights are as large as they can be with activations still around 1: with larger ones
    float32 itself is off by more than 1e-4, in transformers as in ours.
    """
    torch.manual_seed(seed)
    heads, size = config.get("n_head", 2), config.get("head_dim", 16)
    width = heads * size
    values = {"vocab_size": 289, "n_layer": 2, "n_head": heads, "n_embd": width}
    values |= {"n_positions": CONTEXT, "initializer_range": 1.2 / width**0.5}
    values |= {"attn_implementation": "eager", "bos_token_id": 286, "eos_token_id": 286} | config
    values.pop("head_dim", None)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**values)).eval()
    with torch.no_grad():
        model.transformer.wpe.weight *= 3  # else a tied head says the last token again and again
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return model


def save(model: Any, folder: Path, checkpoint: Path, **options: Any) -> Path:
    """``model`` as transformers saves it, with the tokenizer of our tiny checkpoint."""
    model.save_pretrained(folder, **options)
    shutil.copy(checkpoint / "tokenizer.json", folder)
    return folder


def transformers_logits(model: Any, ids: list[int]) -> Logits:
    """[n, vocab_size], by one run without a cache."""
    with torch.no_grad():
        return np.asarray(model(torch.tensor([ids]), use_cache=False).logits[0].numpy())


def sessions(folder: Path) -> dict[str, EngineSession | PortableSession]:
    """Each graph of a bundle."""
    bundle = open_bundle(folder)
    found: dict[str, EngineSession | PortableSession] = {}
    if bundle.engine is not None:
        found["engine"] = EngineSession(bundle.engine, bundle.config.n_positions, "cpu", 1)
    if bundle.portable is not None:
        found["portable"] = PortableSession(bundle.portable, bundle.config.n_positions, "cpu", 1)
    return found


def stepwise(session: EngineSession | PortableSession, ids: list[int], size: int) -> Logits:
    """Logits after every ``size`` tokens."""
    cache = session.new_cache()
    pieces = [ids[start : start + size] for start in range(0, len(ids), size)]
    return np.concatenate([session.step(np.array([piece]), cache) for piece in pieces])


def greedy(session: EngineSession | PortableSession, prompt: list[int]) -> tuple[list[int], Logits]:
    """NEW tokens with the logits each was chosen from."""
    cache = session.new_cache()
    rows = [session.step(np.array([prompt]), cache)]
    ids = [int(rows[0].argmax())]
    while len(ids) < NEW:
        rows.append(session.step(np.array([ids[-1:]]), cache))
        ids.append(int(rows[-1].argmax()))
    return ids, np.concatenate(rows)


def check_bundle(folder: Path, model: Any, prompt: list[int]) -> None:
    """Every graph writes what ``model`` would, token for token, however it is fed."""
    texts = set()
    for kind, session in sessions(folder).items():
        ids, logits = greedy(session, prompt)
        assert len(set(ids)) > 8, "the text is too dull to show anything"
        # That each token is the most probable after all before it makes this greedy decoding.
        fed = prompt + ids[:-1]
        wanted = transformers_logits(model, fed)
        after = wanted[len(prompt) - 1 :]
        np.testing.assert_allclose(logits, after, rtol=0, atol=1e-4, err_msg=kind)
        assert ids == after.argmax(-1).tolist(), kind
        for size in (7, len(fed)):
            ends = [*range(size, len(fed), size), len(fed)]
            chunked = stepwise(session, fed, size)
            np.testing.assert_allclose(
                chunked, wanted[[end - 1 for end in ends]], rtol=0, atol=1e-4, err_msg=kind
            )
        texts.add(tuple(ids))
    assert len(texts) == 1


Implementation = Callable[[Path, Path, list[int]], Logits]


def reference(source: Path, bundle: Path, ids: list[int]) -> Logits:
    """The exporter's numpy oracle."""
    return Reference(open_checkpoint(source)).logits([ids])[0]


def engine(source: Path, bundle: Path, ids: list[int]) -> Logits:
    """The engine graph, token by token."""
    return stepwise(sessions(bundle)["engine"], ids, 1)


def portable(source: Path, bundle: Path, ids: list[int]) -> Logits:
    """The portable graph, token by token."""
    return stepwise(sessions(bundle)["portable"], ids, 1)


@dataclass(frozen=True)
class Case:
    """One implementation; ``atol`` bounds every logit's difference, of logits that reach 12."""

    run: Implementation
    options: ExportOptions
    atol: float

    def __str__(self) -> str:
        kv = "-kv-int8" if self.options.kv == "int8" else ""
        return f"{self.run.__name__}-{self.options.precision}{kv}"


CASES = [
    Case(reference, ExportOptions("fp32"), 1e-4),
    Case(portable, ExportOptions("fp32"), 1e-4),
    Case(engine, ExportOptions("fp32"), 1e-4),
]


@pytest.fixture(scope="module")
def original(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """One model and its folder."""
    model = build({"n_layer": 3, "n_head": 4, "head_dim": 32}, seed=5)
    return model, save(model, tmp_path_factory.mktemp("original") / "model", checkpoint)


@pytest.fixture(scope="module")
def exported(
    original: tuple[Any, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[ExportOptions], Path]:
    """Call it with options for the bundle of ``original``."""
    made: dict[ExportOptions, Path] = {}

    def make(options: ExportOptions) -> Path:
        if options not in made:
            made[options] = tmp_path_factory.mktemp("exported") / "bundle"
            export(original[1], made[options], options)
        return made[options]

    return make


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_implementation_gives_the_logits_of_transformers(
    original: tuple[Any, Path], exported: Callable[[ExportOptions], Path], case: Case
) -> None:
    model, source = original
    ids = np.random.default_rng(1).integers(0, 287, 120).tolist()
    wanted = transformers_logits(model, ids)
    assert 5 < np.abs(wanted).max() < 20
    got = case.run(source, exported(case.options), ids)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=case.atol)


KNOWN = [name for name in ACTIVATIONS if name in activations.ACT2FN]
GRID: list[Config] = [
    *({"activation_function": name, "n_layer": 1 + i % 4, "n_head": 1 + i % 5, "head_dim": (8, 16, 64)[i % 3],
       "vocab_size": 287 + 2 * i, "tie_word_embeddings": i % 2 == 0} for i, name in enumerate(KNOWN)),
    *({"n_layer": 3, "scale_attn_weights": scaled, "scale_attn_by_inverse_layer_idx": by_layer, "reorder_and_upcast_attn": upcast}
      for scaled in (True, False) for by_layer in (True, False) for upcast in (True, False)),
    {"n_inner": 50},
    {"n_inner": 31, "tie_word_embeddings": False},
    {"layer_norm_epsilon": 1e-2},
    {"layer_norm_epsilon": 1e-12},
    {"head_dim": 5, "n_head": 3},
    {"head_dim": 64, "n_head": 5, "n_layer": 4, "vocab_size": 1023},
]  # fmt: skip


def described(config: Config) -> str:
    """For test names."""
    return "-".join(f"{key}={value}" for key, value in config.items())


@pytest.mark.parametrize("config", GRID, ids=described)
def test_a_model_of_any_config_writes_the_same_text(
    checkpoint: Path, tmp_path: Path, config: Config
) -> None:
    model = build(config)
    export(save(model, tmp_path / "model", checkpoint), tmp_path / "bundle")
    check_bundle(tmp_path / "bundle", model, [5, 260, 281, 9, 77, 140, 3, 286, 11])


def test_every_activation_here_is_one_of_transformers() -> None:
    assert set(KNOWN) == set(ACTIVATIONS)


def as_float16(model: Any, folder: Path, checkpoint: Path) -> Path:
    return save(model.half(), folder, checkpoint)


def as_bfloat16(model: Any, folder: Path, checkpoint: Path) -> Path:
    return save(model.bfloat16(), folder, checkpoint)


def as_shards(model: Any, folder: Path, checkpoint: Path) -> Path:
    save(model, folder, checkpoint, max_shard_size="60KB")
    assert len(list(folder.glob("model-0*.safetensors"))) > 2
    return folder


def without_prefix(model: Any, folder: Path, checkpoint: Path) -> Path:
    """GPT2Model is what the LM head model wraps; openai-community/gpt2 was saved like this."""
    save(model.transformer, folder, checkpoint)
    assert "wte.weight" in open_checkpoint(folder).tensor_names
    return folder


@pytest.mark.parametrize("write", [save, as_float16, as_bfloat16, as_shards, without_prefix])
def test_every_file_layout_of_transformers_is_read(
    checkpoint: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    source = write(build({"tie_word_embeddings": True}), tmp_path / "model", checkpoint)
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    model = transformers.GPT2LMHeadModel.from_pretrained(source, **options).eval()
    export(source, tmp_path / "bundle")
    check_bundle(tmp_path / "bundle", model, [5, 260, 281, 9])


@pytest.mark.parametrize("tied", [True, False])
def test_generate_writes_the_same_text_and_stops_at_the_same_end(
    checkpoint: Path, tmp_path: Path, tied: bool
) -> None:
    model = build({"tie_word_embeddings": tied, "vocab_size": 287, "eos_token_id": None})
    ours = load_saved(model, checkpoint, tmp_path / "endless")
    prompt = ours.tokenizer.encode("Once upon a time")
    result = ours.generate("Once upon a time", greedy=True, max_new_tokens=NEW)
    assert result.new_ids == transformers_text(model, prompt, None)
    assert len(set(result.new_ids)) > 8
    # Stop at a token that the text has late for the first time.
    end = max(set(result.new_ids), key=result.new_ids.index)
    model.config.eos_token_id = model.generation_config.eos_token_id = end
    ended = load_saved(model, checkpoint, tmp_path / "ended")
    result = ended.generate("Once upon a time", greedy=True, max_new_tokens=NEW)
    assert [*result.new_ids, end] == transformers_text(model, prompt, end)
    assert result.finish_reason == "stop"


def load_saved(model: Any, checkpoint: Path, folder: Path) -> Any:
    """``model`` through our exporter and runtime."""
    export(save(model, folder / "model", checkpoint), folder / "bundle")
    return load(folder / "bundle", threads=1)


def transformers_text(model: Any, prompt: list[int], end: int | None) -> list[int]:
    """What transformers' own greedy decoding adds."""
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW,
        eos_token_id=end, pad_token_id=0,
    )  # fmt: skip
    return [int(token) for token in out[0, len(prompt) :]]


def test_the_demo_model_writes_the_same_text(tmp_path: Path) -> None:
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    assert (DEMO / "model.safetensors").is_file(), "models/demo is part of the repository"
    model = transformers.GPT2LMHeadModel.from_pretrained(DEMO, **options).eval()
    export(DEMO, tmp_path / "bundle")
    tokenizer = load(tmp_path / "bundle").tokenizer
    for prompt in ("Once upon a time", "The king said to his daughter,"):
        check_bundle(tmp_path / "bundle", model, tokenizer.encode(prompt))
