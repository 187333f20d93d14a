"""Rivals beside a forecaster, at some origins of the test part."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recurra.data.forecasting.series import Series
from recurra.errors import RecurraError
from recurra.runtime.ops.forecast import middle_of
from recurra.tasks.baselines import Baseline
from recurra.tasks.bench import Bench, Predictor
from recurra.tasks.forecasting.report import features_of, levels_of
from recurra.tasks.metrics import naive_scale

RIVAL_ORIGINS = 200  # of the test part, at which rivals forecast


def rivals_of(bench: Bench, others: Sequence[Predictor], rivals: Sequence[type[Baseline]]) -> dict[str, Any]:
    """Rivals beside the model and its baselines, at some origins of the test part, the same for all.

    Returns:
        `origins`, how many; `table`, the least error first; `left_out`, the rivals that could not be measured, and why.
    """
    some = _some_origins(bench)
    table: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    everybody: list[Any] = [*others, *rivals]
    for other in everybody:
        began = time.perf_counter()
        try:
            fitted = other if other in others else other.fit(bench)
            row = {"name": fitted.name, "kind": fitted.kind, **_errors_at(bench, fitted, some)}
        except Exception as error:  # another library's: it is said, and the others go on
            left_out[other.name] = f"{'' if isinstance(error, RecurraError) else type(error).__name__ + ': '}{error}"
            continue
        seconds = None if other in others else time.perf_counter() - began  # those are fitted already
        table.append(row | {"seconds": seconds})
    return {"origins": len(some), "table": sorted(table, key=lambda row: row["mase"]), "left_out": left_out}


def beside_rivals(rivals: Mapping[str, Any], name: str) -> list[str]:
    """What the rivals come to, in sentences."""
    said = []
    if rivals["table"]:
        best, own = rivals["table"][0], next(row for row in rivals["table"] if row["name"] == name)
        if best is own:
            said.append(f"At {rivals['origins']} origins of the test part no rival errs less than {name}.")
        elif best["kind"] in ("statistical", "trees"):
            said.append(
                f"At {rivals['origins']} origins of the test part {best['name']} errs less, {best['mae']:.4g} against "
                f"{own['mae']:.4g}: use it, unless you need a live session or intervals."
            )
    return said + [f"{name} was left out: {why}." for name, why in rivals["left_out"].items()]


def _some_origins(bench: Bench) -> list[tuple[Series, int]]:
    every = [(one, t) for one, start, stop in bench.pieces("test") for t in range(start, stop)]
    return [every[int(i)] for i in np.linspace(0, len(every) - 1, min(len(every), RIVAL_ORIGINS))]


def _errors_at(bench: Bench, predictor: Predictor, some: Sequence[tuple[Series, int]]) -> dict[str, float]:
    """MAE and MASE at some origins."""
    features, middle = features_of(bench), middle_of(levels_of(bench))
    ends = {one.name: split.train_end for one, split in zip(bench.sequences, bench.splits, strict=True)}
    season = min((s for s in features.seasons if s > 1), default=1)
    errors, scaled = [], []
    for one, ts in itertools.groupby(some, key=lambda pair: pair[0]):
        at = [t for _, t in ts]
        rows = np.array(at)
        of_some = getattr(predictor, "at", None)
        said = of_some(one, rows) if of_some else predictor.predict(one, at[0], at[-1] + 1)[rows - at[0]]
        said = said if said.ndim == 2 else said[..., middle]
        off = np.abs(np.concatenate([bench.task.truth(one, t, t + 1) for t in at]) - said)
        errors.append(off)
        scaled.append(off / naive_scale(one.target[: ends[one.name]], season))
    return {"mae": float(np.nanmean(np.concatenate(errors))), "mase": float(np.nanmean(np.concatenate(scaled)))}
