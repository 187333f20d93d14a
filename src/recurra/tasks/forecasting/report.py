"""What a forecaster's report says: errors by horizon, hour and weekday, intervals, and some forecasts to look at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.features import Features
from recurra.data.forecasting.series import Series
from recurra.data.forecasting.step import DAY, WEEK
from recurra.data.split import PARTS
from recurra.runtime.ops.forecast import middle_of
from recurra.tasks.baselines import Baseline
from recurra.tasks.bench import CHUNK, Bench, ModelPredictor, Predictor
from recurra.tasks.forecasting.baselines import Naive, quantile_offsets
from recurra.tasks.learn import Recipe, sample_rows
from recurra.tasks.metrics import Score, naive_scale
from recurra.tasks.report import model_of
from recurra.train import History

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WORDS = {"train": "training", "valid": "validation", "test": "test"}
MOST_SHOWN = 2000  # rows of the example
MOST_ERRORS = 2_000  # origins of each series from which a baseline's interval is learned


def build_report(
    bench: Bench, model: ModelPredictor, baselines: Sequence[Baseline], history: History, recipe: Recipe
) -> dict[str, Any]:
    """The report of a forecaster whose model is trained.

    Args:
        bench: the data.
        model: as the runtime has it.
        baselines: to compare with on the test part; without, no comparison is made.
        history: of training.
        recipe: how the network was made.

    Returns:
        What `recurra.report.forecast` reads, and the model file's card has part of.
    """
    features, levels = features_of(bench), levels_of(bench)
    scores: dict[str, Score] = {}
    table: list[dict[str, Any]] = []
    if baselines:
        scores[model.name] = score(bench, model, "test")
        table.append({"name": model.name, "kind": "model", **scores[model.name].summary()})
        for other in baselines:
            scores[other.name] = score(bench, other, "test", offsets(bench, other))
            table.append({"name": other.name, "kind": other.kind, **scores[other.name].summary()})
    labels = {"hour": [str(h) for h in range(24)], "weekday": list(WEEKDAYS)}
    by = {
        group: {"labels": labels[group], "values": {n: s.by(group) for n, s in scores.items()}}
        for group in groups(features)
    }
    key = "mase" if features.columns.others else "mae"  # targets have units of their own
    best = best_naive(table, key)
    shown = next((b for b in baselines if isinstance(b, Naive) and best and b.name == best["name"]), None)
    return {
        "task": bench.task.name,
        "metrics": METRICS,
        "target": ", ".join(features.columns.targets),
        "unit": "",
        "step": str(features.step),
        "horizon": features.horizon,
        "levels": list(levels),
        "model_file": "",
        "data": {"source": "", **bench.described()},
        "table": table,
        "by_horizon": {n: s.by_horizon() for n, s in scores.items()},
        "coverage_by_horizon": scores[model.name].coverage_by_horizon() if baselines and len(levels) > 1 else [],
        "by_hour": by.get("hour", {}),
        "by_weekday": by.get("weekday", {}),
        "history": history.epochs,
        "ended": history.ended,
        "best_epoch": history.best_epoch,
        "example": _example(model, bench, shown) if baselines else {},
        "fan": _fan(model, bench) if baselines else {},
        "model": model_of(model.model, recipe),
        "parity": model.model.parity,
        "live": None,
        "verdict": verdict(table, levels, features.horizon, key),
        "by_target": _by_target(bench, [model, shown]) if features.columns.others and shown else [],
    }


METRICS = [
    {"key": "mae", "name": "MAE", "less": True, "percent": False},
    {"key": "mase", "name": "MASE", "less": True, "percent": False},
    {"key": "smape", "name": "sMAPE", "less": True, "percent": True},
    {"key": "coverage", "name": "coverage", "less": False, "percent": True},
]


def features_of(bench: Bench) -> Features:
    """The transform of a forecaster's bench."""
    assert isinstance(bench.transform, Features)
    return bench.transform


def levels_of(bench: Bench) -> tuple[float, ...]:
    """The levels of the quantiles."""
    levels: tuple[float, ...] = bench.task.quantiles  # type: ignore[attr-defined]
    return levels


def groups(features: Features) -> dict[str, int]:
    """By what errors are told apart: the hour and the weekday of the target, where steps are short enough."""
    step = features.step
    seconds = {"second": step.count, "weekday": DAY}.get(step.unit, 0)
    hours = {"hour": 24} if 0 < seconds < DAY else {}
    return hours | ({"weekday": 7} if 0 < seconds <= DAY else {})


