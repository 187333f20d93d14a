"""What is called: `forecasters` for a table, `classifiers` for labelled sequences, and `compare` for either."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recurra.compare.progress import Watch
from recurra.compare.results import Comparison
from recurra.compare.settings import Settings
from recurra.errors import CompareError


def compare(data: Any, labels: Any = None, *, watch: Watch | None = None, **options: Any) -> Comparison:
    """Which network suits these data: `classifiers(data, labels, ...)` with labels, else `forecasters(data, ...)`.

    Raises:
        CompareError: there are no labels, and no target and horizon either.
    """
    if labels is not None:
        return classifiers(data, labels, watch=watch, **options)
    missing = [name for name in ("target", "horizon") if options.get(name) is None]
    if missing:
        raise CompareError(
            f"compare: got neither labels nor {' and '.join(missing)}, expected compare(sequences, labels), or "
            "compare(table, target=..., horizon=...)"
        )
    return forecasters(data, watch=watch, **options)


def forecasters(
    data: Any,
    target: str | int,
    horizon: int,
    *,
    time: str | None = None,
    known_ahead: Sequence[str] | str = (),
    past: Sequence[str] | str = (),
    series: str | None = None,
    zone: str | None = None,
    seasons: str | Sequence[int] = "auto",
    watch: Watch | None = None,
    **settings: Any,
) -> Comparison:
    """Compare ways to forecast the next `horizon` values of a column.

    Args:
        data: a path of a CSV or Parquet file, a pandas or Polars frame, a dict of arrays, or an array.
        target, time, known_ahead, past, series, zone: the roles of columns, as `recurra.data.series_of` takes them.
        horizon: steps to forecast.
        seasons: "auto", or lengths in rows.
        watch: called several times a second with the schedule so far.
        settings: see `Settings`: budget, candidates, seeds, trials, parameters, out, engine, resume and so on.

    Raises:
        DataError: the table cannot be used; the message says where.
        LeakageError: a column is the target in disguise.
        CompareError: the settings cannot be.

    >>> import numpy as np, recurra
    >>> recurra.compare.forecasters({"y": np.arange(9.0)}, "y", 3, budget="5s")
    Traceback (most recent call last):
    ...
    recurra.errors.CompareError: budget: got '5s', expected at least 10 s (and less than 100 days)
    """
    from recurra.compare.candidates import choose
    from recurra.compare.forecast import ahead
    from recurra.compare.leakage import check_columns
    from recurra.compare.run import run
    from recurra.data import as_table, read_table, series_of

    asked = Settings(**settings)
    choose("forecast", asked.candidates)
    asked.check_out()
    table = read_table(data) if isinstance(data, (str, Path, os.PathLike)) else as_table(data)
    found = series_of(table, target, time=time, known_ahead=known_ahead, past=past, series=series, zone=zone)
    problem = ahead(found, horizon, seasons)
    suspicions = check_columns(found, problem.splits, horizon, problem.features.seasons)
    return run(problem, asked, suspicions, watch)


def classifiers(
    sequences: Any,
    labels: Any,
    *,
    test: tuple[Any, Any] | None = None,
    groups: Sequence[Any] | None = None,
    watch: Watch | None = None,
    **settings: Any,
) -> Comparison:
    """Compare ways to tell the label of a sequence.

    Args:
        sequences: an array [n, T, channels] or [n, T], or a list of arrays [T, channels] or [T] of any lengths.
        labels: of each, numbers or text.
        test: sequences and labels that are to be the test part; else a share of the sequences is.
        groups: what each sequence was taken from; no group is on both sides of a split.
        watch: called several times a second with the schedule so far.
        settings: see `Settings`: budget, candidates, seeds, trials, parameters, out, engine, resume and so on.

    Raises:
        ShapeError: sequences, labels and groups do not fit one another.
        LeakageError: a channel is the label, or the parts share stretches of one recording.
        CompareError: there are too few sequences, or the settings cannot be.

    >>> import numpy as np, recurra
    >>> recurra.compare.classifiers(np.zeros((20, 5)), ["a"] * 20)
    Traceback (most recent call last):
    ...
    recurra.errors.CompareError: labels: all are 'a', expected at least two different ones
    """
    from recurra.compare.candidates import choose
    from recurra.compare.run import run
    from recurra.compare.sequences import labelled

    asked = Settings(**settings)
    choose("classify", asked.candidates)
    asked.check_out()
    return run(labelled(sequences, labels, test=test, groups=groups, seed=asked.seed), asked, (), watch)
