"""`Detect`: the next step of a stream, with its deviation, and from which surprise on to ring."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from recurra.data.lagged import Lagged
from recurra.data.sequences import Sequences, is_table, read_sequences
from recurra.data.split import Split
from recurra.data.transform import Transform
from recurra.errors import DataError, SettingError
from recurra.runtime import Model
from recurra.tasks.base import Floats, Task
from recurra.tasks.detection.baselines import LastValue
from recurra.tasks.detection.metrics import Surprise
from recurra.tasks.detection.report import sections_of
from recurra.tasks.detection.streams import SPANS, labels_of, of_table
from recurra.tasks.detection.surprise import SQUEEZE, Errors
from recurra.tasks.detection.watcher import Said, Watch, Watcher, learned_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.tasks.bench import Bench, ModelPredictor
    from recurra.tasks.live.base import Live

LEAST = 20  # steps in a part
SMOOTH = (1, 4, 16)
ANSWER = ("surprise", "rarity", "anomalous", "alarm", "by", "signal")


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
        smooth: Sequence[int] = SMOOTH,
        adapt: int = 1000,
        apart: int = 10,
        levels: bool = True,
    ) -> None:
        self.lag, self.false_alarms, self.per, self.levels = lag, false_alarms, per, levels
        self.watch = Watch(tuple(smooth), adapt, apart, math.inf)
        self.usual: Errors | None = None
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
            named = labels if isinstance(labels, str) else None
            found, self.seconds = of_table(X, series, time, columns, named)
        else:
            one = isinstance(X, np.ndarray) and X.dtype != object and X.ndim <= 2
            found = read_sequences([X] if one else X, columns=columns, channels_first=bool(channels))
            labels = [labels] if one and labels is not None else labels
        self.columns = found.columns
        if labels is not None:
            known = labels_of(found.y if isinstance(labels, str) else labels, found)
            self.labels = dict(zip(found.names, known, strict=True))
        return found

    def targets(self, found: Sequences) -> list[Floats]:
        """None is needed."""
        return [np.full(len(x), np.nan) for x in found.x]

    def read(self, X: Any, transform: Any, targets: bool = False, **given: Any) -> Sequence[Any]:
        """Streams of the same columns; with labels where these are asked for."""
        reader = self.anew()
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

    def outputs(self, predictor: ModelPredictor, sequence: Any) -> tuple[Floats, Floats]:
        """What the network was to say at each step of a stream [T, I], and what it said [T, 2 I]; as a live session."""
        transform: Any = predictor.transform
        rows = transform.rows(sequence, 0, len(sequence))
        return transform.targets_of(sequence.x, rows), predictor.model.session().run(rows)

    def settle(self, bench: Bench, predictor: ModelPredictor) -> None:
        """Learn what is usual from the training and validation part, and from the latter, which the network has not
        learned from, how rarely signals are far from that; and from which rarity on to ring."""
        self.watch = replace(self.watch, rarity=-math.log10(self.false_alarms / self.steps_of(self.per)))
        said = [self.outputs(predictor, s) for s in bench.sequences]
        ends = [(split.train_end, split.valid_end) for split in bench.splits]
        learned, held = (
            [(z[a:b].astype(np.float64), o[a:b].astype(np.float64)) for (z, o), (a, b) in zip(said, part, strict=True)]
            for part in ([(0, first) for first, _ in ends], ends)
        )
        self.usual = Errors.fit(learned, held)
        streams = []
        for s, (z, o), (_, end) in zip(bench.sequences, said, ends, strict=True):
            surprises = [self.usual.surprise(*one)[0] for one in zip(z[:end], o[:end], strict=True)]
            streams.append(np.column_stack([surprises, s.x[:end]] if self.levels else [surprises]))
        self.watch = learned_of(self.watch, streams, [first for first, _ in ends])

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
        """Every step of a stream: how surprising and rare, anomalous or not, where alarms begin, by which column, and
        by which signal."""
        watcher, rows = Watcher(self.watch), []
        for x, z, output in zip(sequence.x, *self.outputs(predictor, sequence), strict=True):
            rows.append(tuple(self.said(watcher, x, z, output, predictor.transform.inputs).values()))
        return {name: np.array(values) for name, values in zip(ANSWER, zip(*rows, strict=True), strict=True)}

    def said(self, watcher: Watcher, x: Floats, z: Floats, output: Floats, inputs: Sequence[str]) -> dict[str, Any]:
        """What is to be said of a step: its numbers [I], what the network was to say [I], and what it said [2 I]."""
        assert self.usual is not None
        surprise, where = self.usual.surprise(z, output)
        found: Said = watcher.push(np.concatenate([[surprise], x if self.levels else []]))
        by = inputs[where if found.number is None else found.number]
        signal = f"{found.signal} of {found.over}"
        return dict(zip(ANSWER, (surprise, *found[:3], by, signal), strict=True))

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """See `sections_of`."""
        return sections_of(self, bench, predictor)

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
        own = {name: getattr(self, name) for name in ("lag", "levels", "false_alarms", "per", "seconds")}
        learned = {"watch": self.watch.to_dict(), "usual": self.usual and self.usual.to_dict()}
        return {**super().to_dict(), **own, **learned}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        self = super().from_dict(described)
        self.lag, self.per, self.levels = int(described["lag"]), described["per"], bool(described.get("levels", True))
        self.false_alarms, self.seconds = float(described["false_alarms"]), described["seconds"]
        self.watch = Watch.from_dict(described["watch"])
        self.usual = Errors.from_dict(described["usual"])
        return self

    def anew(self) -> Detect:
        """With nothing learned."""
        w = self.watch
        return Detect(self.lag, self.false_alarms, self.per, w.smooth, w.adapt, w.apart, self.levels)