def _by_target(bench: Bench, predictors: Sequence[Predictor]) -> list[dict[str, Any]]:
    """MAE and MASE of each target, of a model and of the best naive forecast."""
    found = []
    for target in features_of(bench).columns.targets:
        chosen = [s.variable == target for s in bench.sequences]
        kept = [[x for x, keep in zip(xs, chosen, strict=True) if keep] for xs in (bench.sequences, bench.splits)]
        one = replace(bench, sequences=kept[0], splits=kept[1])
        scores = {p.name: score(one, p, "test").summary() for p in predictors}
        found.append({"target": target, "errors": {n: {k: s[k] for k in ("mae", "mase")} for n, s in scores.items()}})
    return found


def score(bench: Bench, predictor: Predictor, part: str, offsets: NDArray[Any] | None = None) -> Score:
    """The errors of forecasts on a part; `offsets` [N, Q] makes quantiles of a forecast without."""
    features, levels = features_of(bench), levels_of(bench)
    found = Score(features.horizon, levels, groups(features))
    ends = {one.name: split.train_end for one, split in zip(bench.sequences, bench.splits, strict=True)}
    season = min((s for s in features.seasons if s > 1), default=1)
    for one, start, stop in bench.pieces(part):
        scale = naive_scale(one.target[: ends[one.name]], season)
        for first, forecast in _parts(predictor, one, start, stop):
            if forecast.ndim == 2:
                forecast = forecast[..., None] + (np.zeros(len(levels)) if offsets is None else offsets)
            targets = first + 1 + np.arange(len(forecast))[:, None] + np.arange(features.horizon)
            found.add(one.target[targets], forecast, scale=scale, keys=_keys(features, one, targets))
    return found


def offsets(bench: Bench, predictor: Predictor) -> NDArray[Any]:
    """The quantiles of a forecast's errors on the validation part, [N, Q]; 0 for the middle one, the forecast."""
    errors = []
    for one, start, stop in bench.pieces("valid"):
        start = max(start, stop - MOST_ERRORS)
        errors.append(bench.task.truth(one, start, stop) - predictor.predict(one, start, stop))
    found = quantile_offsets(np.concatenate(errors), levels_of(bench))
    found[:, middle_of(levels_of(bench))] = 0.0
    return found


