"""What a live forecaster answers, and what a model's file says of its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.features import Features
from recurra.errors import DataError, ModelFileError, SettingError
from recurra.tasks.forecasting.residuals import Residuals


@dataclass(frozen=True)
class Forecast:
    """What follows one observation.

    Attributes:
        series: the name of the series, "" where there is only one.
        origin: the time of the observation, as text.
        quantiles: float64 [N, Q], in the target's units; of several targets [targets, N, Q], in their order.
        levels: the Q levels of the quantiles.
        seconds: what it took, from the row to the forecast.
    """

    series: str
    origin: str
    quantiles: NDArray[np.float64]
    levels: tuple[float, ...]
    seconds: float
    _tick: int = field(repr=False)
    _features: Features = field(repr=False)
    _residuals: Residuals | None = field(default=None, repr=False)

    @property
    def time(self) -> NDArray[Any]:
        """The N times that are forecast: datetime64[s] (UTC where the data's times have a zone) or int64."""
        f = self._features
        return f.clock.array(f.step.add(self._tick, np.arange(1, f.horizon + 1)))

    def paths(self, count: int = 100, seed: int = 0) -> NDArray[np.float64]:
        """Whole futures [count, N], each as likely as any other; of several targets [targets, count, N]. See
        `Forecaster.paths`.

        Raises:
            SettingError: the count is out of range, or the model does not know how its errors go together.
        """
        known = known_residuals(self._residuals)
        if self.quantiles.ndim == 2:
            return self._features.possible(known.paths(self.quantiles, self.levels, count, seed))
        each = [known.paths(one, self.levels, count, seed) for one in self.quantiles]
        return self._features.possible(np.stack(each))


def residuals_of(described: Mapping[str, Any], horizon: int, levels: int) -> Residuals | None:
    """What a model's preprocessing says of its errors; None of models of earlier versions.

    Raises:
        ModelFileError: it is unreadable.
    """
    said = described.get("residuals")
    try:
        return None if said is None else Residuals.from_dict(said, horizon, levels)
    except (DataError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(f"what the model knows of its errors is unreadable ({error}): save it again") from error


def known_residuals(residuals: Residuals | None) -> Residuals:
    """Or SettingError where there are none."""
    if residuals is None:
        raise SettingError("the model does not know how its errors go together: fit it anew, with this version")
    return residuals
