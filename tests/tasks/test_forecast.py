"""`Forecaster`: scikit-learn's conventions, no leakage, many series, missing values, and the bits of a live stream."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn.base
from hypothesis import given, settings
from hypothesis import strategies as st

import recurra
import user_cells
from helpers import TESTS, generator, printed
from recurra import Forecaster
from recurra.cells import cell, tanh
from recurra.errors import CellError, DataError, ModelFileError, NotFittedError, SettingError
from recurra.tasks.forecasting.live import LiveForecaster
from runtime.networks import same as same_bits
from tasks import plain

SMALL = {"horizon": 4, "hidden": 6, "epochs": 2, "seasons": (12,), "refit": "train"}
COLUMNS = {"time": "time", "known_ahead": ["holiday"], "past": ["warmth"]}


def table(T=240, key="table", missing=0.0):
    """Demand that depends on the time of year, holidays known ahead, and a past column."""
    rng = generator(key, T)
    t = np.arange(T)
    holiday = (rng.random(T) < 0.2).astype(float)
    warmth = rng.normal(size=T)
    demand = 50 + 9 * np.sin(t / 12 * 2 * np.pi) - 12 * holiday + np.roll(warmth, 1) + rng.normal(size=T)
    columns = {"time": np.datetime64("2000-01", "M") + t, "demand": demand, "holiday": holiday, "warmth": warmth}
    for name in ("demand", "warmth"):
        columns[name] = np.where(rng.random(T) < missing, np.nan, columns[name])
    return columns


def fitted(data=None, **options):
    return Forecaster(**SMALL | options).fit(table() if data is None else data, "demand", **COLUMNS)


@pytest.fixture(scope="module")
def one():
    return fitted()


def quantiles(forecast) -> np.ndarray:
    return np.stack([np.asarray(forecast[name]) for name in forecast if name.startswith("q")], -1)


def test_it_follows_the_conventions_of_scikit_learn(one) -> None:
    given_ = {"horizon": 3, "quantiles": [0.2, 0.5], "cell": user_cells.CELLS[0], "seasons": (2, 3)}
    f = Forecaster(**given_)
    assert all(f.get_params()[name] is value for name, value in given_.items())
    clone = sklearn.base.clone(f)
    assert clone is not f
    assert repr(clone.get_params()) == repr(f.get_params())
    again = sklearn.base.clone(one)
    assert not hasattr(again, "model_")
    assert again.set_params(hidden=9) is again
    assert again.hidden == 9
    assert repr(again) == "Forecaster(horizon=4, hidden=9, seasons=(12,), epochs=2, refit='train')"
    assert repr(Forecaster()) == "Forecaster()"
    assert {name for name in vars(one) if name.endswith("_")} == {
        "history_", "model_", "n_features_in_", "report_", "series_", "task_", "transform_",
    }  # fmt: skip
    with pytest.raises(SettingError, match="there is no parameter 'hiden', expected one of horizon, cell"):
        again.set_params(hidden=5, hiden=3)
    assert again.hidden == 9


@pytest.mark.parametrize(
    "bad",
    [
        {"horizon": 0}, {"horizon": 2.5}, {"horizon": True}, {"hidden": 0}, {"layers": 0}, {"epochs": 0}, {"batch": 0},
        {"chunk": 0}, {"dropout": 1.0}, {"dropout": -0.1}, {"learning_rate": 0}, {"learning_rate": float("nan")},
        {"clip": 0}, {"patience": 0}, {"seed": -1}, {"projection": 3}, {"quantiles": ()}, {"quantiles": (0.1, 0.9)},
        {"quantiles": (0.5, 0.5)}, {"quantiles": (0.9, 0.5)}, {"quantiles": (0.0, 0.5)}, {"quantiles": 0.5},
        {"quantiles": ("a", 0.5)},
    ],
)  # fmt: skip
def test_parameters_are_checked_in_fit_and_not_before(bad) -> None:
    f = Forecaster(**SMALL | bad)
    name = next(iter(bad))
    with pytest.raises(SettingError, match=rf"Forecaster: {name}=.*expected"):
        f.fit(table(), "demand")
    assert not hasattr(f, "model_")


def test_nothing_to_compare_with_is_said(one) -> None:
    empty = table() | {"demand": np.full(240, np.nan)}
    short = {name: column[:4] for name, column in table().items()}
    for data in (empty, short):
        with pytest.raises(DataError, match=r"no series has a value of 'demand' .* more than 4 rows, the horizon"):
            one.evaluate(data)


def test_other_bad_settings_and_data_are_refused() -> None:
    with pytest.raises(CellError, match="gruu"):
        fitted(cell="gruu")
    with pytest.raises(DataError, match="seasons"):
        fitted(seasons=(1, 0))
    with pytest.raises(DataError, match="there is no target 'demnd'; did you mean 'demand'"):
        Forecaster(**SMALL).fit(table(), "demnd")
    with pytest.raises(DataError, match="too few for a horizon of 60"):
        fitted(horizon=60)
    gone = table()
    gone["demand"] = np.where((np.arange(240) < 168) | (np.arange(240) >= 204), gone["demand"], np.nan)
    told = r"'demand' has no value in the validation part, 2014-01-01 to 2016-12-01, .*: choose other parts"
    with pytest.raises(DataError, match=told):
        Forecaster(**SMALL).fit(gone, "demand", time="time")
    gone["demand"][180] = 5.0
    assert np.isfinite(Forecaster(**SMALL).fit(gone, "demand", time="time").report_["table"][0]["mase"])
    with pytest.raises(NotFittedError, match=r"call fit, or Forecaster\.load"):
        Forecaster().predict()


@settings(max_examples=12)
@given(st.integers(100, 239), st.integers(0, 1000))
def test_a_forecast_does_not_change_when_what_comes_after_changes(one, origin, key) -> None:
    """The law of no leakage; what is known ahead may be used up to the horizon and no further."""
    data, rng = table(), generator("future", key)
    before = quantiles(one.predict(data, origins="all")).reshape(240, 4, 3)
    for name, past in (("demand", origin + 1), ("warmth", origin + 1), ("holiday", origin + 5)):
        data[name] = data[name].copy()
        data[name][past:] = rng.normal(size=max(0, 240 - past))
    after = quantiles(one.predict(data, origins="all")).reshape(240, 4, 3)
    assert same_bits(before[: origin + 1], after[: origin + 1])
    assert origin == 239 or not np.array_equal(before[origin + 1 :], after[origin + 1 :])


def test_what_is_known_ahead_and_what_is_past_matter(one) -> None:
    data = table()
    before = quantiles(one.predict(data)).reshape(4, 3)
    for name in ("holiday", "demand", "warmth"):
        changed = data | {name: data[name] + (np.arange(240) > 200)}
        assert not np.array_equal(quantiles(one.predict(changed)).reshape(4, 3), before)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_predict_has_the_bits_of_a_live_session(missing) -> None:
    data = table(missing=missing)
    f = fitted(data, cell="lstm")
    want = quantiles(f.predict(origins="all")).reshape(-1, 4, 3)
    live = LiveForecaster(f.model_)
    rows = [dict(zip(data, values, strict=True)) for values in zip(*(c.tolist() for c in data.values()), strict=True)]
    for t, row in enumerate(rows):
        for later in rows[t + 1 : t + 5]:
            live.announce(later)
        assert same_bits(live.step(row).quantiles, want[t])


def test_quantiles_are_in_order_and_in_the_targets_units(one) -> None:
    all_ = quantiles(one.predict(origins="all")).reshape(240, 4, 3)
    assert (np.diff(all_, axis=-1) >= 0).all()
    assert 40 < np.median(all_) < 55
    assert all_.std() > 2


def test_the_result_is_of_the_kind_that_was_given(one) -> None:
    data = table()
    columns = ["series", "origin", "time", "horizon", "q0.1", "q0.5", "q0.9"]
    dicts = one.predict(data)
    assert list(dicts) == columns
    assert dicts["time"].astype("M8[M]").astype(str).tolist() == ["2020-01", "2020-02", "2020-03", "2020-04"]
    assert set(dicts["origin"].astype("M8[M]").astype(str)) == {"2019-12"}
    frames = (
        pd.DataFrame(data | {"time": data["time"].astype("M8[s]")}),
        pl.DataFrame(data | {"time": data["time"].astype("M8[ms]")}),
    )
    for frame, kind in zip(frames, (pd.DataFrame, pl.DataFrame), strict=True):
        result = one.predict(frame)
        assert isinstance(result, kind)
        assert list(result.columns) == columns
        assert np.array_equal(result["q0.9"].to_numpy(), dicts["q0.9"])
        assert result["time"].to_numpy().astype("M8[M]").tolist() == dicts["time"].astype("M8[M]").tolist()
    own = Forecaster(**SMALL).fit(frames[1], "demand", **COLUMNS)
    assert isinstance(own.predict(), pl.DataFrame)
    array = Forecaster(**SMALL).fit(table()["demand"])
    assert array.predict()["origin"].tolist() == [239] * 4


def test_rows_ahead_of_the_last_observation_are_used(one) -> None:
    data = table(244)
    data["demand"][240:] = data["warmth"][240:] = np.nan
    plain = quantiles(one.predict(data))
    data["holiday"][240:] = 1 - data["holiday"][240:]
    changed = one.predict(data)
    assert not np.array_equal(plain, quantiles(changed))
    assert set(changed["origin"].astype("M8[M]").astype(str)) == {"2019-12"}


def test_a_series_without_any_observation_has_no_forecast(one) -> None:
    data = table(20)
    data["demand"][:] = data["warmth"][:] = np.nan
    with pytest.raises(DataError, match="no row has a target or a past column"):
        one.predict(data)


def shops(lengths=(90, 200, 31, 150)):
    parts = []
    for i, T in enumerate(lengths):
        rng, t = generator("shop", i), np.arange(T)
        y = 10.0**i * (5 + np.sin(t / 7 * 2 * np.pi) + 0.1 * rng.normal(size=T))
        days = np.datetime64("2024-01-01") + np.arange(200 - T, 200)
        parts.append(pd.DataFrame({"day": days, "shop": f"s{i}", "y": y}))
    return pd.concat(parts).sort_values("day", kind="stable")


def test_one_model_over_many_series_of_different_lengths_and_levels() -> None:
    data = shops()
    f = Forecaster(horizon=3, hidden=8, epochs=60, seasons=(7,), learning_rate=0.01).fit(
        data, "y", time="day", series="shop"
    )
    forecast = f.predict()
    assert forecast.groupby("series").size().tolist() == [3] * 4
    for i in range(4):
        middle = forecast.loc[forecast["series"] == f"s{i}", "q0.5"]
        assert (abs(middle / 10.0**i - 5) < 2).all()
    alone = f.predict(data[data["shop"] == "s1"])
    assert np.array_equal(alone["q0.5"], forecast.loc[forecast["series"] == "s1", "q0.5"])
    assert f.report_["data"]["series"] == 4


@pytest.mark.parametrize(
    "options",
    [
        {"cell": user_cells.CELLS[0]},
        {"cell": "lstm_projected", "layers": 2, "projection": 3},
        {"cell": "lstm_projected"},
        {"cell": "indrnn", "layers": 3, "quantiles": (0.05, 0.25, 0.5, 0.75, 0.95)},
        {"horizon": 1, "batch": 3, "chunk": 7, "quantiles": (0.5,)},
    ],
    ids=str,
)
def test_any_cell_several_layers_and_any_quantiles(options, tmp_path) -> None:
    f = fitted(table(missing=0.05), **options)
    f.save(tmp_path / "m.recurra")
    again = Forecaster.load(tmp_path / "m.recurra")
    for name, value in f.get_params().items():
        loaded = getattr(again, name)
        assert loaded == value or loaded.text == value.text
    new = table(300, "new")
    assert same_bits(quantiles(again.predict(new)), quantiles(f.predict(new)))
    with pytest.raises(NotFittedError, match="pass a table"):
        again.predict()
    assert json.dumps(f.report_, allow_nan=False)


def test_a_cell_written_here_trains_and_is_saved_as_its_equations(tmp_path) -> None:
    @cell
    def slow(x, h, *, a):
        return a * h + (1 - a) * tanh(x.n + h.n)

    f = fitted(cell=slow)
    f.save(tmp_path / "m.recurra")
    assert Forecaster.load(tmp_path / "m.recurra").cell.text == slow.text


def test_a_file_that_is_no_forecasters_is_refused(tmp_path) -> None:
    recurra.runtime.Model([recurra.runtime.Linear(np.ones((1, 2), np.float32))]).save(tmp_path / "m.recurra")
    with pytest.raises(ModelFileError, match="the model has no task, expected one that an estimator"):
        Forecaster.load(tmp_path / "m.recurra")


def test_prediction_from_a_file_needs_no_torch(one, tmp_path) -> None:
    one.save(tmp_path / "m.recurra")
    code = """
