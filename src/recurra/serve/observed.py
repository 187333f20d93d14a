"""`Observed`: what a server counts and measures, for Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

_SECONDS = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


class _Histogram:
    """Of what happens for every frame or turn: Prometheus' own, locks included, costs as much as a step."""

    def __init__(self, ends: Sequence[float]) -> None:
        self._ends, self._counts, self._sum = ends, [0] * (len(ends) + 1), 0.0

    def note(self, value: float, times: int = 1) -> None:
        """Note what happened so many times."""
        self._counts[bisect_left(self._ends, value)] += times
        self._sum += value * times

    def buckets(self) -> tuple[list[tuple[str, int]], float]:
        """As Prometheus has them, and the sum."""
        return list(zip([*map(str, self._ends), "+Inf"], accumulate(self._counts), strict=True)), self._sum


class _Own:
    """Histograms and a counter of ours, for the registry."""

    def __init__(self) -> None:
        self.age, self.turn, self.round = (_Histogram(_SECONDS) for _ in range(3))
        self.batches: dict[str, _Histogram] = {}  # of each model
        self.steps = Counts[str]()

    def collect(self) -> Iterator[Any]:
        """All of them."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        for name, about, one in (
            ("recurra_queue_age_seconds", "How long the oldest step of a turn waited.", self.age),
            ("recurra_step_seconds", "What a turn's steps took.", self.turn),
            ("recurra_round_trip_seconds", "From a frame's arrival to its answer.", self.round),
        ):
            yield HistogramMetricFamily(name, about, *one.buckets())
        sizes = HistogramMetricFamily("recurra_batch_size", "Sessions stepped together.", labels=["model"])
        steps = CounterMetricFamily("recurra_steps", "Steps taken.", labels=["model"])
        for model, batches in self.batches.items():
            sizes.add_metric([model], *batches.buckets())
            steps.add_metric([model], self.steps[model])
        yield from (sizes, steps)


class Observed:
    """Counters, gauges and histograms of one server, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge

        self.registry = CollectorRegistry()
        r = self.registry
        self._sessions = Gauge("recurra_sessions", "Sessions, by where they are.", ["state"], registry=r)
        self._sockets = Gauge("recurra_sockets", "Open sockets.", registry=r)
        self._queue = Gauge("recurra_queue_steps", "Steps that wait.", registry=r)
        self._own = _Own()
        r.register(self._own)
        self._evicted = Counter("recurra_evictions", "Sessions written to the store to make room.", registry=r)
        self._returned = Counter("recurra_returns", "Sessions that came back from the store.", registry=r)
        self._resumed = Counter("recurra_resumes", "Sessions that another socket took over.", registry=r)
        self._refused = Counter("recurra_refusals", "Requests refused, by why.", ["error"], registry=r)
        self._slow = Counter("recurra_slow_readers", "Sockets that were dropped, or whose answers were.", registry=r)
        self.evicted: Callable[[int], None] = self._evicted.inc
        self.returned, self.resumed, self.slow = self._returned.inc, self._resumed.inc, self._slow.inc

    def batch(self, model: str, sessions: int, steps: int) -> None:
        """Note a batch of a model."""
        found = self._own.batches.get(model)
        if found is None:
            found = self._own.batches[model] = _Histogram(_SIZES)
        found.note(sessions)
        self._own.steps[model] += steps

    def turn(self, age: float, seconds: float) -> None:
        """Note a turn: the age of the oldest step that waited, and what the turn took."""
        self._own.age.note(age)
        self._own.turn.note(seconds)

    def answered(self, now: float, arrived: Sequence[float]) -> None:
        """Note frames that are answered; those of one round of the event loop arrived at one time."""
        for time, times in Counts(arrived).items():
            self._own.round.note(now - time, times)

    def refused(self, word: str) -> None:
        """Note a refusal."""
        self._refused.labels(word).inc()

    def gauge(self, live: int, stored: int, sockets: int, queue: int) -> None:
        """Note how things stand."""
        self._sessions.labels("live").set(live)
        self._sessions.labels("stored").set(stored)
        self._sockets.set(sockets)
        self._queue.set(queue)

    def text(self) -> bytes:
        """What Prometheus reads."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)
