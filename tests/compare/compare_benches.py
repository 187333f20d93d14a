"""Small data, and an engine that runs trials here, one after another."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from helpers import generator
from recurra.compare.candidates import choose
from recurra.compare.engines import Source
from recurra.compare.run_trial import run_trial
from recurra.compare.schedule import Schedule
from recurra.compare.settings import Settings
from recurra.compare.store import Store
from recurra.tasks.bench import Bench
from recurra.tasks.classification.classifier import Classify
from recurra.tasks.forecasting.task import Forecast


def sequences(count: int = 90, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Ragged noise [T, 2] whose first step tells the label."""
    rng = generator("sequences", seed)
    numbers = np.arange(count) % 3
    found = []
    for label in numbers:
        s = rng.normal(size=(int(rng.integers(5, 12)), 2))
        s[0, 0] += 4.0 * (label - 1)
        found.append(s)
    return found, [("low", "middle", "high")[k] for k in numbers]


def bench_of(task, *given, parts=(0.70, 0.15, 0.15), **options) -> Bench:
    """A task's data as a comparison has them."""
    found = task.examples(*given, **options)
    splits = task.split(found, parts, 0)
    return Bench(task, found, splits, task.transform(found, splits))


def small_labelled() -> Bench:
    x, y = sequences()
    return bench_of(Classify(), x, y=y)


def table(rows: int = 600, seed: int = 0, noise: float = 0.1) -> dict[str, np.ndarray]:
    """An hourly series with a day's season, what drives it a day ahead, and something of the past."""
    rng = generator("table", seed)
    t = np.arange(rows)
    open_ = ((t // 24) % 7 < 5).astype(float)
    y = np.sin(t / 24 * 2 * np.pi) + open_ + noise * rng.normal(size=rows)
    times = np.datetime64("2024-01-01T00", "h") + t
    return {"time": times, "y": y, "open": open_, "wind": rng.normal(size=rows)}


def small_forecast(columns: dict[str, Any] | None = None, horizon: int = 6, seasons: Any = (24,)) -> Bench:
    data = columns or table()
    past = [n for n in data if n == "wind"]
    roles = {"target": "y", "time": "time", "known_ahead": ["open"], "past": past}
    return bench_of(Forecast(horizon, seasons=seasons), data, **roles)


class Here:
    """Trials in this process, in a given order of each handful that can run side by side."""

    def __init__(self, bench: Bench, order: Callable[[list[Any]], list[Any]] = lambda trials: trials) -> None:
        self.benches = {"tune": bench.without_test(), "final": bench}
        self.order = order
        self.ran: list[Any] = []

    def run(self, source: Source, tick: Callable[[], None] = lambda: None) -> None:
        while not source.finished:
            trials = []
            while (trial := source.take()) is not None:
                trials.append(trial)
            for trial in self.order(trials):
                self.ran.append(trial)
                source.give(run_trial(trial, self.benches[trial.stage]))
            tick()


def scheduled(bench: Bench, folder: Any, names: list[str], **changed: Any) -> Schedule:
    chosen = {"budget": 600.0, "trials": 2, "seeds": 2, "parameters": 1500, "epochs": 2, "workers": 1} | changed
    settings = Settings(candidates=names, **chosen)
    candidates, _ = choose(type(bench.task), names)
    store = Store(folder, {"data": bench.fingerprint, "settings": settings.described()})
    return Schedule(bench, candidates, settings, store, time.monotonic())