import sys, numpy as np
from recurra import Forecaster
from tasks.plain import table
f = Forecaster.load(sys.argv[1])
print(f.predict(table())["q0.5"].sum(), "torch" in sys.modules, "sklearn" in sys.modules)
"""
    (value, *imported) = printed(code, tmp_path / "m.recurra").split()
    assert imported == ["False", "False"]
    assert float(value) == one.predict(plain.table())["q0.5"].sum()


def test_the_same_seed_gives_the_same_model(one) -> None:
    assert fitted().model_.fingerprint == one.model_.fingerprint
    assert fitted(seed=1).model_.fingerprint != one.model_.fingerprint


CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
from recurra import Forecaster
from tasks.plain import table
f = Forecaster(horizon=4, hidden=6, seasons=(12,), epochs=3, refit="train")
show = lambda p: print(p.epoch, p.update, flush=True)
f.fit(table(), "demand", time="time", checkpoint=sys.argv[1], resume=True, progress=show, evaluate=False)
print(f.model_.fingerprint)
"""


@pytest.mark.long
def test_a_fit_that_is_killed_and_resumed_ends_with_the_same_bits(tmp_path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path / "run"), str(TESTS)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.startswith("2 2"):
            child.send_signal(signal.SIGKILL)
            break
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.startswith("2 1")
    whole = Forecaster(**SMALL | {"epochs": 3}).fit(plain.table(), "demand", time="time", evaluate=False)
    assert done.stdout.split()[-1] == whole.model_.fingerprint


