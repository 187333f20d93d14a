"""The law of the live rows: those of a batch, to the last bit, wherever values are missing or unknown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.data import Features, as_table, series_of, split_by_time
from recurra.errors import DataError

CLOCKS = {
    "none": lambda T: None,
    "half-hours": lambda T: np.datetime64("2023-12-30T22:30:00") + 1800 * np.arange(T),
    "days": lambda T: np.datetime64("2023-11-01", "s") + 86400 * np.arange(T),
    "months": lambda T: (np.datetime64("1999-11", "M") + np.arange(T)).astype("M8[s]"),
    "Fridays too": lambda T: np.busday_offset("2023-11-01", np.arange(T)).astype("M8[s]"),
    "years": lambda T: 1900 + np.arange(T),
}


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype == np.float32 and a.shape == b.shape and a.tobytes() == b.tobytes()


@st.composite
def tables(draw):
    """A table with missing values, and what features to make of it."""
    T, P, K = draw(st.integers(33, 120)), draw(st.integers(0, 2)), draw(st.integers(0, 2))
    horizon, clock = draw(st.integers(1, 4)), draw(st.sampled_from(sorted(CLOCKS)))
    seasons = draw(st.lists(st.integers(2, 11), unique=True, max_size=2))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    columns = {"y": 100 + 3 * rng.normal(size=T)}
    columns |= {f"p{i}": rng.normal(size=T) for i in range(P)} | {f"a{i}": rng.normal(size=T) for i in range(K)}
    for name, column in columns.items():
        column[rng.random(T) < draw(st.sampled_from([0, 0.1, 0.6]))] = np.nan
        if name.startswith("a") and draw(st.booleans()):
            column[-draw(st.integers(1, 12)) :] = np.nan
    columns["y"][3:5] = 100, 101
    times = CLOCKS[clock](T)
    if times is not None:
        columns["time"] = times
    past, ahead = [n for n in columns if n[0] == "p"], [n for n in columns if n[0] == "a"]
    series = series_of(as_table(columns), "y", past=past, known_ahead=ahead)
    splits = split_by_time(series, (0.6, 0.2, 0.2), horizon=horizon)
    return series[0], Features.fit(series, splits, horizon=horizon, seasons=seasons)


def pushed(live, series, start, stop):
    return [live.push(series.ticks[t], series.target[t], series.past[t], series.ahead[t]) for t in range(start, stop)]


@given(tables(), st.integers(0, 40), st.booleans())
def test_a_live_row_is_the_batchs_row(made, cut, moved) -> None:
    series, features = made
    features = Features.from_dict(features.to_dict())
    live, order = features.live(series.name), np.arange(len(series))
    for t in np.random.default_rng(cut).permutation(order) if moved else order:  # all is announced, in any order
        if np.isfinite(series.ahead[t]).any():
            live.announce(series.ticks[t], series.ahead[t])
    cut = min(cut, len(series))
    rows = pushed(live, series, 0, cut)
    state, live = live.state(), features.live(series.name)
    live.restore(state)
    rows += pushed(live, series, cut, len(series))
    assert same(np.stack(rows), features.rows(series, 0, len(series)))
    assert same(np.stack(rows)[cut:], features.rows(series, cut, len(series)))


@given(tables(), st.integers(1, 30))
def test_a_later_announcement_is_as_good_as_an_early_one(made, known) -> None:
    """At row t only the next `known` rows are announced; the batch sees the same where it knows no more."""
    series, features = made
    live, N = features.live(), features.horizon
    whole = features.rows(series, 0, len(series))
    for t in range(len(series)):
        for j in range(t, min(t + known + 1, len(series))) if t == 0 else [t + known]:
            if j < len(series) and j > 0:
                live.announce(series.ticks[j], series.ahead[j])
        row = pushed(live, series, t, t + 1)[0]
        if known >= N:
            assert same(row, whole[t])
        else:
            cut = series_of_known(series, t + known + 1)
            assert same(row, features.rows(cut, t, t + 1)[0])


def series_of_known(series, end):
    from dataclasses import replace

    ahead = series.ahead.copy()
    ahead[end:] = np.nan
    return replace(series, ahead=ahead)


def test_the_order_of_rows_is_kept() -> None:
    series = series_of(
        as_table({"time": np.datetime64("2024-01-01T00:00:00") + 60 * np.arange(99), "y": np.arange(99.0)}), "y"
    )
    live = Features.fit(series, split_by_time(series), horizon=2).live()
    live.push(series[0].ticks[0], 1.0)
    with pytest.raises(DataError, match=r"the row is of 2024-01-01T00:02:00, expected 2024-01-01T00:01:00"):
        live.push(series[0].ticks[2], 1.0)
    live.push(series[0].ticks[1], 1.0)
