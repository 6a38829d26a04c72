"""What is counted and measured, for Prometheus; names as near to vLLM's as they mean the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from parrotlet import __version__
from parrotlet.serve.worker import Worker

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


class Metrics:
    """One server's registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "parrotlet_requests", "Requests answered", ["code"], registry=self.registry
        )
        self.prompt_tokens = Counter(
            "parrotlet_prompt_tokens", "Tokens of prompts", registry=self.registry
        )
        self.generation_tokens = Counter(
            "parrotlet_generation_tokens", "Tokens sampled", registry=self.registry
        )
        self.first_token = self._seconds("time_to_first_token", "Until the first piece of text")
        self.between_tokens = self._seconds("inter_token_latency", "Between two tokens, on average")
        self.whole = self._seconds("e2e_request_latency", "Until the end of an answer")
        self.filtered = Counter(
            "parrotlet_filter_blocks",
            "Texts that a filter stopped",
            ["stage", "category"],
            registry=self.registry,
        )
        Info("parrotlet_build", "This server", registry=self.registry).info(
            {"version": __version__}
        )

    def _seconds(self, name: str, about: str) -> Histogram:
        return Histogram(
            f"parrotlet_{name}_seconds", about, buckets=SECONDS, registry=self.registry
        )

    def watch(self, worker: Worker) -> None:
        """Read what the worker and its engines say whenever somebody asks."""

        def total(name: str) -> int:
            return sum(getattr(lane.engine.load, name) for lane in worker.lanes)

        def used() -> float:
            return total("blocks_used") / max(total("blocks"), 1)

        def waiting() -> int:
            return sum(len(lane.waiting) for lane in worker.lanes)

        running = "parrotlet_num_requests_running", "Answers that are written"
        values: Mapping[tuple[str, str], Callable[[], float]] = {
            running: lambda: sum(len(lane.running) for lane in worker.lanes),
            ("parrotlet_num_requests_waiting", "Answers that wait for a slot"): waiting,
            ("parrotlet_kv_cache_usage_perc", "Share of the caches in use, 0 to 1"): used,
            ("parrotlet_num_preemptions", "Answers put back"): lambda: total("preemptions"),
            ("parrotlet_prefix_cache_hits", "Tokens reused"): lambda: total("reused_tokens"),
            ("parrotlet_cancelled", "Answers nobody waited for"): lambda: worker.cancelled,
        }
        for (name, about), value in values.items():
            Gauge(name, about, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)
