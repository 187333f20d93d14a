"""Times that have a zone come back with it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recurra.data import as_table
from recurra.tasks.forecasting.forecaster import Forecaster
from tasks.networks import forecaster


def fitted(frame: object, zone: str | None = None) -> Forecaster:
    """A forecaster whose network has random weights."""
    table = as_table(frame)
    model, _ = forecaster(table, zone=zone)
    return Forecaster.of_model(model)


def frame(index: pd.DatetimeIndex) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = len(index)
    return pd.DataFrame(
        {"time": index, "y": rng.normal(size=n), "temperature": rng.normal(size=n), "holiday": rng.integers(0, 2, n)}
    )


@pytest.mark.parametrize("zone", ["America/New_York", "UTC", "+05:30"])
@pytest.mark.parametrize("freq", ["h", "D"])
def test_forecasts_follow_the_last_row_in_its_zone(zone, freq) -> None:
    """Over the night when clocks change, for a column, an index, another zone of the frame, Polars, and texts."""
    index = pd.date_range("2023-03-05" if freq == "h" else "2023-01-01", periods=180, freq=freq, tz=zone)
    data, f = frame(index), fitted(frame(index))
    wanted = [index[-1] + n * index.freq for n in range(1, 6)]
    for given in (data, data.set_index("time")):
        out = f.predict(given)
        assert list(out["time"]) == wanted
        assert list(out["origin"]) == [index[-1]] * 5
        assert out["time"].dt.tz == index.tz
    if freq == "h":
        other = f.predict(frame(index.tz_convert("Asia/Tokyo")))
        assert list(other["time"]) == wanted
        assert str(other["time"].dt.tz) == "Asia/Tokyo"
    if zone == "America/New_York":
        assert f.predict(pl.DataFrame(data))["time"].to_list() == wanted
    texts = f.predict(data.assign(time=[str(t) for t in index.tz_localize(None)]))
    assert list(texts["time"]) == wanted
    assert str(texts["time"].dt.tz) in (zone, f"UTC{zone}")


def test_times_without_a_zone_have_none() -> None:
    index = pd.date_range("2023-03-05", periods=180, freq="h")
    out = fitted(frame(index)).predict(frame(index))
    assert out["time"].iloc[0] == index[-1] + index.freq
    assert out["time"].dt.tz is None
