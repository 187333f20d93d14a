"""What a model file says of the data, the parameters and the result."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.cells import Cell
from recurra.cells.trace import get
from recurra.data import Series
from recurra.tasks.evaluate import Bench

if TYPE_CHECKING:
    from recurra.tasks.forecast import Forecaster


def parameters_of(forecaster: Forecaster) -> dict[str, Any]:
    """The parameters as JSON; a cell that is not in the zoo is its equations."""
    parameters = forecaster.get_params()
    cell = parameters["cell"]
    if isinstance(cell, Cell):
        parameters["cell"] = cell.name if _in_zoo(cell) else cell.text
    return {name: list(v) if isinstance(v, tuple) else v for name, v in parameters.items()}


def _in_zoo(cell: Cell) -> bool:
    from recurra.cells import zoo_cells

    return any(cell.fingerprint == other.fingerprint for other in zoo_cells())


def time_text(series: Series, row: int) -> str:
    """The time of a row, as people write it.

    >>> from recurra.data import as_table, series_of
    >>> one = series_of(as_table({"time": ["2024-01-01 00:00", "2024-01-01 00:30"], "y": [1.0, 2.0]}), "y")[0]
    >>> time_text(one, 1)
    '2024-01-01 00:30'
    """
    text = series.clock.text(int(series.ticks[row])).replace("T", " ")
    return text[:-3] if len(text) == 19 and text.endswith(":00") else text


def data_of(bench: Bench) -> dict[str, Any]:
    """The data: their size, times, columns, parts, notes, and a hash of all numbers."""
    columns, series = bench.features.columns, bench.series
    digest = hashlib.sha256()
    for one in series:
        for array in (one.ticks, one.target, one.past, one.ahead):
            digest.update(np.ascontiguousarray(array).data)
    early = min(series, key=lambda one: int(one.ticks[0]))
    late = max(series, key=lambda one: int(one.ticks[one.observed - 1]))
    parts = []
    for name, part in (("training", "train"), ("validation", "valid"), ("test", "test")):
        edges = [(one, *split.part(part)) for one, split in zip(series, bench.splits, strict=True)]
        edges = [(one, start, stop) for one, start, stop in edges if stop > start]
        first = min(edges, key=lambda e: int(e[0].ticks[e[1]]))
        last = max(edges, key=lambda e: int(e[0].ticks[e[2] - 1]))
        rows = sum(stop - start for _, start, stop in edges)
        times = {"first": time_text(first[0], first[1]), "last": time_text(last[0], last[2] - 1)}
        parts.append({"name": name, "rows": rows, **times})
    return {
        "rows": sum(one.observed for one in series),
        "series": len(series),
        "first": time_text(early, 0),
        "last": time_text(late, late.observed - 1),
        "past": list(columns.past),
        "known_ahead": list(columns.ahead),
        "seasons": [season for season in bench.features.seasons if season > 1],
        "parts": parts,
        "notes": sorted({f"{one.name}: {note}" if one.name else note for one in series for note in one.notes})[:100],
        "fingerprint": digest.hexdigest(),
    }


def card_of(forecaster: Forecaster, bench: Bench) -> dict[str, Any]:
    """The training card of a model file."""
    report, history = forecaster.report_, forecaster.history_
    return {
        "cell": get(forecaster.cell).name,
        "parameters": parameters_of(forecaster),
        "data": data_of(bench),
        **{name: report[name] for name in ("target", "step", "horizon", "table", "verdict", "baseline_mae", "seconds")},
        "training": {"ended": history.ended, "epochs": len(history.epochs), "best_epoch": history.best_epoch},
        "versions": {"python": platform.python_version()} | {n: _version(n) for n in ("recurra", "torch", "numpy")},
    }


def _version(package: str) -> str:
    return importlib.metadata.version(package)
