"""What /metrics tells Prometheus."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2xl_serve.engine import Engine

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper bounds of the histograms' buckets."""
OTHER_PATHS = "other"
"""The label of paths that the server does not have: a client cannot make labels up."""


class Metrics:
    """The metrics of one server, in a registry of their own.

    Args:
        engine: whose counts are told.
    """

    def __init__(self, engine: Engine) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "gpt2xl_requests",
            "Answers by path and status.",
            ("path", "status"),
            registry=self._registry,
        )
        first = Histogram(
            "gpt2xl_time_to_first_token_seconds",
            "From the submission of a text to its first token.",
            buckets=SECONDS,
            registry=self._registry,
        )
        following = Histogram(
            "gpt2xl_time_between_tokens_seconds",
            "Between two tokens of a text.",
            buckets=SECONDS,
            registry=self._registry,
        )
        engine.statistics.observe_first_token = first.observe
        engine.statistics.observe_next_token = following.observe
        self._registry.register(_EngineCollector(engine))
        ProcessCollector(registry=self._registry)

    def count_request(self, path: str, status: int) -> None:
        """Count an answer; ``path`` is one of the server's, or `OTHER_PATHS`."""
        self._requests.labels(path, str(status)).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format, `CONTENT_TYPE`."""
        return generate_latest(self._registry)


class CountRequests:
    """Middleware: counts answers by path and status.

    Args:
        app: that answers.
        metrics: that count.
        paths: of the server; a label each.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else OTHER_PATHS

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.count_request(path, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counting)
        except Exception:  # answered further out
            self._metrics.count_request(path, 500)
            raise


class _EngineCollector(Collector):
    """Reads an engine's counts whenever Prometheus asks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        yield from self._gauges()
        yield from self._counters()
        texts = CounterMetricFamily("gpt2xl_texts", "Texts by how they ended.", labels=["result"])
        counts = self._engine.statistics
        texts.add_metric(["finished"], counts.texts_finished)
        texts.add_metric(["failed"], counts.texts_failed)
        texts.add_metric(["cancelled"], counts.texts_cancelled)
        yield texts

    def _gauges(self) -> Iterator[Metric]:
        engine, batcher = self._engine, self._engine.batcher
        prefixes = batcher.prefixes
        for name, help_line, value in (
            ("rows", "Texts that can share a step.", batcher.rows),
            ("rows_in_use", "Texts that are generated.", batcher.running),
            ("queue_limit", "Texts that can wait.", engine.queue),
            ("queue", "Texts that wait for a row.", batcher.waiting),
            ("prefix_cache_bytes", "Memory of kept prompts.", prefixes.bytes if prefixes else 0),
        ):
            yield GaugeMetricFamily(f"gpt2xl_{name}", help_line, value)

    def _counters(self) -> Iterator[Metric]:
        counts, prefixes = self._engine.statistics, self._engine.batcher.prefixes
        reused = prefixes.reused_tokens if prefixes else 0
        drafts = self._engine.batcher.acceptance
        for name, help_line, value in (
            ("texts_submitted", "Texts that were taken.", counts.texts_submitted),
            ("requests_refused", "Requests that found the queue full.", counts.requests_refused),
            ("prompt_tokens", "Tokens of prompts.", counts.prompt_tokens),
            ("reused_prompt_tokens", "Those that kept prompts spared.", reused),
            ("new_tokens", "Tokens that were generated.", counts.new_tokens),
            ("draft_tokens", "Draft tokens that were checked.", drafts.guessed),
            ("accepted_draft_tokens", "Those that were accepted.", drafts.accepted),
            ("steps", "Runs of the batcher.", counts.steps),
            ("crashes", "Steps that failed as a whole.", counts.crashes),
        ):
            yield CounterMetricFamily(f"gpt2xl_{name}", help_line, value)
