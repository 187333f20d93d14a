"""Forecasting: the next N values of a series, with the splits, features and scaling of `recurra.data`.

Letters: T rows, N horizons, I numbers that the encoder sees at a row. Every network is an encoder and the forecaster's
head (`recurra.models.ForecastHead`): what is known of each horizon, and the same time one season earlier, is there for
all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from recurra.compare.chunks import plan, rows_of
from recurra.compare.problem import Array, Problem
from recurra.data import Clock, Columns, Features, Series, Split, Step, split_by_time
from recurra.errors import CompareError
from recurra.tasks.baselines import Naive

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.compare.candidates import Candidate

LEVELS = (0.1, 0.5, 0.9)
UNITS = 16  # of the head
WARM = 2048  # rows before a part that a recurrent network reads, to have a state
MOST = {"stop": 256, "valid": 1024, "test": 4096}  # origins at which errors are measured: for early stopping, and after
PIECE = 256  # origins that are forecast at a time

Origins = tuple[int, Array]  # a series by number, and rows of it


@dataclass(frozen=True)
class Ahead(Problem):
    """Series to forecast.

    Attributes:
        series, splits: as `recurra.data` gives them.
        features: fitted on the training part.
        allowed: the windows to choose from, in rows.
    """

    series: tuple[Series, ...]
    splits: tuple[Split, ...]
    features: Features
    allowed: tuple[int, ...]
    task: ClassVar[str] = "forecast"

    @property
    def metric(self) -> str:  # type: ignore[override]
        """The unit of errors."""
        where = f"{self.features.horizon} steps ahead"
        if len(self.series) == 1:
            return f"mean absolute error of {self.features.columns.target}, {where}"
        return f"mean absolute error, {where}, in standard deviations of each series"

    @property
    def input_size(self) -> int:  # type: ignore[override]
        """I."""
        return self.features.input_size

    @property
    def windows(self) -> tuple[int, ...]:  # type: ignore[override]
        """In rows."""
        return self.allowed

    def tuning_part(self) -> Ahead:
        """Without the rows of the test part."""
        cut = tuple(_cut(one, split.valid_end) for one, split in zip(self.series, self.splits, strict=True))
        splits = tuple(replace(split, end=split.valid_end) for split in self.splits)
        return replace(self, series=cut, splits=splits)

    def described(self) -> dict[str, Any]:
        """Rows, columns, step, seasons, parts."""
        f, c = self.features, self.features.columns
        return {
            "series": len(self.series),
            "rows": sum(len(one) for one in self.series),
            "target": c.target,
            "past": list(c.past),
            "known_ahead": list(c.ahead),
            "step": str(f.step),
            "seasons": list(f.seasons[1:]),
            "horizon": f.horizon,
            "parts": {p: sum(b - a for a, b in (s.part(p) for s in self.splits)) for p in ("train", "valid", "test")},
            "notes": [note for one in self.series for note in one.notes],
        }

    def pack(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """The arrays of each series; what says their meaning as JSON."""
        arrays = {
            f"{k}.{n}": getattr(one, n)
            for k, one in enumerate(self.series)
            for n in ("ticks", "target", "past", "ahead")
        }
        first = self.series[0]
        return arrays, {
            "series": [{"name": one.name, "observed": one.observed, "notes": list(one.notes)} for one in self.series],
            "step": first.step.to_dict(),
            "clock": first.clock.to_dict(),
            "columns": first.columns.to_dict(),
            "splits": [[s.train_end, s.valid_end, s.end] for s in self.splits],
            "features": self.features.to_dict(),
            "allowed": list(self.allowed),
        }

    @classmethod
    def unpack(cls, arrays: Mapping[str, Array], settings: Mapping[str, Any]) -> Ahead:
        """From what `pack` gave."""
        step, clock = Step.from_dict(settings["step"]), Clock.from_dict(settings["clock"])
        columns = Columns.from_dict(settings["columns"])
        series = tuple(
            Series(
                name=one["name"],
                **{n: arrays[f"{k}.{n}"] for n in ("ticks", "target", "past", "ahead")},
                observed=one["observed"],
                step=step,
                clock=clock,
                columns=columns,
                notes=tuple(one["notes"]),
            )
            for k, one in enumerate(settings["series"])
        )
        splits = tuple(Split(*ends) for ends in settings["splits"])
        return cls(series, splits, Features.from_dict(settings["features"]), tuple(settings["allowed"]))

    def head(self, width: int) -> nn.Module:
        """The forecaster's."""
        from recurra.models import ForecastHead

        f = self.features
        return ForecastHead(width, f.horizon, f.ahead_size, f.season_size, LEVELS, units=UNITS)

    def origins(self, part: str, most: int | None = None) -> list[Origins]:
        """The rows of a part to forecast from; evenly spaced where there are more than `most`.

        The spacing shares no divisor with any season, so that every time of day comes.
        """
        ranges = [split.origins(part, self.features.horizon) for split in self.splits]
        total, every = sum(b - a for a, b in ranges), 1
        if most is not None:
            every = max(1, math.ceil(total / most))
            while any(math.gcd(every, season) > 1 for season in self.features.seasons[1:]):
                every += 1
        return [(k, np.arange(a, b, every)) for k, (a, b) in enumerate(ranges) if b > a]

    def updates(self, network: Any) -> int:
        """Steps of the optimizer in an epoch."""
        return len(list(plan(self, network, np.random.default_rng(0))))

    def steps(self, network: Any, rng: np.random.Generator) -> Iterator[Callable[[], Tensor]]:
        """The losses of an epoch: every training origin is in one of them, whatever the network is."""
        import torch

        from recurra.models import pinball

        encoder, levels, state = network.encoder, torch.tensor(LEVELS), None
        lead = encoder.context - 1 if encoder.context and not encoder.dense else 0
        for chunks, fresh in plan(self, network, rng):
            rows, y = rows_of(self, chunks, lead)

            def step(rows: Tensor = rows, y: Tensor = y, fresh: Array = fresh) -> Tensor:
                nonlocal state
                begin = None if encoder.context or state is None else _kept(state, fresh)
                h, state = encoder(rows[..., : self.input_size], begin)
                beside = rows[lead:, :, self.input_size :]
                return pinball(network.head(network.dropout(h[lead:]), beside), y, levels)

            yield step

    def quantiles(self, network: Any, k: int, origins: Array, context: int | None = None) -> Array:
        """Scaled forecasts [origins, N, Q]; with `context`, from so many rows before each origin alone."""
        import torch

        f, one = self.features, self.series[k]
        parts = []
        with torch.inference_mode():
            for some in np.array_split(origins, math.ceil(len(origins) / PIECE)):
                h = self.states(network, one, some, context)
                first = int(some[0])
                beside = f.rows(one, first, int(some[-1]) + 1)[some - first, f.input_size :]
                parts.append(network.head(h, torch.from_numpy(beside)).numpy())
        return np.concatenate(parts)

    def states(self, network: Any, one: Series, origins: Array, context: int | None) -> Tensor:
        """The features of the encoder at each origin, [origins, H]."""
        import torch

        f, encoder = self.features, network.encoder
        seen = context or encoder.context
        if seen:
            first = max(0, int(origins[0]) - seen + 1)
            rows = f.rows(one, first, int(origins[-1]) + 1)[:, : self.input_size]
            lengths = np.minimum(origins + 1, seen)
            at = origins[None] - lengths[None] + 1 + np.arange(seen)[:, None]
            windows = rows[np.clip(at - first, 0, len(rows) - 1)]
            result: Tensor = encoder.last(torch.from_numpy(windows), torch.from_numpy(lengths))
            return result
        start = max(0, int(origins[0]) - WARM)
        rows = f.rows(one, start, int(origins[-1]) + 1)[:, : self.input_size]
        h: Tensor = encoder(torch.from_numpy(np.ascontiguousarray(rows))[:, None])[0]
        return h[origins - start, 0]

    def loss_of(self, network: Any, part: str) -> float:
        """The pinball loss at some origins."""
        import torch

        from recurra.models import pinball

        losses, weights = [], []
        for k, origins in self.origins(part, MOST["stop"]):
            y = self.truth(k, origins)
            q = torch.from_numpy(self.quantiles(network, k, origins))
            losses.append(float(pinball(q, torch.from_numpy(y), torch.tensor(LEVELS))))
            weights.append(len(origins))
        return float(np.average(losses, weights=weights))

    def evaluations(self, parts: Sequence[str]) -> float:
        """In origins."""
        counts = {part: sum(len(o) for _, o in self.origins(part, MOST[part])) for part in parts}
        return sum(counts.values()) / sum(len(o) for _, o in self.origins("valid", MOST["stop"]))

    def evaluate(self, network: Any, part: str) -> Array:
        """The mean absolute error of each stretch of twice the horizon."""
        return self._errors(part, lambda k, origins: self.quantiles(network, k, origins)[..., len(LEVELS) // 2])

    def _errors(self, part: str, forecast: Callable[[int, Array], Array]) -> Array:
        """Of each stretch of origins; `forecast` gives scaled values [origins, N]."""
        units = []
        for k, origins in self.origins(part, MOST[part]):
            error = np.abs(self.truth(k, origins) - forecast(k, origins)) * self.scale(k)
            stretch = (origins - origins[0]) // (2 * self.features.horizon)
            units += [float(np.nanmean(e)) for e in np.split(error, np.flatnonzero(np.diff(stretch)) + 1) if _any(e)]
        return np.array(units)

    def scale(self, k: int) -> float:
        """What scaled errors of a series are multiplied by: its unit if there is one series, else 1."""
        return self.features.scaler(self.series[k].name).scale if len(self.series) == 1 else 1.0

    def truth(self, k: int, origins: Array) -> Array:
        """The scaled targets [origins, N] of rows that rise."""
        first = int(origins[0])
        y: Array = self.features.targets(self.series[k], first, int(origins[-1]) + 1)[origins - first]
        return y

    def fit_plain(self, candidate: Candidate, params: Mapping[str, Any]) -> Callable[[int, Array], Array]:
        """The last value, the best season, or a ridge regression, as a function that gives scaled forecasts."""
        if candidate.kind == "linear":
            from recurra.compare.linear import fit_linear

            return fit_linear(self, params["window"], params["alpha"])
        seasons = self.features.seasons[:1] if candidate.name == "last" else self.features.seasons[1:]
        if not seasons:
            raise CompareError("no season was found in the training part, so there is none to repeat")
        tried = [_Again(self, season) for season in seasons]
        return min(tried, key=lambda one: float(self._errors_in_training(one).mean()))

    def _errors_in_training(self, forecast: Callable[[int, Array], Array]) -> Array:
        late = [(k, o[o >= max(self.features.seasons)]) for k, o in self.origins("train", MOST["valid"])]
        means = [np.abs(self.truth(k, o) - forecast(k, o)) for k, o in late if len(o)]
        return np.array([np.nanmean(m) for m in means]) if means else np.array([math.inf])

    def evaluate_plain(self, fitted: Any, part: str) -> Array:
        """As `evaluate`."""
        return self._errors(part, fitted)

    def count_plain(self, fitted: Any) -> int:
        """The coefficients."""
        return int(getattr(fitted, "parameters", 0))

    def example(self, predictor: Any) -> dict[str, Any]:
        """One forecast of all horizons from the middle of the test part of the first series."""
        k, origins = self.origins("test")[0]
        at = origins[len(origins) // 2 : len(origins) // 2 + 1]
        z = predictor(k, at) if callable(predictor) and not hasattr(predictor, "encoder") else None
        z = self.quantiles(predictor, k, at)[..., len(LEVELS) // 2] if z is None else z
        one, t, N = self.series[k], int(at[0]), self.features.horizon
        past = max(0, t + 1 - 2 * N)
        return {
            "past": _plain(one.target[past : t + 1]),
            "truth": _plain(one.target[t + 1 : t + 1 + N]),
            "forecast": self.features.unscale(one.name, z[0]).tolist(),
            "origin": one.clock.text(int(one.ticks[t])),
        }


class _Again:
    """The same value one season earlier, scaled."""

    def __init__(self, problem: Ahead, season: int) -> None:
        self.problem, self.naive = problem, Naive(problem.features.horizon, season, problem.features.step)

    def __call__(self, k: int, origins: Array) -> Array:
        one, first = self.problem.series[k], int(origins[0])
        values = self.naive.forecast(one, first, int(origins[-1]) + 1)[origins - first]
        scaled: Array = self.problem.features.scaler(one.name).many(values)
        return scaled


def ahead(
    series: Sequence[Series], horizon: int, seasons: str | Sequence[int] = "auto", parts: Any = (0.70, 0.15, 0.15)
) -> Ahead:
    """Split by time, and learn features from the training part.

    Raises:
        DataError: see `recurra.data.split_by_time` and `Features.fit`.
    """
    splits = split_by_time(series, parts, horizon=horizon)
    features = Features.fit(series, splits, horizon=horizon, seasons=seasons)
    longest = max(len(range(*split.origins("train", horizon))) for split in splits)
    base = features.seasons[1] if len(features.seasons) > 1 else max(horizon, 12)
    base = int(np.clip(base, 8, 96))
    allowed = tuple(sorted({min(w, max(2, longest // 4)) for w in (base // 2, base, 2 * base)}))
    return Ahead(tuple(series), tuple(splits), features, allowed)


def _cut(one: Series, end: int) -> Series:
    arrays = {n: getattr(one, n)[:end] for n in ("ticks", "target", "past", "ahead")}
    return replace(one, **arrays, observed=min(one.observed, end))


def _kept(state: Any, fresh: Array) -> Any:
    """The states of an earlier chunk, cut from their graph; zero for rows that begin anew. [L, B, H] each."""
    import torch

    keep = torch.from_numpy(~fresh)[:, None]
    if isinstance(state, tuple):
        return tuple(_kept(s, fresh) for s in state)
    return state.detach() * keep


def _any(error: Array) -> bool:
    return bool(np.isfinite(error).any())


def _plain(values: Array) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
