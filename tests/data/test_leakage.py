"""What is learned comes from the training part alone, and a row knows nothing of what comes after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import generator
from recurra.data import Features, Scaler, Split, as_table, find_seasons, series_of, split_by_time
from recurra.data.forecasting.step import Step
from recurra.errors import DataError


def made(T=400, shops=("a", "b"), seed=0):
    """Series with a day of 24 hours, of different levels, with a past and two known-ahead columns."""
    rng, n = generator("leak", seed), len(shops)
    hour = np.repeat(np.arange(T), n)
    level = np.tile(np.linspace(10, 1000, n), T)
    table = {
        "time": np.datetime64("2024-01-05T03:00:00") + 3600 * hour,
        "shop": np.array(list(shops) * T, dtype=object),
        "y": level * (2 + np.sin(hour / 24 * 2 * np.pi)) + rng.normal(size=n * T),
        "p": rng.normal(5, 3, n * T),
        "h": rng.integers(0, 2, n * T).astype(float),
        "q": np.where(rng.random(n * T) < 0.1, np.nan, rng.normal(size=n * T)),
    }
    return series_of(as_table(table), "y", past="p", known_ahead=["h", "q"], series="shop")


@given(st.integers(0, 5), st.sampled_from([0.0, 1e9, np.nan]))
def test_rows_after_the_training_part_teach_nothing(seed, poison) -> None:
    series = made(seed=seed)
    splits = split_by_time(series, horizon=5)
    clean = Features.fit(series, splits, horizon=5)
    planted = []
    for one, split in zip(series, splits, strict=True):
        target, past, ahead = one.target.copy(), one.past.copy(), one.ahead.copy()
        for array in (target, past, ahead):
            array[split.train_end :] = poison
        planted.append(replace(one, target=target, past=past, ahead=ahead))
    assert Features.fit(planted, splits, horizon=5).to_dict() == clean.to_dict()
    assert clean.seasons == (1, 24)
    last = [replace(one, target=one.target * np.where(np.arange(400) == split.train_end - 1, 2, 1)) for one, split in
            zip(series, splits, strict=True)]  # fmt: skip
    assert Features.fit(last, splits, horizon=5).to_dict() != clean.to_dict()  # the last row of training does teach


@given(st.integers(0, 5), st.integers(1, 398))
def test_a_row_knows_nothing_of_later_targets(seed, t) -> None:
    series = made(seed=seed)
    features = Features.fit(series, split_by_time(series, horizon=5), horizon=5)
    one = series[1]
    later = replace(one, target=one.target.copy(), past=one.past.copy())
    later.target[t + 1 :] *= -3
    later.past[t + 1 :] = 1e6
    assert features.rows(one, 0, t + 1).tobytes() == features.rows(later, 0, t + 1).tobytes()
    now = replace(one, target=one.target.copy())
    now.target[t] *= 2
    assert features.rows(one, t, t + 1).tobytes() != features.rows(now, t, t + 1).tobytes()


def test_rows_by_their_definition() -> None:
    """Every number of some rows, by the docstring and nothing else."""
    one = made(T=600, shops=("a",))[0]
    one = replace(one, target=one.target + np.arange(600))  # a level that leaves where it was
    features = Features.fit([one], split_by_time([one], horizon=30), horizon=30, seasons=(7, 24))
    I, F, N = features.input_size, features.ahead_size, 30
    names = features.names
    z = (one.target - features.pooled.center) / features.pooled.scale
    assert features.anchor is not None
    assert features.trend is not None
    lag = features.anchor.lag
    assert lag == 15
    spread = np.abs(z[lag:420] - z[: 420 - lag]).mean()
    spreads = []  # of 600 rows, 70 % of them for training
    for t in range(600):
        spread += (np.abs(z[t] - z[t - lag]) - spread) / features.anchor.memory if t >= lag else 0
        spreads.append(spread)
    for t in (40, 101, 560):
        row = features.rows(one, t, t + 1)[0]
        assert len(row) == features.row_size == I + N * (F + 4)
        beside = row[I:].reshape(N, F + 4)
        values = dict(zip(names, [*row[:I], *beside[4]], strict=True))
        assert values["y"] == pytest.approx((z[t] - z[t - 1]) / spreads[t], abs=1e-5)
        assert values["level of y"] == pytest.approx(np.clip(z[t], -3, 3), abs=1e-6)
        assert values["y missing"] == 0
        assert values["y less 24 before"] == pytest.approx((z[t] - z[t - 24]) / spreads[t], abs=1e-5)
        assert values["y less 15 before, the half of a horizon"] == pytest.approx(
            (z[t] - z[t - 15]) / spreads[t], abs=1e-5
        )
        assert values["p"] == pytest.approx((one.past[t, 0] - features.past[0].center) / features.past[0].scale)
        assert values["h to come"] == pytest.approx(
            (one.ahead[t + 5, 0] - features.ahead[0].center) / features.ahead[0].scale
        )
        assert values["q unknown to come"] == np.isnan(one.ahead[t + 5, 1])
        wall = one.time[t + 5].astype(object)
        assert values["sin1 of day to come"] == pytest.approx(np.sin(2 * np.pi * wall.hour / 24), abs=1e-6)
        assert values["cos2 of week to come"] == pytest.approx(np.cos(4 * np.pi * wall.weekday() / 7), abs=1e-6)
        for n in range(1, N + 1):
            for k, season in enumerate((1, 7, 24)):
                at = t + n - season * int(np.ceil(n / season))
                assert beside[n - 1, F + k] == pytest.approx((z[at] - z[t]) / spreads[t], abs=1e-5)
        count = features.trend.lags
        lags = np.array([z[t - k] if t >= k else z[t] for k in range(count)][::-1])
        got = features.trend.weights @ ((lags - z[t]) / spreads[t])
        assert beside[:, F + 3] == pytest.approx(got, abs=1e-4)
        want = (z[t + 1 : t + 1 + N] - z[t]) / spreads[t]
        assert features.targets(one, t, t + 1)[0][: len(want)] == pytest.approx(want, abs=1e-5)
        back = features.unscaled(one, t, features.targets(one, t, t + 1))[0][: len(want)]
        assert back == pytest.approx(one.target[t + 1 : t + 1 + N], rel=1e-5)
    assert np.isnan(features.targets(one, 590, 600)[5, 4:]).all()


def test_each_series_has_its_scale_and_a_new_one_that_of_all() -> None:
    series = made()
    features = Features.fit(series, split_by_time(series, horizon=5), horizon=5)
    assert features.scaler("a") != features.scaler("b")
    assert features.scaler("new") == features.pooled
    for name in ("a", "b", "new"):
        back = features.unscale(name, features.scaler(name).many(np.array([3.0, 700.0])))
        assert back == pytest.approx([3, 700], rel=1e-4)


def test_the_parts() -> None:
    (one,) = made(T=100, shops=("a",))
    split = split_by_time([one], (0.5, 0.25, 0.25), horizon=4)[0]
    assert split == Split(50, 75, 100)
    assert [split.origins(name, 4) for name in ("train", "valid", "test")] == [(0, 46), (50, 71), (75, 96)]


def test_there_may_be_no_test_part() -> None:
    series = made(T=100, shops=("a", "b"))
    for some in (series[:1], series):
        splits = split_by_time(some, (0.75, 0.25, 0.0), horizon=4)
        assert {(split.train_end, split.valid_end, split.end) for split in splits} == {(75, 100, 100)}
    with pytest.raises(DataError, match="valid part has 25, expected more than 40: give about 164 rows"):
        split_by_time(series, (0.75, 0.25, 0.0), horizon=40)
    with pytest.raises(DataError, match="expected three shares"):
        split_by_time(series, (1.0, 0.0, 0.0), horizon=4)


def test_series_are_cut_at_the_same_times() -> None:
    """A series that ended early is all training; one that began late has as much test as the others."""
    start = np.datetime64("2024-01-01")
    spans = {"old": (0, 60), "whole": (0, 100), "new": (50, 100)}
    rows = [(start + day, name, float(day % 7)) for name, (a, b) in spans.items() for day in range(a, b)]
    time, shop, y = (np.array(column) for column in zip(*rows, strict=True))
    series = series_of(as_table({"time": time, "shop": shop.astype(object), "y": y}), "y", series="shop")
    splits = dict(zip(spans, split_by_time(series, horizon=3), strict=True))
    cuts = {name: [str(one.time[min(e, len(one) - 1)])[:10] for e in (splits[name].train_end, splits[name].valid_end)]
            for name, one in zip(spans, series, strict=True)}  # fmt: skip
    assert cuts["whole"] == cuts["new"]
    assert splits["old"].train_end == splits["old"].end == 60
    share = sum(s.train_end for s in splits.values()) / 210
    assert share == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize(
    ("rows", "horizon", "message"),
    [
        (
            20,
            9,
            "20 rows are too few for a horizon of 9: the valid part has 3, expected more than 9: give about 67 rows",
        ),
        (3, 1, "3 rows are too few for a horizon of 1"),
        (100, 0, "the horizon is 0, expected a whole number of steps from 1 to 10000"),
        (100, 10**9, "the horizon is 1000000000, expected"),
        (100, 1.5, "the horizon is 1.5, expected"),
    ],
)
def test_too_few_rows_for_the_horizon(rows, horizon, message) -> None:
    series = series_of(as_table({"y": np.arange(float(rows))}), "y")
    with pytest.raises(DataError) as error:
        split_by_time(series, horizon=horizon)
    assert message in str(error.value)


def test_the_rows_and_the_horizon_that_the_message_advises_do() -> None:
    series = series_of(as_table({"y": np.arange(67.0)}), "y")
    split_by_time(series, horizon=9)
    series = series_of(as_table({"y": np.arange(20.0)}), "y")
    with pytest.raises(DataError, match="or a horizon of at most 2"):
        split_by_time(series, horizon=9)
    split_by_time(series, horizon=2)


def test_seasons_that_are_there_are_found_and_others_are_not() -> None:
    rng, t = generator("seasons"), np.arange(3000)
    day, week = np.sin(t / 24 * 2 * np.pi), np.where(t // 24 % 7 < 5, 2.0, 0.0)
    noise, hours = 0.3 * rng.normal(size=3000), Step(3600, "second")
    assert find_seasons([day + week + noise], hours) == (24, 168)
    assert find_seasons([day + noise], hours) == (24,)
    assert find_seasons([noise], hours) == ()
    assert find_seasons([np.cumsum(noise)], hours) == ()
    assert find_seasons([(day + week + noise)[:200]], hours) == (24,)  # not two weeks
    assert find_seasons([day + week + noise], Step(1, "row")) == (24, 168)
    assert find_seasons([noise], Step(1, "row")) == ()
    assert find_seasons([np.cumsum(noise)], Step(1, "row")) == ()
    month = 0.01 * t[:120] + np.sin(t[:120] / 12 * 2 * np.pi)
    assert find_seasons([month], Step(1, "month")) == (12,)
    holes = np.where(rng.random(3000) < 0.3, np.nan, day + noise)
    assert find_seasons([holes, holes[:30]], hours) == (24,)


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e9), st.floats(-1e15, 1e15))
def test_one_number_and_many_are_scaled_to_the_same_bits(center, scale, y) -> None:
    scaler = Scaler(center, scale)
    assert np.float32(scaler.one(y)) == scaler.many(np.array([y] * 17))[3]
    if abs(scaler.one(y)) < 1e6:
        assert scaler.undo(np.array([scaler.one(y)]))[0] == pytest.approx(y, rel=1e-6, abs=1e-6 * (abs(center) + scale))


def test_a_broken_sensor_is_bounded() -> None:
    scaler = Scaler(0.0, 1.0)
    assert scaler.many(np.array([1e300, -1e300])).tolist() == [1e6, -1e6]
    assert scaler.one(1e300) == 1e6
    assert np.isnan(scaler.one(np.nan))


HOSTILE = [
    ("seasons", [1, 10**9]), ("seasons", [1, 2.5]), ("seasons", []), ("seasons", "auto"), ("horizon", -1),
    ("horizon", 10**9), ("ahead_season", 10**9), ("calendar", ["day", "day"]), ("calendar", ["aeon"]), ("step", {}),
    ("step", {"count": 0, "unit": "second", "day": 1}), ("step", {"count": 1, "unit": "fortnight", "day": 1}),
    ("clock", {"kind": "time", "zone": "Nowhere/Land", "dates": False}), ("clock", 7), ("past", []),
    ("pooled", {"center": 0, "scale": 0}), ("pooled", {"center": None, "scale": 1}), ("ahead_flags", [1, 1]),
    ("columns", None), ("past_flags", [3]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), HOSTILE)
def test_hostile_features_end_in_one_line(name, value) -> None:
    series = made(T=100)
    described = Features.fit(series, split_by_time(series, horizon=5), horizon=5).to_dict()
    assert Features.from_dict(described).to_dict() == described
    with pytest.raises(DataError) as error:
        Features.from_dict({**described, name: value})
    assert "\n" not in str(error.value)
    with pytest.raises(DataError):
        Features.from_dict({k: v for k, v in described.items() if k != name})


def test_parts_may_begin_at_two_times() -> None:
    """The times are the data's: validation begins with the row at the first, test with that at the second."""
    times = np.datetime64("2024-03-01T00", "h") + np.arange(200)
    one = series_of(as_table({"time": times, "y": np.sin(np.arange(200) / 7)}), "y", time="time")
    (split,) = split_by_time(one, ("2024-03-05 06:00", "2024-03-07"), horizon=3)
    assert (split.train_end, split.valid_end, split.end) == (102, 144, 200)
    for parts, message in {
        ("2024-03-07", "2024-03-05"): "expected the time at which validation begins before",
        ("2024-03-01 01:00", "2024-03-07"): "the train part has 1, expected more than 3: choose other times",
        ("soon", "later"): "'soon' is no time",
    }.items():
        with pytest.raises(DataError, match=message):
            split_by_time(one, parts, horizon=3)
