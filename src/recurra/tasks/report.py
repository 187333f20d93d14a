"""`build_report`: what a forecaster's report says, as plain lists and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.cells.trace import get
from recurra.data.forecasting.step import DAY, WEEK
from recurra.tasks.baselines import LinearAutoregression, Naive
from recurra.tasks.describe import data_of, time_text
from recurra.tasks.evaluate import Bench, Forecasts, Network
from recurra.tasks.metrics import Score

if TYPE_CHECKING:
    from recurra.tasks.forecast import Forecaster

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MOST_SHOWN = 2000  # rows of the example


def build_report(forecaster: Forecaster, bench: Bench, naives: Sequence[Naive], baseline: float) -> dict[str, Any]:
    """The report of a forecaster whose model is trained.

    Args:
        forecaster: fitted.
        bench: the data.
        naives: the naive forecasts to compare with on the test part; without, no comparison is made.
        baseline: the best naive error on the validation part.

    Returns:
        What `recurra.report.forecast` reads, and the model file's card has part of.
    """
    model, cell = forecaster.model_, get(forecaster.cell)
    name = cell.name.upper() if len(cell.name) < 6 else cell.name
    network = Network(model, bench.features, len(bench.levels), name)
    scores: dict[str, Score] = {}
    table: list[dict[str, Any]] = []
    if naives:
        linear = LinearAutoregression(bench.features).fit(bench.series, bench.splits)
        scores[name] = bench.score(network, "test")
        table.append({"name": name, "kind": "model", **scores[name].summary()})
        others: list[Forecasts] = [*naives, linear]
        for other in others:
            scores[other.name] = bench.score(other, "test", bench.offsets(other))
            table.append({"name": other.name, "kind": other.kind, **scores[other.name].summary()})
    labels = {"hour": [str(h) for h in range(24)], "weekday": list(WEEKDAYS)}
    by = {
        group: {"labels": labels[group], "values": {n: s.by(group) for n, s in scores.items()}}
        for group in bench.groups
    }
    best = best_naive(table)
    shown = next((naive for naive in naives if best and naive.name == best["name"]), None)
    return {
        "target": bench.features.columns.target,
        "unit": "",
        "step": str(bench.features.step),
        "horizon": forecaster.horizon,
        "levels": list(bench.levels),
        "model_file": "",
        "data": {"source": "", **data_of(bench)},
        "table": table,
        "by_horizon": {n: s.by_horizon() for n, s in scores.items()},
        "by_hour": by.get("hour", {}),
        "by_weekday": by.get("weekday", {}),
        "history": forecaster.history_.epochs,
        "ended": forecaster.history_.ended,
        "baseline_mae": baseline,
        "example": _example(network, bench, shown) if naives else {},
        "fan": _fan(network, bench),
        "model": {
            "cell": cell.name,
            "equations": cell.text,
            "latex": cell.latex(),
            "layers": forecaster.layers,
            "hidden": forecaster.hidden,
            "parameters": sum(a.size for n, a in model.arrays().items() if not n.endswith(".k")),
        },
        "parity": model.parity,
        "live": None,
        "verdict": verdict(table, bench.levels, forecaster.horizon),
        "seconds": {},
    }


def best_naive(table: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The row of the naive forecast with the least error."""
    naive = [row for row in table if row["kind"] == "naive" and row["mae"] is not None]
    return min(naive, key=lambda row: float(row["mae"]), default=None)


def verdict(table: Sequence[dict[str, Any]], levels: Sequence[float], horizon: int) -> list[str]:
    """What the table says, in sentences; also where it says that the model is not worth it."""
    best = best_naive(table)
    if best is None or table[0]["mae"] is None:
        return []
    model, steps = table[0], "1 step" if horizon == 1 else f"{horizon} steps"
    said = [
        f"Over {steps} ahead and all test origins, {model['name']} has a mean absolute error of {model['mae']:.4g}, "
        f"{_against(model['mae'], best['mae'])} {best['name']} ({best['mae']:.4g}), the best of the naive forecasts."
    ]
    for row in table:
        if row["kind"] == "linear" and row["mae"] is not None:
            said.append(f"It is {_against(model['mae'], row['mae'])} the {row['name']} ({row['mae']:.4g}).")
    better = min(table, key=lambda row: float(row["mae"]))
    if better is not model:
        said.append(f"Do not use the recurrent network here: {better['name']} is better and simpler.")
    if model["coverage"] is not None:
        share = levels[-1] - levels[0]
        said.append(f"Its {100 * share:.0f} % interval holds {100 * model['coverage']:.1f} % of the values.")
    return said


def _against(mine: float, other: float) -> str:
    change = 100 * (mine / other - 1) if other else math.inf
    return f"{abs(change):.1f} % {'below' if change < 0 else 'above'}"


def _example(network: Network, bench: Bench, naive: Naive | None) -> dict[str, Any]:
    """The last week of the test part, each value as it was forecast N steps before."""
    one, start, stop = max(bench.pieces("test"), key=lambda piece: piece[2] - piece[1])
    step = bench.features.step
    week = WEEK // step.count if step.unit == "second" and step.count <= DAY else 60
    start = max(start, stop - min(week, MOST_SHOWN))
    N = bench.features.horizon
    rows = np.arange(start, stop) + N
    forecast = network.forecast(one, start, stop)[:, -1]
    shown: dict[str, Any] = {}
    if naive is not None:
        shown = {"naive": _numbers(naive.forecast(one, start, stop)[:, -1]), "naive_name": naive.name}
    return {
        "times": [time_text(one, int(row)) for row in rows],
        "truth": _numbers(one.target[rows]),
        **_band(forecast, bench),
        **shown,
        "lead": N,
    }


def _fan(network: Network, bench: Bench) -> dict[str, Any]:
    """One whole forecast, the last of the test part whose truth is known."""
    one, _, stop = max(bench.pieces("test"), key=lambda piece: piece[2] - piece[1])
    origin, N = stop - 1, bench.features.horizon
    past = np.arange(max(0, origin - max(2 * N, 24) + 1), origin + 1)
    ahead = np.arange(origin + 1, origin + 1 + N)
    return {
        "past_times": [time_text(one, int(row)) for row in past],
        "past": _numbers(one.target[past]),
        "times": [time_text(one, int(row)) for row in ahead],
        "truth": _numbers(one.target[ahead]),
        **_band(network.forecast(one, origin, origin + 1)[0], bench),
    }


def _band(forecast: NDArray[np.float64], bench: Bench) -> dict[str, list[float | None]]:
    middle = list(bench.levels).index(0.5)
    return {"low": _numbers(forecast[:, 0]), "median": _numbers(forecast[:, middle]), "high": _numbers(forecast[:, -1])}


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(v) else float(v) for v in values]
