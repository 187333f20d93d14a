"""`Trade`, the task of a trader: bars, what is learned of them, and the position that follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recurra.data import Split, Table, as_table, read_table
from recurra.data.batches import Batches
from recurra.data.forecasting.clock import Clock
from recurra.data.markets.bars import BarColumns, Bars, choose_columns, read_bars
from recurra.data.markets.doubts import calendar_of, check_inputs, splits_in, survivors_in
from recurra.data.markets.folds import walk_forward
from recurra.data.markets.tape import each
from recurra.data.markets.transform import SIGNALS, WARM, MarketRows, outcomes
from recurra.data.transform import Transform
from recurra.errors import DataError
from recurra.tasks.base import Floats, Task
from recurra.tasks.baselines import Baseline
from recurra.tasks.bench import Bench
from recurra.tasks.trading.metrics import Brier, Growth, Qlike, ReturnError
from recurra.tasks.trading.rivals import Garch, Hold, MarketRidge, Momentum

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.runtime.model import Model
    from recurra.tasks.trading.live import LiveTrader

TARGETS = ("position", "return", "sign", "variance")
ARRAYS = ("ticks", "prices", "inputs", "rows")  # of bars
KELLY = 0.5  # of the position that would make wealth grow fastest, were the forecast true
USUAL = 0.8  # the mean size of a standard normal number
PER_YEAR = 252
BP = 1e-4
SCALE = 100.0  # of log wealth in the loss: a return of one per cent counts as one
FARTHEST = 5.0  # usual sizes at which a return ends, in the loss
UNITS = 16  # of the head
LANES, LANE = 64, 256  # stretches side by side, at most, and bars of one, at least


class Trade(Task):
    """A position after every bar.

    Args:
        target: what is learned: the position, the next return, its sign, or tomorrow's variance.
        cost: of a change of position by 1, as a share of wealth.
        delay: bars from an answer to when it is acted on.
        short: whether a position may be below zero.
        volatility: a year, that a position by variance aims at.
        embargo: bars between parts beside those that a target spans.
        years: before the first that is judged.
        rolling: whether these many years move on, or the first stays.
    """

    name = "trade"
    whole = False
    noise = 0.0
    metrics = (Growth(), Qlike())
    baselines: ClassVar[tuple[type[Baseline], ...]] = (Hold, Momentum, MarketRidge)
    kept = ("target", "accounts")
    stretch = 21

    def __init__(
        self,
        target: str = "position",
        cost: float = 10 * BP,
        delay: int = 1,
        short: bool = False,
        volatility: float = 0.15,
        embargo: int = 5,
        years: int = 5,
        rolling: bool = False,
    ) -> None:
        self.target, self.cost, self.delay, self.short = target, float(cost), int(delay), bool(short)
        self.volatility, self.embargo, self.years, self.rolling = float(volatility), int(embargo), years, rolling
        firsts = {"return": ReturnError(), "sign": Brier(), "variance": Qlike(), "position": Growth(self.cost)}
        others = [m for m in (Growth(self.cost), Qlike()) if m.key != firsts[target].key]
        self.metrics = (firsts[target], *others)  # type: ignore[assignment, misc]
        if target == "variance":
            self.baselines = (*self.baselines, Garch)  # type: ignore[misc]
        self.bars: BarColumns | None = None
        self.notes: list[str] = []
        self.folds: list[list[Split]] = []

    @property
    def gap(self) -> int:
        """Bars between parts: what a target spans, and the embargo."""
        return 1 + self.delay + self.embargo

    def examples(self, X: Any, **given: Any) -> list[Bars]:
        """The bars of each asset; `given` is as `choose_columns` takes it."""
        table = table_of_prices(X)
        self.bars, notes = choose_columns(table, **given)
        found, more = read_bars(table, self.bars)
        self.folds = walk_forward(found, self.years, self.rolling, self.gap)
        notes += more + splits_in(table, found)
        if self.bars.calendar is not None:
            notes += calendar_of(table, found, self.bars.calendar)
        notes += check_inputs(table, found, self.bars, [split.train_end for split in self.folds[0]])
        self.notes = notes
        return found

    def read(self, X: Any, transform: Any, targets: bool = False, **given: Any) -> list[Bars]:
        """The bars of another table with the same columns."""
        table = table_of_prices(X)
        found, notes = read_bars(table, transform.columns, transform.clock)
        self.notes = notes + splits_in(table, found)
        return found

    def split(self, sequences: Sequence[Bars], parts: Any, seed: int) -> list[Split]:
        """The last year that is judged, and all before it."""
        return self.folds[-1]

    def transform(self, sequences: Sequence[Bars], splits: Sequence[Split]) -> MarketRows:
        """Features, standardized, and a linear forecast of variance."""
        assert self.bars is not None
        return MarketRows.fit(sequences, splits, self.bars, delay=self.delay, gap=self.gap)

    def steps(self, sequence: Bars, split: Split, part: str) -> tuple[int, int]:
        """Bars of a part; the last ones of training and validation are left out, as their targets lie beyond it."""
        start, stop = split.part(part)
        start = max(start, min(WARM, stop))
        return start, max(start, stop - self.gap) if part != "test" and stop < len(sequence) else stop

    def truth(self, sequence: Bars, start: int, stop: int) -> Floats:
        """[M, 3]: the return after the delay, in usual sizes, and tomorrow's variance; NaN where they are unknown."""
        returns, variance = outcomes(sequence, start, stop, self.delay)
        return np.stack([returns, np.log1p(returns) / sequence.tape.deviation(start, stop), variance], 1)

    def head(self, width: int, transform: Any, dropout: float) -> nn.Module:
        """The forecaster's, for two signals: what is learned, and the log of variance, which a linear forecast has."""
        from recurra.models import ForecastHead

        return ForecastHead(width, SIGNALS, transform.ahead, 1, (0.5,), units=UNITS, dropout=dropout)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """That of the target, and QLIKE of the variance: [..., 2] and [..., 4]."""
        import torch
        from torch.nn import functional

        signal, log = output[..., 0], output[..., 1].clamp(-40, 10)
        returns, usual, variance, before = targets.nan_to_num().unbind(-1)
        known = ~targets[..., 2].isnan()
        loss = _mean(variance * torch.exp(-log) + log - variance.clamp(min=1e-12).log() - 1, known)
        known = ~targets[..., 0].isnan()
        if self.target == "return":
            return loss + _mean((usual.clamp(-FARTHEST, FARTHEST) - signal).square(), known)
        if self.target == "sign":
            rises = (returns > 0).to(signal.dtype)
            return loss + _mean(functional.binary_cross_entropy_with_logits(signal, rises, reduction="none"), known)
        if self.target == "position":
            position = torch.tanh(signal) if self.short else torch.sigmoid(signal)
            change = torch.zeros_like(position)
            if len(position) > 1:
                follows = (before[1:] > 0) & known[:-1]
                change = torch.cat([change[:1], (position[1:] - position[:-1]).abs() * follows])
            growth = torch.log1p((position * returns - self.cost * change).clamp(min=-0.99))
            return loss - SCALE * _mean(growth, known)
        return loss

    def decode(self, output: Floats, transform: Any, name: str) -> Floats:
        """[M, 3]: the position, the signal, and tomorrow's variance as bars have it."""
        variance = each(math.exp, np.clip(output[:, 1].astype(np.float64), -40, 10).tolist())
        signal = output[:, 0].astype(np.float64)
        if self.target == "sign":
            signal = each(_sigmoid, signal.tolist())
        return self.placed(self.target, signal, variance, transform.ratio)

    def placed(self, target: str, signal: Floats, variance: Floats, ratio: float) -> Floats:
        """[M, 3]: the position that follows from a signal and a variance, and both of them.

        By return or sign, half of Kelly's: mean / variance; by variance, what has the volatility aimed at; all of them
        between 0 (or -1, where shorts are taken) and 1.
        """
        deviation, low = np.sqrt(variance * ratio), -1.0 if self.short else 0.0
        if target == "return":
            position = KELLY * signal / deviation
        elif target == "sign":
            position = KELLY * USUAL * (2 * signal - 1) / deviation
        elif target == "variance":
            position = self.volatility / math.sqrt(PER_YEAR) / deviation
        else:
            position = each(math.tanh if self.short else _sigmoid, signal.tolist())
        return np.stack([np.minimum(np.maximum(position, low), 1.0), signal, variance], 1)

    def answer(self, numbers: Floats) -> dict[str, Any]:
        """The position, and what it is made of."""
        named = {"return": "signal", "sign": "probability"}.get(self.target)
        found = {"position": float(numbers[0]), "volatility": float(math.sqrt(numbers[2]))}
        return found | ({named: float(numbers[1])} if named else {})

    def columns_of(self, answers: Floats) -> dict[str, NDArray[Any]]:
        """As in `answer`."""
        each_one = [self.answer(row) for row in answers]
        return {name: np.array([one[name] for one in each_one]) for name in each_one[0]}

    def live(self, model: Model, transform: Any) -> LiveTrader:
        """A bar in, a position out, for any number of assets."""
        from recurra.tasks.trading.live import LiveTrader

        return LiveTrader(model, self, transform)

    def batches(
        self, transform: Any, pieces: Sequence[Any], encoder: Any, batch: int | None, chunk: int, seed: int
    ) -> Batches:
        """As the spine has them, of more assets side by side."""
        total = sum(piece.stop - piece.start for piece in pieces)
        lanes = batch or int(np.clip(total // LANE, 1, LANES))
        return super().batches(transform, pieces, encoder, lanes if encoder.context is None else batch, chunk, seed)

    def windows(self, bench: Bench) -> tuple[int, ...]:
        """A week and a month."""
        return (5, 21)

    def suspicions(self, bench: Bench) -> list[str]:
        """Said when the bars are read."""
        return list(self.notes)

    def cut(self, sequence: Bars, end: int) -> Bars:
        """Without the bars from `end` on."""
        return sequence.cut(end)

    def described(self, bench: Bench) -> dict[str, Any]:
        """Size, times, columns, parts of the last year, notes."""
        first = min(bench.sequences, key=lambda s: s.ticks[0])
        last = max(bench.sequences, key=lambda s: s.ticks[-1])
        clock: Clock = first.clock
        parts = []
        for part in ("train", "valid", "test"):
            pieces = bench.pieces(part)
            ends = [
                clock.text(int(pick(s.ticks[a if pick is min else b - 1] for s, a, b in pieces))) for pick in (min, max)
            ]
            parts.append({"name": part, "first": ends[0], "last": ends[1], "bars": sum(b - a for _, a, b in pieces)})
        return {
            "assets": len(bench.sequences),
            "bars": sum(map(len, bench.sequences)),
            "from": clock.text(int(first.ticks[0])),
            "to": clock.text(int(last.ticks[-1])),
            "columns": list(bench.transform.inputs)[:30],
            "bars_between_parts": self.gap,
            "parts": parts,
            "notes": [survivors_in(bench.sequences), *self.notes],
        }

    def to_dict(self) -> dict[str, Any]:
        """Target and account."""
        names = ("target", "cost", "delay", "short", "volatility", "embargo", "years", "rolling")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        names = ("target", "cost", "delay", "short", "volatility", "embargo", "years", "rolling")
        made = cls(**{name: described[name] for name in names})
        if not (0 <= made.cost < 1 and 0 <= made.delay <= 1000 and made.volatility > 0):
            raise ValueError(f"the account is {made.to_dict()}")
        return made

    def check_output(self, size: int) -> None:
        """Two signals."""
        if size != SIGNALS:
            raise ValueError(f"the network gives {size} numbers, expected {SIGNALS}")

    def anew(self) -> Trade:
        """With the same settings."""
        return Trade(**self.to_dict())

    def roles_of(self, transform: Any) -> dict[str, Any]:
        """The columns."""
        c = transform.columns
        return {"time": c.time, "asset": c.asset, "prices": list(c.prices), "inputs": c.inputs, "calendar": c.calendar}

    @classmethod
    def transform_from(cls, described: Mapping[str, Any]) -> Transform:
        """Market rows."""
        return MarketRows.from_dict(described.get("transform", described))

    def pack(self, sequences: Sequence[Bars]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The arrays of each asset."""
        arrays = {f"{k}.{n}": getattr(one, n) for k, one in enumerate(sequences) for n in ARRAYS}
        columns = None if self.bars is None else self.bars.to_dict()
        return arrays, {"names": [s.name for s in sequences], "clock": sequences[0].clock.to_dict(), "bars": columns}

    @staticmethod
    def unpack(arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> list[Bars]:
        """From what `pack` gave."""
        clock, found = Clock.from_dict(settings["clock"]), []
        for k, name in enumerate(settings["names"]):
            ticks, prices, inputs, rows = (arrays[f"{k}.{n}"] for n in ARRAYS)
            found.append(Bars.of(name, ticks, prices, inputs, rows, clock))
        return found


def table_of_prices(X: Any) -> Table:
    """A table, or the one in a file, that has rows.

    Raises:
        DataError: it cannot be read.
    """
    found = read_table(X) if isinstance(X, (str, Path)) else as_table(X)
    if not len(found):
        raise DataError(f"{found.source}: it has no rows, expected bars")
    return found


def _mean(values: Tensor, known: Tensor) -> Tensor:
    return (values * known).sum() / known.sum().clamp(min=1)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(-500.0, value)))
