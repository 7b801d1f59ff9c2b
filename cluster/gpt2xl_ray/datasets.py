"""Texts, scores and features of the rows of a Ray dataset."""

from dataclasses import dataclass
from math import exp, fsum, nan
from typing import Any, Literal, Unpack

import ray.data

from gpt2xl import GenerationOptions, LoadOptions, batch_udf
from gpt2xl.options.keywords import GenerationKeywords
from gpt2xl_ray.resources import Actors, check_room, most_beside_readers
from gpt2xl_ray.workers import Featurizer, Generator, Scorer, TextSource

ONE_ACTOR = Actors()


def generate(
    dataset: ray.data.Dataset,
    bundle: str,
    options: GenerationOptions | None = None,
    *,
    actors: Actors = ONE_ACTOR,
    id_column: str = "id",
    prompt_column: str = "prompt",
    prefix: str = "",
    rows: int = 16,
    batch_size: int = 256,
    load: LoadOptions | None = None,
    **keywords: Unpack[GenerationKeywords],
) -> ray.data.Dataset:
    """Continue the prompts of a dataset, lazily; columns, seeds and bad rows are as of `gpt2xl.batch_udf`.

    Example::

        dataset = ray.data.read_parquet("s3://bucket/prompts")
        texts = gpt2xl_ray.generate(dataset, "s3://bucket/my-gpt2-xl", actors=Actors(2, 8, cpus=4), seed=1)
        texts.write_parquet("s3://bucket/texts")

    Args:
        dataset: with ids and prompts.
        bundle: a path that every machine has, a name, or a URI, from which each machine fetches it once.
        options: of each text; None: the model's own.
        actors: how many, and the CPUs of each. One CPU of the cluster is left to read the data.
        id_column: ids, which decide the seeds.
        prompt_column: texts or lists of token ids.
        prefix: stands before the names of new columns.
        rows: texts that share a step.
        batch_size: rows that an actor takes at a time; those of an actor that dies are computed again by another one.
        load: how to load; None: with a thread for each CPU of an actor.
        **keywords: fields of `GenerationOptions`.

    Raises:
        ClusterError: there is no room for the actors and for reading.
        RequestError: an option out of its range.
    """
    udf = batch_udf(
        bundle, options, id_column=id_column, prompt_column=prompt_column, prefix=prefix, rows=rows,
        load=_load(load, actors), **keywords,
    )  # fmt: skip
    return _mapped(dataset, Generator, (udf,), actors, batch_size)


def score(
    dataset: ray.data.Dataset,
    bundle: str,
    *,
    text_column: str = "text",
    stride: int | None = None,
    actors: Actors = ONE_ACTOR,
    batch_size: int = 64,
    load: LoadOptions | None = None,
) -> ray.data.Dataset:
    """Add to each row ``nats``, the negative log-probability of its text, the ``tokens`` that it is of, and ``error``.

    Args:
        dataset: with texts.
        bundle: as of `generate`.
        text_column: texts or lists of token ids.
        stride: as of `gpt2xl.Model.score`.
        actors: as of `generate`.
        batch_size: as of `generate`.
        load: as of `generate`.

    Raises:
        ClusterError: there is no room for the actors and for reading.
    """
    source = TextSource(bundle, text_column, _load(load, actors))
    return _mapped(dataset, Scorer, (source, stride), actors, batch_size)


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts the texts of a dataset."""

    texts: int
    """That were scored."""
    errors: int
    """Texts that could not be."""
    tokens: int
    """That were predicted: the first of each text is not."""
    nats: float
    """Negative log-probability of all of them."""

    @property
    def perplexity(self) -> float:
        """Of a token; nan without one."""
        return exp(self.nats / self.tokens) if self.tokens else nan


def evaluate(
    dataset: ray.data.Dataset,
    bundle: str,
    *,
    text_column: str = "text",
    stride: int | None = None,
    actors: Actors = ONE_ACTOR,
    batch_size: int = 64,
    load: LoadOptions | None = None,
) -> Evaluation:
    """Score all texts and sum up, exactly: the order in which actors finish changes no bit.

    Arguments and errors are those of `score`.
    """
    scored = score(
        dataset, bundle, text_column=text_column, stride=stride, actors=actors,
        batch_size=batch_size, load=load,
    )  # fmt: skip
    nats, errors, tokens = list[float](), 0, 0
    for batch in scored.select_columns(["nats", "tokens", "error"]).iter_batches(batch_size=None):
        is_good = batch["error"] == ""
        nats += batch["nats"][is_good].tolist()
        tokens += int(batch["tokens"].sum())
        errors += int((~is_good).sum())
    return Evaluation(len(nats), errors, tokens, fsum(nats))


def features(
    dataset: ray.data.Dataset,
    bundle: str,
    *,
    text_column: str = "text",
    pooling: Literal["mean", "last"] = "mean",
    actors: Actors = ONE_ACTOR,
    batch_size: int = 64,
    load: LoadOptions | None = None,
) -> ray.data.Dataset:
    """Add to each row ``features``, float32 [n_embd], the pooled hidden state of its text, and ``error``.

    Arguments and errors are those of `score`; ``pooling`` is as of `gpt2xl.Model.features`. A bad row's vector is nan.
    """
    source = TextSource(bundle, text_column, _load(load, actors))
    return _mapped(dataset, Featurizer, (source, pooling), actors, batch_size)


def _load(load: LoadOptions | None, actors: Actors) -> LoadOptions:
    return LoadOptions(threads=actors.cpus) if load is None else load


def _mapped(
    dataset: ray.data.Dataset,
    worker: type,
    arguments: tuple[Any, ...],
    actors: Actors,
    batch_size: int,
) -> ray.data.Dataset:
    check_room(actors, readers=1)
    pool = ray.data.ActorPoolStrategy(min_size=actors.least, max_size=most_beside_readers(actors))
    return dataset.map_batches(
        worker, fn_constructor_args=arguments, compute=pool, num_cpus=actors.cpus,
        batch_size=batch_size,
    )  # fmt: skip
