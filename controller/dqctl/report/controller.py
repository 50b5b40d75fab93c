"""The sidecar's own numbers as Prometheus reads them, beside those of its stack (``report.metrics``)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True)
class Turning:
    """A sidecar at one moment. ``errors`` are counted since it was started, by kind; the kinds are few."""

    stack: str
    is_leading: bool
    is_ready: bool
    turned_at: datetime
    rounds: int
    errors: Mapping[str, int]


def exposition(turning: Turning) -> str:
    """All of it as one text, with what the process takes of the machine."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(namespace="dqctl_controller", registry=registry)
    registry.register(_Collector(turning))
    return generate_latest(registry).decode()


class _Collector(Collector):
    def __init__(self, turning: Turning) -> None:
        self._turning = turning

    def collect(self) -> Iterator[Metric]:
        found = self._turning
        yield self._gauge("leader", "1 in the sidecar that works, 0 in one that waits.", found.is_leading)
        yield self._gauge("ready", "1 while nothing is in its way.", found.is_ready)
        yield self._gauge("loop_timestamp_seconds", "When it turned last.", found.turned_at.timestamp())
        rounds = CounterMetricFamily(
            "dqctl_controller_rounds", "Times that it published, saved or cleaned up.", labels=["stack"]
        )
        rounds.add_metric([found.stack], found.rounds)
        yield rounds
        errors = CounterMetricFamily(
            "dqctl_controller_errors", "What went wrong, by what it was.", labels=["stack", "kind"]
        )
        for kind, count in found.errors.items():
            errors.add_metric([found.stack, kind], count)
        yield errors

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"dqctl_controller_{name}", text, labels=["stack"])
        family.add_metric([self._turning.stack], float(value))
        return family
