"""`Detect`: the next step of a stream, with its deviation, and from which surprise on to ring."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.times import read_times
from recurra.data.lagged import Lagged
from recurra.data.readers import read_table
from recurra.data.sequences import Sequences, is_table, read_sequences
from recurra.data.split import Split
from recurra.data.table import as_table
from recurra.data.transform import Transform
from recurra.errors import DataError, SettingError
from recurra.runtime import Model
from recurra.tasks.base import Floats, Task
from recurra.tasks.detection.alarms import Tail, Watch, Watcher, surprise_of
from recurra.tasks.detection.baselines import LastValue
from recurra.tasks.detection.metrics import Surprise

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.tasks.bench import Bench, ModelPredictor
    from recurra.tasks.live.base import Live

SPANS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0, "week": 604800.0, "month": 2629800.0, "year": 31557600.0}
CLOCKS = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
SQUEEZE = 6.0  # the log of a predicted deviation stays within
LEAST = 20  # steps in a part
MOST_DRAWN = 1500  # steps of the test part in the report's picture


class Detect(Task):
    """The mean and the deviation of the numbers of the next step, or of the one that is seen; and when to ring."""

    name = "detect"
    metrics = (Surprise(),)
    baselines = (LastValue,)
    whole = False
    noise = 0.1

    def __init__(
        self,
        lag: int = 1,
        false_alarms: float = 1.0,
        per: Any = 10_000,
        smooth: int = 1,
        adapt: int = 0,
        apart: int = 10,
    ) -> None:
        self.lag, self.false_alarms, self.per = lag, false_alarms, per
        self.watch = Watch(smooth, adapt, apart, math.inf)
        self.seconds: float | None = None  # of a step, where times are known
        self.labels: dict[str, NDArray[np.bool_]] = {}

    def opened(self, X: Any, **given: Any) -> Sequences:
        """One stream, where nothing says that there are several: a table without a column of series, or an array."""
        labels, times, channels = (given.pop(name, None) for name in ("y", "times", "channels_first"))
        series, time, columns = (given.get(name) for name in ("series", "time", "columns"))
        if given.get("groups") is not None or times is not None:
            raise DataError("a detector has no groups or times of sequences, expected None")
        self.roles = {k: v for k, v in (("series", series), ("time", time), ("y", labels)) if isinstance(v, str)}
        if is_table(X):
            found = self._of_table(X, series, time, columns, labels if isinstance(labels, str) else None)
        else:
            one = isinstance(X, np.ndarray) and X.dtype != object and X.ndim <= 2
            found = read_sequences([X] if one else X, columns=columns, channels_first=bool(channels))
            labels = [labels] if one and labels is not None else labels
        self.columns = found.columns
        if labels is not None:
            known = _labels(found.y if isinstance(labels, str) else labels, found)
            self.labels = dict(zip(found.names, known, strict=True))
        return found

    def _of_table(self, X: Any, series: str | None, time: str | None, columns: Any, labels: str | None) -> Sequences:
        table = read_table(X) if isinstance(X, (str, Path)) else as_table(X)
        at = {"": np.arange(len(table))} if series is None else table.groups(series)
        roles = {series, time, labels}
        names = list(columns) if columns is not None else [n for n in table.columns if n not in roles]
        if not names:
            raise DataError(f"{table.source}: no column is left for the numbers of a step, expected at least one")
        numbers = np.stack([table.numbers(n, "input column") for n in names], 1)
        if time is not None:
            clock, ticks, _ = read_times(table, time, None, list(at.values()))
            gaps = np.concatenate([np.diff(ticks[rows]) for rows in at.values()])
            unit = 1.0 / clock.ticks if clock.kind == "time" else CLOCKS.get(clock.kind)
            self.seconds = float(np.median(gaps)) * unit if unit and len(gaps) and np.median(gaps) > 0 else None
        y = None if labels is None else [table.column(labels, "column of y")[rows] for rows in at.values()]
        return Sequences(tuple(at), tuple(np.ascontiguousarray(numbers[rows]) for rows in at.values()), tuple(names), y)

    def targets(self, found: Sequences) -> list[Floats]:
        """None is needed."""
        return [np.full(len(x), np.nan) for x in found.x]

    def read(self, X: Any, transform: Any, targets: bool = False, **given: Any) -> Sequence[Any]:
        """Streams of the same columns; with labels where these are asked for."""
        reader = replace_task(self)
        given = {name: value for name, value in given.items() if value is not None}
        if is_table(X):
            wanted = ("series", "time", "y") if targets else ("series",)
            given = {role: name for role, name in self.roles.items() if role in wanted} | given
        found = reader.opened(X, columns=transform.inputs, **given)
        if found.x[0].shape[1] != len(transform.inputs):
            raise DataError(
                f"a stream has {found.x[0].shape[1]} numbers a step, expected {len(transform.inputs)} as in training: "
                f"{', '.join(transform.inputs[:12])}"
            )
        if targets and not reader.labels:
            raise DataError(
                "y is not given, expected whether each step is anomalous: an array, or the name of a column"
            )
        values = [reader.labels[name].astype(np.float64) for name in found.names] if targets else self.targets(found)
        return found.with_targets(values)

    def split(self, sequences: Sequence[Any], parts: Any, seed: int) -> list[Split]:
        """Each stream by time."""
        try:
            shares = [float(v) for v in parts]
            fine = len(shares) == 3 and min(shares[:2]) > 0 <= shares[2] and abs(sum(shares) - 1) < 1e-6
        except (TypeError, ValueError):
            fine = False
        if not fine:
            raise DataError(
                f"the parts are {parts!r}, expected three shares of training, validation and test whose sum is 1, the "
                "last of which may be 0"
            )
        found = [Split(round(shares[0] * len(s)), round((shares[0] + shares[1]) * len(s)), len(s)) for s in sequences]
        longest = max(found, key=lambda split: split.end)
        if longest.train_end < LEAST or longest.valid_end - longest.train_end < LEAST:
            raise DataError(
                f"a stream of {longest.end} steps is too short, expected at least {LEAST} in each of the first two "
                "parts: of the second an alarm's level is learned"
            )
        return found

    def by_steps(self, sequences: Sequence[Any]) -> bool:
        """Always."""
        return True

    def transform(self, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """See `Lagged`."""
        return Lagged.fit(sequences, splits, self.columns, self.lag)

    @classmethod
    def transform_from(cls, described: Mapping[str, Any]) -> Transform:
        """See `Lagged`."""
        return Lagged.from_dict(described)

    def head(self, width: int, transform: Transform, dropout: float) -> nn.Module:
        """A linear layer: means and log deviations."""
        from torch import nn

        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, 2 * len(transform.inputs)))

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """-log of the normal density, in deviations of each column; an error counts up to some twenty deviations."""
        there = ~targets.isnan()
        mean, log = output.chunk(2, -1)
        log = log.clamp(-SQUEEZE, SQUEEZE)
        nats = 0.5 * ((targets.nan_to_num() - mean) * (-log).exp()).square().clamp(max=400.0) + log
        return (nats * there).sum() / there.sum().clamp(min=1)

    def decode(self, output: Floats, transform: Any, name: str) -> Floats:
        """Means and deviations [M, I, 2], had the steps before been the usual ones."""
        return self.in_units(output, np.zeros((len(output), transform.row_size), np.float32), transform)

    def answers(self, output: Floats, transform: Any, sequence: Any, start: int) -> Floats:
        """Means and deviations in the columns' units, [M, I, 2]."""
        return self.in_units(output, transform.rows(sequence, start, start + len(output)), transform)

    def in_units(self, output: Floats, rows: Any, transform: Any) -> Floats:
        """The same of outputs whose rows are given."""
        size = len(transform.inputs)
        scales = np.array([s.scale for s in transform.plain.scalers])
        centers = np.array([s.center for s in transform.plain.scalers])
        log = np.clip(output[:, size:].astype(np.float64), -SQUEEZE, SQUEEZE)
        means = output[:, :size].astype(np.float64) + transform.base(rows)
        return np.stack([means * scales + centers, np.exp(log) * scales], -1)

    def truth(self, sequence: Any, start: int, stop: int) -> Floats:
        """The numbers of the steps, [M, I]."""
        found: Floats = sequence.x[start:stop]
        return found

    def errors(self, piece: Any, answers: Floats, transform: Transform) -> Floats:
        """Nats."""
        return self.metrics[0].units(self.truth(*piece), answers)

    def suspicions(self, bench: Bench) -> list[str]:
        """None: nothing is to be told."""
        return []

    def surprises(self, predictor: ModelPredictor, sequence: Any) -> list[tuple[float, int]]:
        """How surprising each step of a stream was, and which number the most."""
        transform: Any = predictor.transform
        rows = transform.rows(sequence, 0, len(sequence))
        outputs = predictor.model.session().run(rows)
        z = transform.targets_of(sequence.x, rows)  # float32, as a live session has them
        return [surprise_of(a, b, SQUEEZE) for a, b in zip(z.tolist(), outputs.tolist(), strict=True)]

    def settle(self, bench: Bench, predictor: ModelPredictor) -> None:
        """Learn from the validation part how often a level is passed by chance, and from which on to ring."""
        levels = []
        for s, split in zip(bench.sequences, bench.splits, strict=True):
            watcher = Watcher(self.watch)
            found = [watcher.level(surprise) for surprise, _ in self.surprises(predictor, s)]
            levels.append(np.array(found[split.train_end : split.valid_end]))
        rate = self.false_alarms / self.steps_of(self.per)
        tail = Tail.of(np.concatenate(levels), self.watch.apart)
        self.watch = replace(self.watch, rarity=-math.log10(rate), tail=tail)

    def steps_of(self, per: Any) -> float:
        """How many steps `per` is: a number of steps, or "hour", "day", "week", where times are known.

        Raises:
            SettingError: it is neither.
        """
        if per in SPANS:
            if self.seconds is None:
                raise SettingError(
                    f"Detector: per={per!r}, but no column of times says how long a step is, expected time=, or a "
                    "number of steps"
                )
            return SPANS[per] / self.seconds
        return float(per)

    def columns_of(self, answers: Any) -> dict[str, Any]:
        """As they are."""
        return dict(answers)

    def watched(self, predictor: ModelPredictor, sequence: Any) -> dict[str, NDArray[Any]]:
        """Every step of a stream: how surprising and rare, by which column, anomalous or not, where alarms begin."""
        watcher, rows = Watcher(self.watch), []
        for surprise, where in self.surprises(predictor, sequence):
            rows.append((surprise, *watcher.push(surprise), predictor.transform.inputs[where]))
        names = ("surprise", "rarity", "anomalous", "alarm", "by")
        return {name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """The longest stream's test part: its numbers, how rare they were, and the alarms."""
        (s, start, stop), *_ = sorted(bench.pieces("test"), key=lambda piece: piece.start - piece.stop)
        found = {name: column[start:stop] for name, column in self.watched(predictor, s).items()}
        first = max(0, int(np.argmax(found["rarity"])) - MOST_DRAWN // 2) if stop - start > MOST_DRAWN else 0
        shown = slice(first, first + MOST_DRAWN)
        rung = np.flatnonzero(found["alarm"])
        numbers = {name: s.x[start:stop, k][shown].tolist() for k, name in enumerate(bench.transform.inputs[:4])}
        rows = [
            [int(start + t), *(float(v) for v in s.x[start + t][:4]), str(found["by"][t]), float(found["rarity"][t])]
            for t in rung[:20]
        ]
        table = {
            "kind": "table",
            "heading": "The alarms",
            "headings": ["step", *bench.transform.inputs[:4], "by", "rarity: once in 10^"],
            "rows": rows,
        }
        picture = {
            "kind": "stream",
            "start": int(start + first),
            "columns": numbers,
            "rarity": found["rarity"][shown].tolist(),
            "level": self.watch.rarity,
            "alarms": [int(start + t) for t in rung if first <= t < first + MOST_DRAWN],
            "count": len(rung),
            "steps": int(stop - start),
            "declared": self.declared,
        }
        return [picture, table] if rows else [picture]

    @property
    def declared(self) -> str:
        """The rate of false alarms that was asked for, in words."""
        return f"{self.false_alarms:g} in {'a ' + self.per if self.per in SPANS else f'{self.per:g} steps'}"

    def live(self, model: Model, transform: Transform) -> Live:
        """See `LiveDetector`."""
        from recurra.tasks.detection.live import LiveDetector

        return LiveDetector(model, self, transform)

    def to_dict(self) -> dict[str, Any]:
        """What it watches, and how."""
        own = {"lag": self.lag, "false_alarms": self.false_alarms, "per": self.per, "seconds": self.seconds}
        watch = self.watch.to_dict()
        return {**super().to_dict(), **own, "watch": watch | {"rarity": min(watch["rarity"], 1e9)}}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        self = super().from_dict(described)
        self.lag, self.per = int(described["lag"]), described["per"]
        self.false_alarms, self.seconds = float(described["false_alarms"]), described["seconds"]
        self.watch = Watch.from_dict(described["watch"])
        return self

    def anew(self) -> Task:
        """With nothing learned."""
        return replace_task(self)


def replace_task(task: Detect) -> Detect:
    """The same with nothing learned."""
    w = task.watch
    return Detect(task.lag, task.false_alarms, task.per, w.smooth, w.adapt, w.apart)


def _labels(values: Any, found: Sequences) -> list[NDArray[np.bool_]]:
    """Whether each step is anomalous, [T] for each stream; what is missing is not."""
    result = []
    for i, x in enumerate(found.x):
        try:
            one = np.array([v not in (None, "") and v == v and bool(float(v)) for v in list(values)[i]])
        except (TypeError, ValueError, IndexError):
            one = np.zeros(0, bool)
        if len(one) != len(x):
            raise DataError(f"y: stream {i} has {len(one)} labels for {len(x)} steps, expected 0 or 1 for each step")
        result.append(one)
    return result