def test_control_c_leaves_the_best_model_so_far() -> None:
    def interrupt(p):
        if p.epoch == 2:
            raise KeyboardInterrupt

    f = Forecaster(**SMALL | {"epochs": 9})
    f.fit(table(), "demand", **COLUMNS, progress=interrupt, evaluate=False)
    assert f.history_.ended == f.report_["ended"] == "interrupted"
    assert len(f.predict()["q0.5"]) == 4
    assert f.report_["table"] == []


def test_progress_has_the_naive_error_beside() -> None:
    seen = []
    f = Forecaster(**SMALL).fit(table(), "demand", **COLUMNS, progress=seen.append, evaluate=False)
    assert {p.baseline_error for p in seen} == {f.report_["baseline_error"]}
    assert seen[-1].last["valid_mae"] == f.history_.epochs[-1]["valid_mae"] > 0


def test_training_learns_what_is_known_ahead() -> None:
    """Demand that is the holiday alone: whoever cannot see it ahead errs by about 0.5; the naive ones by as much."""
    rng = generator("law")
    holiday = rng.integers(0, 2, 900).astype(float)
    data = {"demand": 10 * holiday + 0.1 * rng.normal(size=900), "holiday": holiday}
    f = Forecaster(horizon=3, hidden=8, seasons=(), epochs=20, learning_rate=0.03).fit(
        data, "demand", known_ahead="holiday"
    )
    table_ = {row["kind"]: row for row in f.report_["table"]}
    assert table_["model"]["mae"] < 0.4
    assert table_["naive"]["mae"] > 4
    assert table_["linear"]["mae"] < 0.4


def test_score_is_minus_the_error_of_the_median(one) -> None:
    data = table(300, "score")
    forecast = quantiles(one.predict(data, origins="all")).reshape(300, 4, 3)[..., 1]
    errors = [abs(data["demand"][t + 1 + n] - forecast[t, n]) for t in range(296) for n in range(4)]
    assert one.score(data) == pytest.approx(-np.mean(errors))
