"""`Forecast`, the task: the next N values of a series after every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from recurra.data import (
    Clock,
    Columns,
    Features,
    Series,
    Split,
    Step,
    Table,
    as_table,
    read_table,
    series_of,
    split_by_time,
)
from recurra.data.batches import Piece
from recurra.data.forecasting.forms import UNIX
from recurra.data.leakage import check_columns
from recurra.data.transform import Transform
from recurra.runtime.ops.forecast import middle_of
from recurra.tasks.base import Floats, Task
from recurra.tasks.bench import Bench, ModelPredictor
from recurra.tasks.forecasting.answer import residuals_of
from recurra.tasks.forecasting.baselines import LinearAutoregression, Naive, Seasonal
from recurra.tasks.forecasting.residuals import MOST_ORIGINS, Residuals
from recurra.tasks.forecasting.rivals import RIVALS
from recurra.tasks.metrics import MeanAbsoluteError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.runtime.model import Model
    from recurra.tasks.forecasting.live import LiveForecaster

ARRAYS = ("ticks", "target", "past", "ahead")  # of a series
SAID = ("name", "observed", "notes", "group", "variable", "static", "edges")


class Forecast(Task):
    """The next N values of a series after every row, with intervals."""

    name = "forecast"
    metrics = (MeanAbsoluteError(),)
    baselines = (Naive, Seasonal, LinearAutoregression)
    rivals = RIVALS
    whole = False
    kept = ("target", "step", "horizon")

    def __init__(
        self, horizon: int = 24, quantiles: Sequence[float] = (0.1, 0.5, 0.9), seasons: str | Sequence[int] = "auto"
    ) -> None:
        self.horizon: int = int(horizon) if isinstance(horizon, np.integer) else horizon
        self.seasons, self.stretch = seasons, 2 * horizon
        self.quantiles = tuple(float(level) for level in quantiles)
        self.middle = middle_of(self.quantiles)
        self.metrics = (MeanAbsoluteError(self.middle),)  # type: ignore[misc]
        self.residuals: Residuals | None = None
        self.begin: tuple[Model, Features] | None = None  # from which training goes on

    def examples(self, X: Any, **given: Any) -> list[Series]:
        """The series of a table; see `recurra.data.series_of`."""
        return series_of(table_of(X), **given)

    def read(self, X: Any, transform: Any, targets: bool = False, **given: Any) -> list[Series]:
        """The series of another table with the same columns."""
        found: list[Series] = transform.series_of(table_of(X))
        return found

    def split(self, sequences: Sequence[Series], parts: Any, seed: int) -> list[Split]:
        """By time."""
        return split_by_time(sequences, parts, horizon=self.horizon)

    def transform(self, sequences: Sequence[Series], splits: Sequence[Split]) -> Features:
        """Scales, seasons, calendar; those of the model that it begins from, where there is one."""
        if self.begin is not None:
            return self.begin[1]
        return Features.fit(sequences, splits, horizon=self.horizon, seasons=self.seasons)

    def steps(self, sequence: Series, split: Split, part: str) -> tuple[int, int]:
        """Origins: all N rows after each lie in the part."""
        return split.origins(part, self.horizon)

    def truth(self, sequence: Series, start: int, stop: int) -> Floats:
        """The next N values [M, N]."""
        at = np.arange(start, stop)[:, None] + np.arange(1, self.horizon + 1)
        return np.where(at < len(sequence), sequence.target[np.minimum(at, len(sequence) - 1)], np.nan)

    def head(self, width: int, transform: Any, dropout: float) -> nn.Module:
        """Quantiles from the state, what is known ahead, and the same time one season earlier."""
        from recurra.models import ForecastHead

        sizes = transform.horizon, transform.ahead_size, transform.season_size
        return ForecastHead(width, *sizes, self.quantiles, dropout=dropout)

    def network(self, bench: Bench, recipe: Any) -> Any:
        """A recurrent encoder and the head, with the weights of the model that it begins from."""
        made = super().network(bench, recipe)
        if self.begin is not None:
            from recurra.models.network import begin_from

            begin_from(made, self.begin[0])
            made.head.k.fill_(1.0)  # it is calibrated anew
        return made

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """The pinball loss."""
        import torch

        from recurra.models import pinball

        return pinball(self._quantiles(output), targets, torch.tensor(self.quantiles))

    def calibrate(self, network: Any, output: Tensor, targets: Tensor) -> None:
        """Fit the width of the intervals, by horizon."""
        for member in network.members:
            member.head.calibrate(self._quantiles(output), targets)

    def settle(self, bench: Bench, predictor: ModelPredictor) -> None:
        """Learn how its errors on the validation part go together, and their tails."""
        pieces = bench.pieces("valid")
        every = max(1, sum(piece.stop - piece.start for piece in pieces) // MOST_ORIGINS)
        forecasts = (
            (self.truth(one, first, first + len(said))[::every], said[::every])
            for one, start, stop in pieces
            for first, said in predictor.parts(one, start, stop)
        )
        self.residuals = Residuals.fit(forecasts, self.quantiles)

    def _quantiles(self, output: Tensor) -> Tensor:
        quantiles: Tensor = output.unflatten(-1, (-1, len(self.quantiles)))
        return quantiles

    def live(self, model: Model, transform: Any) -> LiveForecaster:
        """One row in, forecasts out, for any number of series; times, gaps and announcements are understood."""
        from recurra.tasks.forecasting.live import LiveForecaster

        return LiveForecaster(model)

    def decode(self, output: Floats, transform: Any, name: str) -> Floats:
        """Quantiles [M, N, Q], relative to where the series is."""
        return output.reshape(len(output), self.horizon, len(self.quantiles))

    def answers(self, output: Floats, transform: Any, sequence: Series, start: int) -> Floats:
        """Quantiles [M, N, Q] in the target's units; of counts, counts."""
        found = transform.unscaled(sequence, start, self.decode(output, transform, sequence.name))
        possible: Floats = transform.possible(found)
        return possible

    def windows(self, bench: Bench) -> tuple[int, ...]:
        """Half, one and two of the shortest season, or of the horizon."""
        features: Any = bench.transform
        longest = max(stop - start for _, start, stop in bench.pieces("train"))
        base = features.seasons[1] if len(features.seasons) > 1 else max(self.horizon, 12)
        base = int(np.clip(base, 8, 96))
        return tuple(sorted({min(w, max(2, longest // 4)) for w in (base // 2, base, 2 * base)}))

    def errors(self, piece: Piece, answers: Floats, transform: Any) -> Floats:
        """In the target's units if there is one series, else in standard deviations of each."""
        scale = transform.scaler(piece.sequence.name).scale if transform.scalers else 1.0
        return super().errors(piece, answers, transform) / scale

    def error_name(self, bench: Bench) -> str:
        """With the horizon."""
        features: Any = bench.transform
        steps = f"{self.horizon} steps ahead"
        if features.scalers:
            return f"mean absolute error, {steps}, in standard deviations of each series"
        return f"mean absolute error of {', '.join(features.columns.targets)}, {steps}"

    def suspicions(self, bench: Bench) -> list[str]:
        """Columns that tell of the future, rows out of order."""
        features: Any = bench.transform
        return check_columns(bench.sequences, bench.splits, self.horizon, features.seasons)

    def cut(self, sequence: Series, end: int) -> Series:
        """Without the rows from `end` on."""
        arrays = {n: getattr(sequence, n)[:end] for n in ARRAYS}
        return replace(sequence, **arrays, observed=min(sequence.observed, end))

    def described(self, bench: Bench) -> dict[str, Any]:
        """Size, times, columns, parts, notes."""
        from recurra.tasks.forecasting.report import described

        return described(bench)

    def example(self, bench: Bench, predictor: Any) -> dict[str, Any]:
        """One forecast of all horizons from the middle of the test part of the first series."""
        one, start, stop = bench.pieces("test")[0]
        t = (start + stop) // 2
        forecast = predictor.predict(one, t, t + 1)[0]
        middle = forecast if forecast.ndim == 1 else forecast[:, self.middle]
        past = max(0, t + 1 - 2 * self.horizon)
        return {
            "past": _known(one.target[past : t + 1]),
            "truth": _known(one.target[t + 1 : t + 1 + self.horizon]),
            "forecast": _known(middle),
            "origin": one.clock.text(int(one.ticks[t])),
        }

    def to_dict(self) -> dict[str, Any]:
        """Horizon and levels, and what is known of the errors."""
        known = {} if self.residuals is None else {"residuals": self.residuals.to_dict()}
        return {"horizon": self.horizon, "quantiles": list(self.quantiles), **known}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        task = cls(int(described["horizon"]), described["quantiles"])
        task.residuals = residuals_of(described, task.horizon, len(task.quantiles))
        return task

    def anew(self) -> Forecast:
        """With the same horizon and levels."""
        return Forecast(self.horizon, self.quantiles, self.seasons)

    def roles_of(self, transform: Any) -> dict[str, Any]:
        """The columns."""
        c, clock = transform.columns, transform.clock
        roles = {"target": list(c.targets) if c.others else c.target, "past": c.past, "known_ahead": c.ahead}
        roles |= {"time": c.time, "series": c.series, "static": c.static}
        return roles | {"time_format": clock.form or (clock.kind if clock.kind in UNIX else None)}

    @classmethod
    def transform_from(cls, described: Mapping[str, Any]) -> Transform:
        """Features."""
        return Features.from_dict(described)

    def pack(self, sequences: Sequence[Series]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The arrays of each series; what says their meaning as JSON."""
        arrays = {f"{k}.{n}": getattr(one, n) for k, one in enumerate(sequences) for n in ARRAYS}
        first = sequences[0]
        return arrays, {
            "series": [{name: getattr(one, name) for name in SAID} for one in sequences],
            "step": first.step.to_dict(),
            "clock": first.clock.to_dict(),
            "columns": first.columns.to_dict(),
        }

    @staticmethod
    def unpack(arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> list[Series]:
        """From what `pack` gave."""
        step, clock = Step.from_dict(settings["step"]), Clock.from_dict(settings["clock"])
        columns, found = Columns.from_dict(settings["columns"]), []
        for k, one in enumerate(settings["series"]):
            ticks, target, past, ahead = (arrays[f"{k}.{n}"] for n in ARRAYS)
            said: dict[str, Any] = {name: tuple(v) if isinstance(v, (list, tuple)) else v for name, v in one.items()}
            numbers: dict[str, Any] = {"ticks": ticks, "target": target, "past": past, "ahead": ahead}
            found.append(Series(step=step, clock=clock, columns=columns, **numbers, **said))
        return found


def _known(values: Floats) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]


def table_of(data: Any) -> Table:
    """The table of a file, a frame or arrays."""
    return read_table(data) if isinstance(data, (str, Path)) else as_table(data)
