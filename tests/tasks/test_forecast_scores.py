"""Metrics against scikit-learn, baselines against plain loops, the order of training rows, and the report."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, mean_pinball_loss

from helpers import generator
from recurra import Forecaster
from recurra.data import as_table, series_of
from recurra.data import batches as module
from recurra.data.batches import Lanes, in_order
from recurra.data.forecasting.step import Step
from recurra.tasks.bench import Bench
from recurra.tasks.forecasting.baselines import LinearAutoregression, Naive, quantile_offsets, season_name
from recurra.tasks.forecasting.report import offsets, score, verdict
from recurra.tasks.forecasting.task import Forecast
from recurra.tasks.metrics import Score, naive_scale

LEVELS = (0.1, 0.5, 0.9)


def series(lengths=(300,), missing=0.0, key="scores"):
    parts = {"time": [], "shop": [], "y": [], "heat": [], "open": []}
    for i, T in enumerate(lengths):
        rng, t = generator(key, i, T), np.arange(T)
        y = 20 * (i + 1) + 5 * np.sin(t / 24 * 2 * np.pi) + rng.normal(size=T)
        y[rng.random(T) < missing] = np.nan
        parts["time"] += list(np.datetime64("2024-01-01T00") + t + max(lengths) - T)
        parts["shop"] += [f"s{i}"] * T
        parts["y"] += list(y)
        parts["heat"] += list(rng.normal(size=T))
        parts["open"] += list(rng.integers(0, 2, T).astype(float))
    table = as_table({name: np.array(values) for name, values in parts.items()})
    return series_of(table, "y", time="time", past="heat", known_ahead="open", series="shop")


def bench(lengths=(300,), missing=0.0, horizon=5, seasons=(24,)) -> Bench:
    task, found = Forecast(horizon, LEVELS, seasons), series(lengths, missing)
    splits = task.split(found, (0.70, 0.15, 0.15), 0)
    return Bench(task, found, splits, task.transform(found, splits))


def test_scores_are_those_of_scikit_learn_in_one_part_or_in_many() -> None:
    rng = generator("metrics")
    truth, forecast = rng.normal(3, 2, (50, 4)), np.sort(rng.normal(3, 2, (50, 4, 3)), -1)
    truth[rng.random((50, 4)) < 0.2] = np.nan
    hour = rng.integers(0, 24, (50, 4))
    score = Score(4, LEVELS, {"hour": 24})
    for part in (slice(0, 7), slice(7, 8), slice(8, 50)):
        score.add(truth[part], forecast[part], scale=2.5, keys={"hour": hour[part]})
    there = ~np.isnan(truth)
    y, q = truth[there], forecast[there]
    got = score.summary()
    assert got["mae"] == pytest.approx(mean_absolute_error(y, q[:, 1]))
    assert got["mase"] == pytest.approx(got["mae"] / 2.5)
    assert got["smape"] == pytest.approx(np.mean(2 * abs(y - q[:, 1]) / (abs(y) + abs(q[:, 1]))))
    assert got["coverage"] == pytest.approx(np.mean((q[:, 0] <= y) & (y <= q[:, 2])))
    pinball = [mean_pinball_loss(y, q[:, i], alpha=level) for i, level in enumerate(LEVELS)]
    assert got["pinball"] == pytest.approx(np.mean(pinball))
    for n in range(4):
        want = mean_absolute_error(truth[there[:, n], n], forecast[there[:, n], n, 1])
        assert score.by_horizon()[n] == pytest.approx(want)
    at = there & (hour == 13)
    assert score.by("hour")[13] == pytest.approx(mean_absolute_error(truth[at], forecast[at][:, 1]))


def test_a_score_of_nothing_and_of_one_level() -> None:
    assert set(Score(2, LEVELS).summary().values()) == {None}
    assert Score(2, LEVELS).by_horizon() == [None, None]
    score = Score(2, [0.5])
    score.add(np.ones((3, 2)), np.zeros((3, 2, 1)))
    assert score.summary() == {"mae": 1, "mase": 1, "smape": 2, "coverage": None, "pinball": None}


def test_the_scale_of_mase() -> None:
    assert naive_scale(np.array([1.0, 1.0, 1.0]), 1) == 1.0
    assert naive_scale(np.array([1.0]), 7) == 1.0
    assert naive_scale(np.array([1.0, 4.0, 2.0]), 1) == 2.5


@pytest.mark.parametrize("season", [1, 3, 24])
def test_naive_forecasts_are_a_plain_loop(season) -> None:
    (one,) = series((90,), missing=0.15)
    y = one.target
    got = Naive(7, season, one.step).predict(one, 60, 85)
    for t in range(60, 85):
        for n in range(1, 8):
            at = t + n - season * math.ceil(n / season)
            before = [y[k] for k in range(at, -1, -season) if not np.isnan(y[k])]
            assert got[t - 60, n - 1] == before[0]


def test_naive_forecasts_use_nothing_that_comes_after() -> None:
    (one,) = series((90,), missing=0.15)
    before = Naive(7, 24, one.step).predict(one, 60, 61)
    one.target[61:] = 1e9
    assert np.array_equal(before, Naive(7, 24, one.step).predict(one, 60, 61))


def test_names_of_seasons() -> None:
    assert season_name(Step(3600, "second"), 24) == "yesterday again"
    assert season_name(Step(3600, "second"), 5) == "5 steps before again"
    assert season_name(Step(1, "weekday"), 5) == "last week again"
    assert season_name(Step(1, "month"), 12) == season_name(Step(3, "month"), 4) == "last year again"
    assert season_name(Step(1, "row"), 1) == "last value again"


def test_the_linear_baseline_is_scikit_learns_ridge() -> None:
    b = bench(missing=0.1)
    linear = LinearAutoregression.fit(b)
    start, stop = b.splits[0].origins("train", 5)
    x = list(linear._inputs(b.sequences[0], np.arange(start, stop)))
    y = b.transform.targets(b.sequences[0], start, stop).astype(float)
    for n in (0, 4):
        there = ~np.isnan(y[:, n])
        ridge = Ridge(alpha=linear.penalty).fit(x[n][there][:, 1:], y[there, n])
        assert np.abs(ridge.coef_ - linear.weights[n, 1:]).max() < 1e-4
        want = b.transform.unscaled(b.sequences[0], start, ridge.predict(x[n][:, 1:]))
        assert np.abs(want - linear.predict(b.sequences[0], start, stop)[:, n]).max() < 1e-3


def test_the_linear_baseline_sees_lags_and_nothing_that_comes_after() -> None:
    b = bench()
    linear = LinearAutoregression.fit(b)
    one = b.sequences[0]
    want = linear.predict(one, 200, 201)
    (changed,) = series()
    changed.target[201:], changed.past[201:], changed.ahead[206:] = -7.0, 9.0, 0.5
    assert np.array_equal(linear.predict(changed, 200, 201), want)
    rows = np.arange(150, 153)
    inputs = next(iter(linear._inputs(one, rows)))
    lags = inputs[:, 1 + b.transform.input_size :][:, : linear.lags]
    scaled = (one.target - b.transform.pooled.center) / b.transform.pooled.scale
    for i, t in enumerate(rows):
        shape = scaled[t - np.arange(linear.lags)[::-1]]
        if b.transform.anchor is not None:
            shape = shape - scaled[t]
            assert lags[i, -1] == 0
        assert np.corrcoef(lags[i], shape)[0, 1] == pytest.approx(1, abs=1e-6)


def test_intervals_of_baselines_come_from_the_validation_part() -> None:
    errors = generator("errors").normal(size=(400, 3)) * [1, 2, 3]
    assert np.allclose(quantile_offsets(errors, LEVELS), np.quantile(errors, LEVELS, axis=0).T)
    b = bench()
    naive = Naive(5, 24, b.transform.step)
    start, stop = b.splits[0].origins("valid", 5)
    truth = np.stack([b.sequences[0].target[t + 1 : t + 6] for t in range(start, stop)])
    want = np.quantile(truth - naive.predict(b.sequences[0], start, stop), LEVELS, axis=0).T
    got = offsets(b, naive)
    assert np.allclose(got[:, [0, 2]], want[:, [0, 2]])
    assert (got[:, 1] == 0).all()
    plain = score(b, naive, "test").summary()
    assert score(b, naive, "test", got).summary()["mae"] == plain["mae"]


@pytest.mark.parametrize("kept", [True, False])
def test_every_origin_comes_once_in_an_epoch_and_states_start_with_series(kept, monkeypatch) -> None:
    if not kept:
        monkeypatch.setattr(module, "MOST_KEPT", 0)
    b = bench((130, 90, 61, 40), missing=0.1, seasons=(7,))
    pieces = b.pieces("train")
    s = Lanes(b.transform, pieces, 3, 8, seed=4)
    known = {
        row.tobytes(): (k, t)
        for k, (one, start, stop) in enumerate(pieces)
        for t, row in enumerate(b.transform.rows(one, start, stop))
    }
    for epoch in (0, 1):
        chunks = list(s.epoch(epoch))
        assert len(chunks) == s.updates
        assert [chunk.first for chunk in chunks] == [True] + [False] * (s.updates - 1)
        rows, targets = np.concatenate([c.rows for c in chunks]), np.concatenate([c.targets for c in chunks])
        resets = np.concatenate([c.reset for c in chunks])
        seen = []
        for lane in range(3):
            for at in range(len(rows)):
                place = known.get(rows[at, lane].tobytes())
                if place is None:
                    assert np.isnan(targets[at, lane]).all()
                    continue
                seen.append(place)
                one, start, _ = pieces[place[0]]
                t = start + place[1]
                assert np.array_equal(targets[at, lane], b.transform.targets(one, t, t + 1)[0], equal_nan=True)
                assert resets[at, lane] == (place[1] == 0)
                before = known.get(rows[at - 1, lane].tobytes()) if at else None
                assert before is None or resets[at, lane] or before == (place[0], place[1] - 1)
        assert len(seen) == len(set(seen)) == len(known) == s.total
    assert np.array_equal(next(s.epoch(1)).rows, next(s.epoch(1)).rows)
    assert not np.array_equal(next(s.epoch(1)).rows, next(s.epoch(0)).rows)


def test_no_target_of_training_lies_in_another_part() -> None:
    b = bench((130, 90))
    for chunk in Lanes(b.transform, b.pieces("train"), 2, 8, 0).epoch(0):
        last = [
            b.transform.scaler(one.name).many(one.target)[split.train_end :]
            for one, split in zip(b.sequences, b.splits, strict=True)
        ]
        assert not np.isin(chunk.targets[~np.isnan(chunk.targets)], np.concatenate(last)).any()


@pytest.mark.parametrize("together", [1, 2, 64])
def test_validation_rows_come_in_order_after_their_context(together, monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_TOGETHER", together)
    monkeypatch.setattr(module, "STEPS", 5)
    b = bench((130, 90, 61))
    seen = {}
    for group, chunks in in_order(b.transform, b.pieces("valid"), 11):
        assert len(group) <= together
        parts = list(chunks)
        rows, targets = np.concatenate([c.rows for c in parts]), np.concatenate([c.targets for c in parts])
        for lane, piece in enumerate(group):
            seen[piece.sequence.name] = rows[:, lane], targets[:, lane]
    for one, start, stop in b.pieces("valid"):
        rows, targets = seen[one.name]
        T = stop - start + 11
        assert np.array_equal(rows[:T], b.transform.rows(one, start - 11, stop))
        assert np.isnan(targets[:11]).all()
        assert np.array_equal(targets[11:T], b.transform.targets(one, start, stop))
        assert np.isnan(targets[T:]).all()


def test_the_report_says_what_was_measured() -> None:
    one = {"time": np.datetime64("2024-01-01T00") + np.arange(400), "y": series((400,), missing=0.02)[0].target}
    f = Forecaster(horizon=5, hidden=6, epochs=2, seasons=(24,), refit="train").fit(one, "y", time="time")
    report = json.loads(json.dumps(f.report_, allow_nan=False))
    names = [row["name"] for row in report["table"]]
    assert names == ["GRU", "last value again", "yesterday again", "linear autoregression"]
    forecast = f.predict(origins="all")["q0.5"].reshape(400, 5)
    start = 340
    errors = [abs(f.series_[0].target[t + 1 + n] - forecast[t, n]) for t in range(start, 395) for n in range(5)]
    assert report["table"][0]["mae"] == pytest.approx(np.nanmean(errors))
    assert (
        set(report["by_horizon"])
        == set(report["by_hour"]["values"])
        == set(report["by_weekday"]["values"])
        == set(names)
    )
    assert len(report["by_horizon"]["GRU"]) == 5
    assert len(report["by_hour"]["values"]["GRU"]) == len(report["by_hour"]["labels"]) == 24
    assert [p["rows"] for p in report["data"]["parts"]] == [280, 60, 60]
    assert report["data"]["parts"][2]["first"] == "2024-01-15 04:00"
    assert any("missing" in note for note in report["data"]["notes"])
    example, fan = report["example"], report["fan"]
    assert len({len(example[n]) for n in ("times", "truth", "low", "median", "high", "naive")}) == 1
    assert example["times"][-1] == fan["times"][-1] == "2024-01-17 15:00"
    assert example["naive"][-1] == f.series_[0].target[399 - 24] or example["naive_name"] == "last value again"
    assert fan["median"] == pytest.approx(forecast[394])
    assert len(fan["truth"]) == 5
    assert report["parity"]["torch_difference"] < 1e-5
    assert f.model_.card["table"] == report["table"]
    assert f.model_.preprocessing["quantiles"] == [0.1, 0.5, 0.9]
    assert sum(len(v) for v in report["trust"].values()) == 2 * 5


def test_the_verdict_says_when_the_network_is_not_worth_it() -> None:
    row = {"mase": 1.0, "smape": 1.0, "coverage": 0.75, "pinball": 0.1}
    table = [
        {"name": "GRU", "kind": "model", "mae": 2.0, **row},
        {"name": "last value again", "kind": "naive", "mae": 4.0, **row},
        {"name": "linear autoregression", "kind": "linear", "mae": 1.6, **row},
    ]
    said = verdict(table, LEVELS, 3)
    assert "50.0 % below last value again (4)" in said[0]
    assert said[1] == "It is 25.0 % above the linear autoregression (1.6)."
    assert said[2].startswith("Do not use the recurrent network here: linear autoregression is better")
    assert said[3] == "Its 80 % interval holds 75.0 % of the values."
    table[2]["mae"] = 3.0
    assert not any("Do not use" in sentence for sentence in verdict(table, LEVELS, 3))
    assert verdict([], LEVELS, 3) == []
