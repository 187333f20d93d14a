"""A table replayed to a model as if it came in live: `python -m recurra.serve.replay MODEL TABLE FORECASTS LAST`.

Every reading goes in alone, in its order; what is known ahead is announced a horizon before. The forecasts after the
last rows are compared with those of FORECASTS, a .npy file [LAST, N, Q] that another process wrote.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recurra.errors import RecurraError
from recurra.runtime import load
from recurra.tasks.forecasting.answer import Forecast
from recurra.tasks.forecasting.live import LiveForecaster


def forecasts(live: LiveForecaster, rows: Iterator[dict[str, Any]]) -> Iterator[Forecast]:
    """A forecast after each row; what is known ahead of a row is announced `horizon` rows before it."""
    waiting: deque[dict[str, Any]] = deque()
    announces = bool(live.features.columns.ahead) and live.features.columns.time is not None
    for row in rows:
        if announces:
            live.announce(row)
        waiting.append(row)
        if len(waiting) > live.features.horizon:
            yield _stepped(live, waiting.popleft())
    while waiting:
        yield _stepped(live, waiting.popleft())


def _stepped(live: LiveForecaster, row: dict[str, Any]) -> Forecast:
    forecast = live.step(row)
    assert isinstance(forecast, Forecast)
    return forecast


def replay(model: Path, table: Path, expected: Path, last: int) -> dict[str, Any]:
    """Replay a CSV table, and say what came of it.

    Returns:
        steps; the largest `difference` of the last forecasts from the expected ones, in the target's units, and how
        many numbers are `differing` in any bit; median microseconds of a `step` from the row to the forecast, and of
        the `network` alone; whether `torch` was imported; and `shown`: some of the last forecasts.

    Raises:
        RecurraError: the files do not fit one another.
    """
    live = LiveForecaster(load(model))
    want = np.load(expected, allow_pickle=False)
    kept: deque[Forecast] = deque(maxlen=last)
    with table.open(newline="") as file:
        for forecast in forecasts(live, csv.DictReader(file)):
            kept.append(forecast)
    got = np.stack([forecast.quantiles for forecast in kept])
    if got.shape != want.shape:
        raise RecurraError(
            f"{expected}: the forecasts have shape {want.shape}, expected {got.shape} as those of {table}"
        )
    middle = live.levels.index(0.5)
    every = max(1, len(kept) // 7)
    return {
        "steps": len(kept),
        "difference": float(np.abs(got - want).max()),
        "differing": int((got.view(np.uint64) != want.view(np.uint64)).sum()),
        "step": 1e6 * statistics.median(forecast.seconds for forecast in kept),
        "network": _network_microseconds(live),
        "torch": "torch" in sys.modules,
        "shown": [
            {
                "origin": forecast.origin,
                "next": forecast.quantiles[0].tolist(),
                "last": forecast.quantiles[-1].tolist(),
                "median": float(forecast.quantiles[0, middle]),
            }
            for forecast in list(kept)[::-every][::-1]
        ],
    }


def _network_microseconds(live: LiveForecaster, steps: int = 2000) -> float:
    """What one native step of the whole network takes when called from Python: the least of five runs."""
    session, x = live.model.session(), np.zeros(live.model.input_size, np.float32)
    out = np.empty(live.model.output_size, np.float32)
    runs = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(steps):
            session.step(x, out)
        runs.append((time.perf_counter() - began) / steps)
    return 1e6 * min(runs)


def main(arguments: list[str]) -> None:
    """Print what `replay` says, as JSON."""
    model, table, expected, last = arguments
    print(json.dumps(replay(Path(model), Path(table), Path(expected), int(last))))


if __name__ == "__main__":
    main(sys.argv[1:])
