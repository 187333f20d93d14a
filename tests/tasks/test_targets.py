"""Several targets in one model, and what does not change within a series."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers import generator
from recurra import Forecaster
from recurra.data import as_table, series_of
from recurra.data.forecasting.static import Static, cell_of
from recurra.errors import DataError, SessionError
from recurra.report.forecast import forecast_page
from recurra.tasks.forecasting.live import LiveForecaster

T, N = 160, 3
SMALL = {"horizon": N, "hidden": 5, "epochs": 1, "seasons": (7,), "refit": "train"}
rng = generator("targets")
TIMES = np.datetime64("2024-01-01T00:00:00") + 3600 * np.arange(T)


def wide() -> dict[str, np.ndarray]:
    level = np.cumsum(rng.normal(size=T))
    load, wind = level + 50, 1000 + 90 * np.sin(np.arange(T) / 7)
    wind[20:25] = np.nan
    return {"time": TIMES, "load": load, "wind": wind, "warmth": rng.normal(size=T)}


WIDE = wide()


@pytest.fixture(scope="module")
def several() -> Forecaster:
    return Forecaster(**SMALL).fit(WIDE, target=["load", "wind"], time="time", past="warmth")


def numbers(table, wanted=slice(None)) -> np.ndarray:
    return np.stack([np.asarray(table[f"q{q}"])[wanted] for q in ("0.1", "0.5", "0.9")], -1)


def test_several_targets_are_as_many_series_of_one_model(several) -> None:
    """The same table in long form, with the targets as series, comes to the same network and the same bits."""
    long = {"time": np.tile(TIMES, 2), "name": np.repeat(["load", "wind"], T).astype(object)}
    long |= {"value": np.concatenate([WIDE["load"], WIDE["wind"]]), "warmth": np.tile(WIDE["warmth"], 2)}
    other = Forecaster(**SMALL).fit(long, "value", time="time", series="name", past="warmth", evaluate=False)
    got, want = several.predict(origins="all"), other.predict(origins="all")
    assert got["target"].tolist() == want["series"].tolist()
    assert set(got["series"]) == {""}
    assert np.array_equal(numbers(got), numbers(want))


def test_each_target_is_forecast_from_its_own_past(several) -> None:
    changed = WIDE | {"wind": np.where(np.arange(T) > 100, 0.0, WIDE["wind"])}
    before, after = several.predict(), several.predict(changed)
    load = before["target"] == "load"
    assert np.array_equal(numbers(before, load), numbers(after, load))
    assert not np.array_equal(numbers(before, ~load), numbers(after, ~load))


def test_a_row_has_all_targets_and_an_answer_for_each(several, tmp_path) -> None:
    several.save(tmp_path / "m")
    f = Forecaster.load(tmp_path / "m")
    want = numbers(f.predict(WIDE, origins="all")).reshape(2, T, N, 3)
    live = LiveForecaster(f.model_)
    assert live.fields[:3] == ["time", "load q0.1+1", "load q0.5+1"]
    assert live.fields[1 + 3 * N] == "wind q0.1+1"
    for t in range(T):
        if t == 90:
            snapshot = live.snapshot()
            live = LiveForecaster(f.model_)
            live.restore(snapshot)
            assert live.series == [""]
        said = live.step({name: column[t] for name, column in WIDE.items()})
        assert np.array_equal(said.quantiles, want[:, t])
    assert live.to_dict(said)["wind"]["q0.9"] == want[1, -1, :, 2].tolist()
    assert len(live.cells(said)) == len(live.fields)
    assert said.paths(8).shape == (2, 8, N)
    assert live.states("")
    assert live.last() is not None
    live.end("")
    assert live.series == []
    assert live.last() is None


def test_rows_left_out_are_missing_for_all_targets(several) -> None:
    kept = np.r_[0:60, 63:T]
    want = numbers(several.predict({n: c[kept] for n, c in WIDE.items()})).reshape(2, N, 3)
    live = several.live()
    for t in kept:
        said = live.step({name: column[t] for name, column in WIDE.items()})
    assert np.array_equal(said.quantiles, want)
    assert any("3 rows before" in note for note in live.notes)


def test_the_report_is_target_by_target_and_judges_by_scaled_errors(several) -> None:
    report = several.report_
    assert [one["target"] for one in report["by_target"]] == ["load", "wind"]
    assert "mean absolute scaled error" in report["verdict"][0]
    said = numbers(several.predict(origins="all")).reshape(2, T, N, 3)[1, :, :, 1]
    rows = np.arange(136, T - N)
    truth = WIDE["wind"][rows[:, None] + 1 + np.arange(N)]
    name = report["table"][0]["name"]
    assert report["by_target"][1]["errors"][name]["mae"] == pytest.approx(np.abs(said[rows] - truth).mean())
    page = forecast_page(report | {"model_file": "m"})
    assert "Target by target" in page
    assert "load, wind" in page


def test_targets_of_a_series_column() -> None:
    table = {name: np.tile(column, 2) for name, column in WIDE.items()}
    table["site"] = np.repeat(["b", "a"], T).astype(object)
    found = series_of(as_table(table), ["load", "wind"], time="time", series="site")
    assert [(one.name, one.group, one.variable) for one in found] == [
        ("b, load", "b", "load"), ("b, wind", "b", "wind"), ("a, load", "a", "load"), ("a, wind", "a", "wind"),
    ]  # fmt: skip
    assert np.array_equal(found[2].target, WIDE["load"])
    with pytest.raises(DataError, match="has two roles"):
        series_of(as_table(table), ["load", "load"], time="time")
    with pytest.raises(DataError, match="the target 'still' is 1 in every row"):
        series_of(as_table(table | {"still": np.ones(2 * T)}), ["load", "still"], time="time", series="site")


def shops() -> dict[str, np.ndarray]:
    names = [f"shop {k}" for k in range(6)]
    kinds, sizes = ["big", "small", "big", "small", "big", "small"], [9.0, 2.0, 8.0, 1.0, 7.0, 3.0]
    return {
        "shop": np.repeat(names, T).astype(object),
        "time": np.tile(TIMES, 6),
        "y": rng.normal(size=6 * T) + np.repeat(sizes, T),
        "kind": np.repeat(kinds, T).astype(object),
        "size": np.repeat(sizes, T),
    }


ROLES = {"target": "y", "time": "time", "series": "shop", "static": ["kind", "size"]}


@pytest.fixture(scope="module")
def static() -> Forecaster:
    return Forecaster(**SMALL).fit(shops(), evaluate=False, **ROLES)


def test_static_columns_are_numbers_of_every_row(static) -> None:
    features = static.transform_
    names = features.names
    at = [names.index(name) for name in ("kind is big", "kind is small", "size")]
    sizes = np.array([9.0, 2, 8, 1, 7, 3])
    for k, one in enumerate(static.series_):
        rows = features.rows(one, 0, 20)
        assert np.array_equal(rows[:, at[:2]], np.tile([k % 2 == 0, k % 2 == 1], (20, 1)))
        assert rows[:, at[2]] == pytest.approx((sizes[k] - 5) / sizes.std())


def test_static_columns_matter_and_live_rows_have_the_same_bits(static, tmp_path) -> None:
    table = shops()
    want = numbers(static.predict(table, origins="all")).reshape(6, T, N, 3)
    other = numbers(static.predict(table | {"kind": np.full(6 * T, "small", object)}, origins="all"))
    assert not np.array_equal(other.reshape(6, T, N, 3)[0], want[0])
    static.save(tmp_path / "m")
    live = LiveForecaster(Forecaster.load(tmp_path / "m").model_)
    for t in range(2 * T):
        row = {name: column[t] for name, column in table.items() if t % T == 0 or name not in ("kind", "size")}
        if t == 40:
            snapshot, live = live.snapshot(), static.live()
            live.restore(snapshot)
        assert np.array_equal(live.step(row).quantiles, want[t // T, t % T])
    with pytest.raises(DataError, match="expected one value for each series"):
        live.step({name: column[t] for name, column in table.items()} | {"time": TIMES[-1] + 3600, "kind": "big"})
    with pytest.raises(DataError, match="'size' is 'huge', expected a number"):
        live.step({name: column[t] for name, column in table.items()} | {"shop": "new", "size": "huge"})
    assert "new" not in live.series


def test_what_is_unknown_or_missing_is_zero_and_bad_columns_are_named() -> None:
    known = Static.fit(("kind", "size"), [("b", 2.0), ("a", None), ("b", 4.0)])
    known = Static.from_dict(json.loads(json.dumps(known.to_dict())))
    assert known.labels == ["kind is a", "kind is b", "size"]
    assert known.encode(("b", 4.0)).tolist() == [0, 1, 1]
    assert known.encode(("c", None)).tolist() == [0, 0, 0]
    assert known.encode(()).tolist() == [0, 0, 0]
    assert Static.fit(("code",), [(7.0,), ("x",)]).labels == ["code is 7", "code is x"]
    assert [cell_of(c) for c in ("3", " ", float("nan"), "north")] == [3.0, None, None, "north"]
    table = shops()
    table["kind"][5] = "small"
    with pytest.raises(DataError, match=r"row 5.*the static column 'kind' is 'small', and was 'big' before"):
        series_of(as_table(table), **ROLES)
    many = {"shop": [str(k) for k in range(402)], "y": np.arange(402.0)}
    with pytest.raises(DataError, match="has 402 categories, expected at most 200"):
        Static.fit(("shop",), [(name + "x",) for name in many["shop"]])


def test_a_snapshot_of_other_static_columns_is_refused(static) -> None:
    other = Forecaster(**SMALL).fit(shops(), evaluate=False, **ROLES | {"static": "kind"})
    with pytest.raises(SessionError):
        other.live().restore(static.live().snapshot())