def _keys(features: Features, one: Series, targets: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    wanted = groups(features)
    if not wanted:
        return {}
    first, last = int(targets[0, 0]), int(targets[-1, -1]) + 1
    wall = one.clock.wall(one.ticks[first:last])[targets - first]
    keys = {"hour": wall // 3600 % 24, "weekday": (wall // DAY + 3) % 7}  # 1970 began on a Thursday
    return {name: keys[name] for name in wanted}


def _parts(predictor: Any, one: Series, start: int, stop: int) -> Iterator[tuple[int, NDArray[Any]]]:
    if isinstance(predictor, ModelPredictor):
        yield from predictor.parts(one, start, stop)
        return
    for first in range(start, stop, CHUNK):
        yield first, predictor.predict(one, first, min(first + CHUNK, stop))


def best_naive(table: Sequence[dict[str, Any]], key: str = "mae") -> dict[str, Any] | None:
    """The row of the naive forecast with the least error."""
    naive = [row for row in table if row["kind"] == "naive" and row[key] is not None]
    return min(naive, key=lambda row: float(row[key]), default=None)


def verdict(table: Sequence[dict[str, Any]], levels: Sequence[float], horizon: int, key: str = "mae") -> list[str]:
    """What the table says, in sentences, by MAE or MASE; also where it says that the model is not worth it."""
    best = best_naive(table, key)
    if best is None or table[0][key] is None:
        return []
    error = "mean absolute error" if key == "mae" else "mean absolute scaled error"
    model, steps = table[0], "1 step" if horizon == 1 else f"{horizon} steps"
    said = [
        f"Over {steps} ahead and all test origins, {model['name']} has a {error} of {model[key]:.4g}, "
        f"{_against(model[key], best[key])} {best['name']} ({best[key]:.4g}), the best of the naive forecasts."
    ]
    for row in table:
        if row["kind"] == "linear" and row[key] is not None:
            said.append(f"It is {_against(model[key], row[key])} the {row['name']} ({row[key]:.4g}).")
    better = min(table, key=lambda row: float(row[key]))
    if better is not model:
        said.append(f"Do not use the recurrent network here: {better['name']} is better and simpler.")
    if model["coverage"] is not None:
        share = levels[-1] - levels[0]
        said.append(f"Its {100 * share:.4g} % interval holds {100 * model['coverage']:.1f} % of the values.")
    return said


def _against(mine: float, other: float) -> str:
    change = 100 * (mine / other - 1) if other else math.inf
    return f"{abs(change):.1f} % {'below' if change < 0 else 'above'}"


def _example(model: ModelPredictor, bench: Bench, naive: Naive | None) -> dict[str, Any]:
    """The last week of the test part, each value as it was forecast N steps before."""
    one, start, stop = max(bench.pieces("test"), key=lambda piece: piece[2] - piece[1])
    features = features_of(bench)
    step = features.step
    week = WEEK // step.count if step.unit == "second" and step.count <= DAY else 60
    start = max(start, stop - min(week, MOST_SHOWN))
    N = features.horizon
    rows = np.arange(start, stop) + N
    forecast = model.predict(one, start, stop)[:, -1]
    shown: dict[str, Any] = {}
    if naive is not None:
        shown = {"naive": _numbers(naive.predict(one, start, stop)[:, -1]), "naive_name": naive.name}
    return {
        "times": [time_text(one, int(row)) for row in rows],
        "truth": _numbers(one.target[rows]),
        **_band(forecast, bench),
        **shown,
        "variable": one.variable,
        "lead": N,
    }


def _fan(model: ModelPredictor, bench: Bench) -> dict[str, Any]:
    """One whole forecast, the last of the test part whose truth is known."""
    one, _, stop = max(bench.pieces("test"), key=lambda piece: piece[2] - piece[1])
    origin, N = stop - 1, features_of(bench).horizon
    past = np.arange(max(0, origin - max(2 * N, 24) + 1), origin + 1)
    ahead = np.arange(origin + 1, origin + 1 + N)
    return {
        "variable": one.variable,
        "past_times": [time_text(one, int(row)) for row in past],
        "past": _numbers(one.target[past]),
        "times": [time_text(one, int(row)) for row in ahead],
        "truth": _numbers(one.target[ahead]),
        **_band(model.predict(one, origin, origin + 1)[0], bench),
    }


def _band(forecast: NDArray[Any], bench: Bench) -> dict[str, list[float | None]]:
    middle = middle_of(levels_of(bench))
    return {"low": _numbers(forecast[:, 0]), "median": _numbers(forecast[:, middle]), "high": _numbers(forecast[:, -1])}


def _numbers(values: NDArray[Any]) -> list[float | None]:
    return [None if math.isnan(v) else float(v) for v in values]


def time_text(series: Series, row: int) -> str:
    """The time of a row, as people write it.

    >>> from recurra.data import as_table, series_of
    >>> one = series_of(as_table({"time": ["2024-01-01 00:00", "2024-01-01 00:30"], "y": [1.0, 2.0]}), "y")[0]
    >>> time_text(one, 1)
    '2024-01-01 00:30'
    """
    text = series.clock.text(int(series.ticks[row])).replace("T", " ")
    return text[:-3] if len(text) == 19 and text.endswith(":00") else text


def described(bench: Bench) -> dict[str, Any]:
    """The data: their size, times, columns, parts, notes."""
    features, series = features_of(bench), bench.sequences
    columns = features.columns
    early = min(series, key=lambda one: int(one.ticks[0]))
    late = max(series, key=lambda one: int(one.ticks[one.observed - 1]))
    parts = []
    for part in PARTS:
        edges = [(one, *split.part(part)) for one, split in zip(series, bench.splits, strict=True)]
        edges = [(one, start, stop) for one, start, stop in edges if stop > start]
        if not edges:
            continue
        first = min(edges, key=lambda e: int(e[0].ticks[e[1]]))
        last = max(edges, key=lambda e: int(e[0].ticks[e[2] - 1]))
        rows = sum(stop - start for _, start, stop in edges)
        times = {"first": time_text(first[0], first[1]), "last": time_text(last[0], last[2] - 1)}
        parts.append({"name": WORDS[part], "rows": rows, **times})
    return {
        "target": ", ".join(columns.targets),
        "step": str(features.step),
        "horizon": features.horizon,
        "rows": sum(one.observed for one in series),
        "series": len(series),
        "first": time_text(early, 0),
        "last": time_text(late, late.observed - 1),
        "past": list(columns.past),
        "known_ahead": list(columns.ahead),
        "static": list(columns.static),
        "seasons": [season for season in features.seasons if season > 1],
        "parts": parts,
        "notes": sorted({f"{one.name}: {note}" if one.name else note for one in series for note in one.notes})[:100],
    }


def mean_season_weights(network: Any, bench: Bench) -> dict[str, list[float]]:
    """How much of each season the network takes, for each horizon: the mean over some rows."""
    import torch

    first = network.encoder.input_size
    with torch.no_grad():
        rows = torch.from_numpy(sample_rows(bench))
        x, future = rows[..., :first], rows[..., first:]
        trusts = [one.head.trust(one.encoder(x)[0], future).mean((0, 1)) for one in network.members]
        shares = torch.stack(trusts).mean(0)
    return {str(season): shares[:, s].tolist() for s, season in enumerate(features_of(bench).seasons)}
