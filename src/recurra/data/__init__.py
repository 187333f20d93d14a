"""From a table of numbers to the rows that a network reads, without leakage; NumPy and the standard library only.

Frames need narwhals and Parquet files PyArrow, imported when they are used.

>>> import numpy as np
>>> from recurra.data import Features, as_table, series_of, split_by_time
>>> series = series_of(as_table({"month": np.arange("2000-01", "2020-01", dtype="M8[M]"), "y": np.arange(240.0)}), "y",
...     time="month")
>>> splits = split_by_time(series, horizon=6)
>>> features = Features.fit(series, splits, horizon=6)
>>> str(series[0].step), splits[0], features.rows(series[0], 0, 100).shape
('1 month', Split(train_end=168, valid_end=204, end=240), (100, 58))
"""

from recurra.data.forecasting.calendar import Calendar
from recurra.data.forecasting.clock import Clock
from recurra.data.forecasting.features import Features
from recurra.data.forecasting.live import LiveFeatures
from recurra.data.forecasting.seasons import find_seasons
from recurra.data.forecasting.series import Columns, Series, series_of
from recurra.data.forecasting.step import Step
from recurra.data.readers import read_table
from recurra.data.scale import Scaler
from recurra.data.split import Split, check_horizon, split_by_time
from recurra.data.table import Table, as_table

__all__ = [
    "Calendar",
    "Clock",
    "Columns",
    "Features",
    "LiveFeatures",
    "Scaler",
    "Series",
    "Split",
    "Step",
    "Table",
    "as_table",
    "check_horizon",
    "find_seasons",
    "read_table",
    "series_of",
    "split_by_time",
]
