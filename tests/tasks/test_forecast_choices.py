"""What a fit decides on the way: how much context validation has, how wide intervals are, which penalty is taken."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import generator
from recurra import Forecaster

T, N = 300, 5
TRAIN, VALID = 210, 255  # where the parts end: 70 and 85 % of the rows


def drifting() -> np.ndarray:
    """A slow level under noise: what comes next hangs on much of the past."""
    rng = generator("drifting")
    level = np.cumsum(0.3 * rng.normal(size=T))
    return level + rng.normal(size=T)


def origins(first: int, last: int) -> np.ndarray:
    """The rows of a part from which the next N steps lie in it too."""
    return np.arange(first, last - N)


def forecasts(f: Forecaster, quantile: str) -> np.ndarray:
    """After every row, [T, N]."""
    return np.asarray(f.predict(origins="all")[quantile]).reshape(T, N)


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return Forecaster(horizon=N, hidden=8, epochs=3, seasons=(12,), refit="train").fit({"y": drifting()}, "y")


def test_validation_has_the_rows_before_it_as_context(fitted: Forecaster) -> None:
    """The error that stopped training is that of forecasts made with all of the past."""
    rows = origins(TRAIN, VALID)
    targets = drifting()[rows[:, None] + 1 + np.arange(N)]
    error = np.abs(targets - forecasts(fitted, "q0.5")[rows]).mean()
    best = fitted.history_.epochs[fitted.history_.best_epoch - 1]
    assert best["valid_mae"] == pytest.approx(error, rel=1e-5)


def test_intervals_are_calibrated_on_the_validation_part(fitted: Forecaster) -> None:
    """There, each quantile has its share below it, which after three epochs nothing but calibration can do."""
    rows = origins(TRAIN, VALID)
    targets = drifting()[rows[:, None] + 1 + np.arange(N)]
    for quantile, share in (("q0.1", 0.1), ("q0.9", 0.9)):
        below = (targets < forecasts(fitted, quantile)[rows]).mean()
        assert below == pytest.approx(share, abs=0.02)


def test_the_linear_baseline_takes_the_penalty_that_validates_best() -> None:
    """In pure noise there is nothing to learn: the largest penalty, which keeps to the mean, is the right one."""
    noise = generator("noise").normal(size=T)
    f = Forecaster(horizon=N, hidden=2, epochs=1, seasons=(60,), refit="train").fit({"y": noise}, "y")
    linear = next(row for row in f.report_["table"] if row["kind"] == "linear")
    rows = origins(VALID, T)
    mean = np.abs(noise[rows[:, None] + 1 + np.arange(N)] - noise[:TRAIN].mean()).mean()
    assert linear["mae"] < 1.03 * mean
