"""Forecasters with random weights: what is tested with them does not depend on what they have learned."""

from __future__ import annotations

import numpy as np

from helpers import generator
from recurra import cells, runtime
from recurra.data import Features, as_table, series_of, split_by_time
from recurra.weights import Weights

LEVELS = (0.1, 0.5, 0.9)
START = np.datetime64("2024-03-29T00:00:00")


def table_of(T, *, step=1800, shops=(), key="live", missing=0.05):
    """A table with a past column, a known-ahead column and missing values; interleaved where there are shops."""
    rng = generator(key, T)
    n = max(1, len(shops))
    columns = {
        "time": np.repeat(START + step * np.arange(T), n),
        "y": 50 + 9 * rng.normal(size=n * T).round(3),
        "temperature": rng.normal(size=n * T).round(3),
        "holiday": rng.integers(0, 2, n * T).astype(float),
    }
    if shops:
        columns["shop"] = np.array(list(shops) * T, dtype=object)
    for name in ("y", "temperature"):
        columns[name][rng.random(n * T) < missing] = np.nan
    return as_table(columns)


def forecaster(table, *, horizon=5, hidden=7, seasons=(6, 11), zone=None):
    """A model with random weights for such a table."""
    series = series_of(
        table,
        "y",
        past="temperature",
        known_ahead="holiday",
        series="shop" if "shop" in table.columns else None,
        zone=zone,
    )
    splits = split_by_time(series, horizon=horizon)
    return model_of(Features.fit(series, splits, horizon=horizon, seasons=seasons), hidden), series


def model_of(features, hidden=7, units=4):
    """A model with random weights that takes the rows of these features."""
    rng = generator("network", features.row_size)
    N, P, F, S, Q, U = features.horizon, hidden, features.ahead_size, features.season_size, len(LEVELS), units
    shapes = {
        "A": (U, P),
        "B": (U, F + S),
        "e": (N, U),
        "W": (S, U),
        "w": (N, S),
        "C": (Q, U),
        "c": (N, Q),
        "D": (N, P),
    }
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    layers = [
        runtime.Recurrent(cells.gru, [Weights.random(cells.gru, features.input_size, hidden, rng=rng)]),
        runtime.Forecast(LEVELS, **arrays, k=np.abs(rng.normal(size=(N, Q))).astype(np.float32)),
    ]
    about = {"task": "forecast", "features": features.to_dict(), "horizon": N, "quantiles": list(LEVELS)}
    return runtime.Model(layers, preprocessing=about)


def rows_of(table, sparse=True):
    """The table's rows as dicts, without the values that are missing."""
    names = list(table.columns)
    rows = [dict(zip(names, values, strict=True)) for values in zip(*table.columns.values(), strict=True)]
    return [{k: v for k, v in row.items() if not sparse or v == v} for row in rows]


def whole_forecasts(model, features, one):
    """What the model forecasts from the whole series at once: float64 [T, N, Q]."""
    out = model.session().run(features.rows(one, 0, len(one)))
    return features.unscaled(one, 0, out.reshape(len(one), features.horizon, len(LEVELS)))
