"""What is called: `forecasters` for a table, `classifiers` and `regressors` for sequences, `of_task` for any task, and
`compare`, which tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recurra.compare.progress import Watch
from recurra.compare.results import Comparison
from recurra.compare.settings import Settings
from recurra.data.split import Split
from recurra.errors import CompareError
from recurra.tasks.base import Task
from recurra.tasks.bench import Bench

SHARES = (0.70, 0.15, 0.15)  # of training, validation and test
SHARES_BESIDE_TEST = (0.82, 0.18, 0.0)


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
    target: str | int | Sequence[str],
    horizon: int,
    *,
    time: str | None = None,
    known_ahead: Sequence[str] | str = (),
    past: Sequence[str] | str = (),
    series: str | None = None,
    static: Sequence[str] | str = (),
    zone: str | None = None,
    time_format: str | None = None,
    seasons: str | Sequence[int] = "auto",
    watch: Watch | None = None,
    **settings: Any,
) -> Comparison:
    """Compare ways to forecast the next `horizon` values of a column.

    Args:
        data: a path of a CSV or Parquet file, a pandas or Polars frame, a dict of arrays, or an array.
        target, time, known_ahead, past, series, static, zone, time_format: the roles of columns, as
            `recurra.data.series_of` takes them.
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
    from recurra.tasks.forecasting.task import Forecast

    columns: dict[str, Any] = {"time": time, "known_ahead": known_ahead, "past": past, "series": series, "zone": zone}
    columns |= {"time_format": time_format, "static": static}
    return of_task(Forecast(horizon, seasons=seasons), data, watch=watch, settings=settings, target=target, **columns)


def classifiers(
    sequences: Any,
    labels: Any,
    *,
    test: tuple[Any, Any] | None = None,
    groups: Any = None,
    series: str | None = None,
    time: str | None = None,
    watch: Watch | None = None,
    **settings: Any,
) -> Comparison:
    """Compare ways to tell the label of a sequence.

    Args:
        sequences, labels, groups, series, time: as `recurra.data.read_sequences` takes X, y and the others.
        test: sequences and labels that are to be the test part; else a share of the sequences is.
        watch: called several times a second with the schedule so far.
        settings: see `Settings`: budget, candidates, seeds, trials, parameters, out, engine, resume and so on.

    Raises:
        DataError: sequences, labels and groups do not fit one another.
        LeakageError: a column is the label, or the parts share stretches of one recording.
        CompareError: there are too few sequences, or the settings cannot be.

    >>> import numpy as np, recurra
    >>> recurra.compare.classifiers(np.zeros((20, 5)), ["a"] * 20)
    Traceback (most recent call last):
    ...
    recurra.errors.DataError: y: all 20 are 'a', expected at least two different labels
    """
    from recurra.tasks.classification.classifier import Classify

    return of_task(
        Classify(),
        sequences,
        y=labels,
        groups=groups,
        test=test,
        watch=watch,
        settings=settings,
        **_given(series, time),
    )


def regressors(
    sequences: Any,
    numbers: Any,
    *,
    test: tuple[Any, Any] | None = None,
    groups: Any = None,
    series: str | None = None,
    time: str | None = None,
    watch: Watch | None = None,
    **settings: Any,
) -> Comparison:
    """Compare ways to tell the number that belongs to a sequence; the arguments are those of `classifiers`.

    Raises:
        DataError: sequences, numbers and groups do not fit one another.
        LeakageError: the parts share stretches of one recording.
        CompareError: there are too few sequences, or the settings cannot be.
    """
    from recurra.tasks.regression.regressor import Regress

    return of_task(
        Regress(),
        sequences,
        y=numbers,
        groups=groups,
        test=test,
        watch=watch,
        settings=settings,
        **_given(series, time),
    )


def of_task(
    task: Task,
    X: Any,
    *,
    test: tuple[Any, Any] | None = None,
    watch: Watch | None = None,
    settings: Mapping[str, Any] | None = None,
    **given: Any,
) -> Comparison:
    """Compare ways to do any task, one of your own too.

    Args:
        task: with nothing learned yet.
        X, given: as the task's `examples` takes them.
        test: sequences and targets that are to be the test part; else a share of X is.
        watch: called several times a second with the schedule so far.
        settings: see `Settings`.

    Raises:
        DataError: the data cannot be used; the message says where.
        LeakageError: they tell what they should not.
        CompareError: the settings cannot be.
    """
    from recurra.compare.candidates import choose
    from recurra.compare.run import run

    asked = Settings(**(settings or {}))
    choose(type(task), asked.candidates)
    asked.check_out()
    sequences = task.examples(X, **given)
    splits = task.split(sequences, SHARES if test is None else SHARES_BESIDE_TEST, asked.seed)
    if test is not None:
        more = task.examples(test[0], y=test[1])
        sequences, splits = [*sequences, *more], [*splits, *(Split(0, 0, len(s)) for s in more)]
    bench = Bench(task, sequences, splits, task.transform(sequences, splits))
    if bench.transform.tables:
        raise CompareError(
            "compare: the sequences are symbols, and its networks read numbers, expected sequences of numbers: the "
            "report of `fit` has the baselines of texts"
        )
    return run(bench, asked, task.suspicions(bench), watch)


def _given(series: str | None, time: str | None) -> dict[str, str]:
    return {name: value for name, value in (("series", series), ("time", time)) if value is not None}
