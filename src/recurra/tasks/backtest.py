"""`backtest`: an estimator fitted anew in several folds, and how good each was on what it had not seen.

Sequences whose times are known roll: each fold learns from what was taken before the block that it is judged on.
Others are dealt into folds, the labels spread over them and no group in two. Streams that a task cuts by time roll
within themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.split import PARTS, dealt, in_blocks
from recurra.errors import DataError, SettingError
from recurra.tasks.base import Floats, Task
from recurra.tasks.bench import Bench

if TYPE_CHECKING:
    from recurra.tasks.estimator import Estimator

MOST_FOLDS = 1000


@dataclass(frozen=True)
class Backtest:
    """What the models of K folds said of what they had not seen, and how good it was.

    Attributes:
        tables: of each fold, all metrics by their keys, of the model first and then of the baselines, with their names.
        fold, series: of each of M answers, the number of its fold from 0, and of which sequence it is.
        truth, answers: [M, ...], decoded; empty where a task's answers are no numbers.
    """

    tables: Sequence[Sequence[dict[str, Any]]]
    fold: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    series: NDArray[Any] = field(default_factory=lambda: np.zeros(0, object))
    truth: Floats = field(default_factory=lambda: np.zeros(0))
    answers: Floats = field(default_factory=lambda: np.zeros(0))

    def by_fold(self, metric: str | None = None, name: str | None = None) -> Floats:
        """A metric in each fold [K], the first one or another, of the model or of the baseline of that name."""
        metric = metric or next(key for key, value in self.tables[0][0].items() if isinstance(value, float))
        rows = [next((r for r in table if name in (None, r["name"])), None) for table in self.tables]
        missing = next((k for k, row in enumerate(rows) if row is None or metric not in row), None)
        if missing is not None:
            known = ", ".join(f"{one}: {', '.join(values)}" for one, values in self.summary().items())
            raise SettingError(
                f"backtest: fold {missing} has no {metric!r} of {name or 'the model'}, expected of {known}"
            )
        return np.array([row[metric] for row in rows if row is not None], np.float64)

    def summary(self) -> dict[str, dict[str, tuple[float, float]]]:
        """By name, of each metric the mean over the folds and the deviation between them."""
        found: dict[str, dict[str, tuple[float, float]]] = {}
        for name in dict.fromkeys(row["name"] for table in self.tables for row in table):
            rows = [row for table in self.tables for row in table if row["name"] == name]
            keys = [key for key, value in rows[0].items() if isinstance(value, float)]
            numbers = {key: np.array([row[key] for row in rows], np.float64) for key in keys}
            found[name] = {key: (float(v.mean()), float(v.std(ddof=len(v) > 1))) for key, v in numbers.items()}
        return found

    def to_dict(self) -> dict[str, NDArray[Any]]:
        """As the columns of a table, a row for each fold and name."""
        rows = [{"fold": k, **row} for k, table in enumerate(self.tables) for row in table]
        names = list(dict.fromkeys(name for row in rows for name in row))
        return {name: np.array([row.get(name) for row in rows]) for name in names}


@dataclass
class Fold:
    """One of K: which sequences it takes, the part of each, and what was said of the test part.

    Attributes:
        number, of: from 0 to K - 1, and K.
        said: of each piece of the test part its name, the truth and the answers.
    """

    number: int
    of: int
    said: list[tuple[str, Floats, Floats]] = field(default_factory=list)

    def parts(self, task: Task, sequences: Sequence[Any], shares: Any, seed: int) -> tuple[Sequence[Any], Any]:
        """Some of the sequences, or their beginnings, and `parts` as `Task.split` takes them.

        Args:
            task: of the sequences.
            sequences: all.
            shares: of training and validation, that a fold's model learns from.
            seed: of chance.

        Raises:
            DataError: the shares are none, or there are too few sequences.
        """
        valid = held_out(shares)
        if task.by_steps(sequences):
            last = 1 / (self.number + 2)
            ends = [round(len(s) * (self.number + 2) / (self.of + 1)) for s in sequences]
            cut = [task.cut(s, end) for s, end in zip(sequences, ends, strict=True)]
            return cut, ((1 - last) * (1 - valid), (1 - last) * valid, last)
        times = [s.time for s in sequences]
        groups = [s.group or str(i) for i, s in enumerate(sequences)]  # some tasks know of none
        if np.isnan(times).any():
            labels = task.strata(sequences)
            numbers = dealt(groups, labels, self.of, seed)
            tested = numbers == self.number
            left = np.flatnonzero(~tested)
            some = None if labels is None else [labels[i] for i in left]
            names = [groups[i] for i in left]
            watched = left[dealt(names, some, _folds_for(valid, names), seed + 1) == 0]
        else:
            blocks = in_blocks(times, self.of + 1)
            tested, left = blocks == self.number + 1, np.flatnonzero(blocks <= self.number)
            before = [times[i] for i in left]
            order = in_blocks(before, _folds_for(valid, before))
            watched = left[order == order.max()]
        part = np.zeros(len(times), np.int64)
        part[watched], part[tested] = 1, 2
        kept = np.union1d(left, np.flatnonzero(tested))
        return [sequences[i] for i in kept], [PARTS[part[i]] for i in kept]

    def keep(self, bench: Bench, predictor: Any) -> None:
        """Have what a trained model says of the test part, where that is numbers."""
        if bench.task.numeric:
            pieces = bench.pieces("test")
            self.said.extend((piece.sequence.name, *bench.predictions(predictor, [piece])) for piece in pieces)


def held_out(shares: Any) -> float:
    """The share of the validation part in what a model learns from, at most a half; 15 % where shares say nothing."""
    numbers = isinstance(shares, Sequence) and len(shares) == 3 and not isinstance(shares[0], str)
    found = float(shares[1]) / float(shares[0] + shares[1]) if numbers else 0.15
    return min(max(found, 0.02), 0.5)


def _folds_for(share: float, names: Sequence[Any]) -> int:
    """Of which one is about such a share, as far as there are names to tell them apart."""
    return max(2, min(round(1 / share), len(set(names))))


def backtest(estimator: Estimator, given: tuple[Any, ...], folds: int, **how: Any) -> Backtest:
    """See `recurra.tasks.Estimator.backtest`."""
    if isinstance(folds, bool) or not isinstance(folds, (int, np.integer)) or not 2 <= folds <= MOST_FOLDS:
        raise SettingError(f"backtest: folds is {folds!r}, expected a whole number from 2 to {MOST_FOLDS}")
    tables, answered = [], []
    for number in range(int(folds)):
        parameters = estimator.get_params() | ({"refit": False} if "refit" in estimator._names() else {})
        one = type(estimator)(**parameters)
        fold = one._fold = Fold(number, int(folds))
        one.fit(*given, **how)
        tables.append(one.report_["table"])
        if not tables[-1]:
            raise DataError(f"backtest: fold {number} was not measured: {one.report_.get('failed', 'it has no test')}")
        answered += [(number, *found) for found in fold.said]
    if not answered:
        return Backtest(tables)
    numbers, names, truth, answers = zip(*answered, strict=True)
    counts = [len(one) for one in truth]
    return Backtest(
        tables,
        np.repeat(np.array(numbers, np.int64), counts),
        np.repeat(np.array(names, object), counts),
        np.concatenate(truth),
        np.concatenate(answers),
    )
