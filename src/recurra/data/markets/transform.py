"""`MarketRows`: a network's rows from features of bars, learned from the training bars alone, whole or live."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.clock import Clock
from recurra.data.markets.bars import BarColumns, Bars
from recurra.data.markets.tape import FLOOR, Tape
from recurra.data.sequences import Steps
from recurra.data.split import Split
from recurra.data.transform import LiveTransform, Standardize, Transform
from recurra.errors import DataError

F32: TypeAlias = NDArray[np.float32]
Floats: TypeAlias = NDArray[np.float64]

SIGNALS = 2  # what is forecast: the return (or position), and the log of the variance
WARM = 22  # bars before the first from which something is learned
NEAR = 8.0  # standard deviations at which a feature ends
RIDGE = 450.0  # of the linear variance, in bars: what is learned of so many counts half


@dataclass(frozen=True)
class MarketRows(Transform):
    """A row has the K features of a bar, standardized, and flags; then, for the head, the same and a linear forecast.

    The linear forecast is of the log of tomorrow's variance, from the features, by a gamma regression (whose deviance
    is QLIKE) on the training bars. The network's head begins as that forecast, and learns what is to be added to it.

    Attributes:
        columns: of the table of prices.
        clock: of its times.
        scaled: standardizes the features.
        weights: float64 [K + flags + 1] of the linear forecast, the constant last.
        ratio: the mean squared return over the mean variance as bars have it: of the night, which no range sees.
        delay: bars from an answer to when it is acted on.
    """

    columns: BarColumns
    clock: Clock
    scaled: Standardize
    weights: tuple[float, ...]
    ratio: float
    delay: int

    @classmethod
    def fit(
        cls, sequences: Sequence[Bars], splits: Sequence[Split], columns: BarColumns, *, delay: int, gap: int
    ) -> Self:
        """Learn from the training part, less its last `gap` bars.

        Raises:
            DataError: it has too few bars.
        """
        from sklearn.linear_model import GammaRegressor

        whole = list(zip(sequences, splits, strict=True))
        ends = [min(len(s) - 1, max(split.begin, split.train_end - gap)) for s, split in whole]
        most = max(end - split.begin for end, split in zip(ends, splits, strict=True))
        if most < 2 * WARM:
            raise DataError(
                f"the training part has {most} bars of an asset, expected at least {2 * WARM}: give more, or fewer "
                "years to begin with"
            )
        names = Tape.names(columns.ranges, bool((sequences[0].tape.days >= 0).all()), columns.inputs)
        seen = [s.x[split.begin : end] for (s, split), end in zip(whole, ends, strict=True)]
        steps = [Steps("", x, np.array(np.nan), "", 0.0) for x in seen]
        scaled = Standardize.fit(steps, [Split(len(x), len(x), len(x)) for x in seen], names)
        made = cls(columns, sequences[0].clock, scaled, (), 1.0, delay)
        parts = [(s, max(WARM, split.begin), end) for (s, split), end in zip(whole, ends, strict=True)]
        parts = [part for part in parts if part[2] > part[1]]
        x = np.concatenate([made._features(s, start, stop) for s, start, stop in parts]).astype(np.float64)
        nexts = [np.maximum(s.tape.last[start + 1 : stop + 1], FLOOR) for s, start, stop in parts]
        moves = np.concatenate([np.diff(s.tape.log[start : stop + 1]) ** 2 for s, start, stop in parts])
        y = np.concatenate(nexts)
        model = GammaRegressor(alpha=RIDGE / len(y), max_iter=500).fit(x, y / y.mean())
        ratio = float(moves.mean() / y.mean()) if columns.ranges else 1.0
        weights = (*model.coef_.tolist(), float(model.intercept_) + math.log(y.mean()))
        return cls(columns, sequences[0].clock, scaled, weights, ratio, delay)

    @property
    def inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The columns of an observation."""
        return (*self.columns.prices, *self.columns.inputs)

    @property
    def input_size(self) -> int:  # type: ignore[override]
        """I: the features and flags."""
        return self.scaled.input_size

    @property
    def ahead(self) -> int:
        """F, of what the head sees of each signal besides the linear forecast."""
        return self.input_size

    @property
    def row_size(self) -> int:  # type: ignore[override]
        """R: what the encoder sees, and what the head sees of each signal."""
        return self.input_size + SIGNALS * (self.ahead + 1)

    def _features(self, sequence: Bars, start: int, stop: int) -> F32:
        return self._near(sequence.x[start:stop])

    def _near(self, x: Floats) -> F32:
        return np.clip(self.scaled.scaled(x), -NEAR, NEAR)

    def made(self, x: Floats) -> F32:
        """The rows [n, R] of features [n, K]; one and many have the same bits."""
        z = self._near(x)
        linear = np.full(len(z), self.weights[-1])
        for k in range(z.shape[1]):  # in this order, with no sum that a library might take in another
            linear = linear + z[:, k].astype(np.float64) * self.weights[k]
        variance = linear.astype(np.float32)[:, None]
        return np.concatenate([z, z, np.zeros_like(variance), z, variance], 1)

    def rows(self, sequence: Bars, start: int, stop: int) -> F32:
        """See `Transform`."""
        return self.made(sequence.x[start:stop])

    def targets(self, sequence: Bars, start: int, stop: int) -> F32:
        """[stop - start, 4]: the return after the delay, the same in usual sizes of a return, tomorrow's variance, and
        whether there is a bar before; NaN where they are not known yet."""
        returns, variance = outcomes(sequence, start, stop, self.delay)
        usual = sequence.tape.deviation(start, stop)
        before = np.where(np.arange(start, stop) > 0, 1.0, 0.0)
        return np.stack([returns, np.log1p(returns) / usual, variance, before], 1).astype(np.float32)

    def live(self, name: str = "") -> LiveTransform:
        """See `Transform`."""
        return LiveMarketRows(self)

    def to_dict(self) -> dict[str, Any]:
        """See `Transform`."""
        return {
            "columns": self.columns.to_dict(),
            "clock": self.clock.to_dict(),
            "scaled": self.scaled.to_dict(),
            "weights": list(self.weights),
            "ratio": self.ratio,
            "delay": self.delay,
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """See `Transform`."""
        try:
            columns, clock = BarColumns.from_dict(described["columns"]), Clock.from_dict(described["clock"])
            scaled = Standardize.from_dict(described["scaled"])
            weights = tuple(map(float, described["weights"]))
            ratio, delay = float(described["ratio"]), int(described["delay"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the model's transform is unreadable ({error}): save the model again") from error
        names = Tape.names(columns.ranges, clock.kind != "count", columns.inputs)
        fits = len(weights) == scaled.input_size + 1 and list(scaled.inputs) == names
        if not (fits and all(map(math.isfinite, (*weights, ratio))) and ratio > 0 and 0 <= delay <= 1000):
            raise DataError("the model's transform contradicts itself: save the model again")
        return cls(columns, clock, scaled, weights, ratio, delay)


def outcomes(sequence: Bars, start: int, stop: int, delay: int) -> tuple[Floats, Floats]:
    """What is known only later of the bars start .. stop - 1: the return of a position decided at each, which is taken
    `delay` bars later and held for one; and the variance of the next bar. NaN where the bars end before."""
    close, at, T = sequence.prices[:, -1], np.arange(start, stop), len(sequence)
    taken, left = np.minimum(at + delay, T - 1), np.minimum(at + delay + 1, T - 1)
    returns = np.where(at + delay + 1 < T, close[left] / close[taken] - 1, np.nan)
    return returns, np.where(at + 1 < T, np.maximum(sequence.tape.last[np.minimum(at + 1, T - 1)], FLOOR), np.nan)


class LiveMarketRows:
    """Rows of one asset, a bar at a time."""

    def __init__(self, transform: MarketRows) -> None:
        self.transform = transform
        self.tick: int | None = None
        self.tape = self._empty()

    def _empty(self) -> Tape:
        none = np.zeros(0)
        width = len(self.transform.columns.inputs)
        return Tape(none, none, none, none, none, none, np.zeros((0, width)), 0, self.transform.columns.ranges)

    def push(self, x: Any) -> F32:
        """The row [R] after a bar: its tick and date in days, the prices [1 or 4], and the other inputs [E]."""
        tick, day, prices, inputs = x
        self.tape, self.tick = self.tape.pushed(prices, day, inputs), tick
        row: F32 = self.transform.made(self.tape.rows(self.tape.stop - 1, self.tape.stop))[0]
        return row

    def state(self) -> dict[str, NDArray[Any]]:
        """See `LiveTransform`."""
        ticks = [] if self.tick is None else [self.tick]
        return self.tape.state() | {"tick": np.array(ticks, np.int64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `LiveTransform`."""
        tape = Tape.restored(state, self.transform.columns.ranges)
        if tape.inputs.shape != (len(tape.log), len(self.transform.columns.inputs)):
            raise ValueError("the bars of the snapshot have other inputs")
        self.tape, self.tick = tape, next(iter(state["tick"].tolist()), None)
