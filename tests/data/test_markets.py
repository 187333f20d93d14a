"""Prices: what is read, what is refused by its row, what is doubted, features in the same bits, and years."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.data import as_table
from recurra.data.markets.bars import Bars, choose_columns, read_bars
from recurra.data.markets.doubts import calendar_of, check_inputs, splits_in, survivors_in
from recurra.data.markets.folds import walk_forward
from recurra.data.markets.tape import LONGEST, Tape
from recurra.errors import DataError, LeakageError


def days(count: int, first: str = "2012-01-02") -> np.ndarray:
    every = np.arange(np.datetime64(first), np.datetime64(first) + 2 * count)
    return every[np.is_busday(every)][:count]


def table(count: int = 60, **more):
    rng = np.random.default_rng(3)
    return {"time": days(count), "close": 50 * np.exp((0.01 * rng.normal(size=count)).cumsum()), **more}


def bars_of(data, **given) -> list[Bars]:
    read = as_table(data)
    return read_bars(read, choose_columns(read, **given)[0])[0]


def candles(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    close = 50 * np.exp((0.01 * rng.normal(size=count)).cumsum())
    opened = close * np.exp(0.003 * rng.normal(size=count))
    high, low = np.maximum(opened, close) * 1.004, np.minimum(opened, close) * 0.997
    return {"time": days(count), "Open": opened, "High": high, "Low": low, "Close": close}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["close"].__setitem__(7, 0.0), r"row 7.* 'close' is 0, expected one above zero"),
        (lambda d: d["close"].__setitem__(9, -2.0), r"row 9.* is -2"),
        (lambda d: d["time"].__setitem__(11, d["time"][10]), r"row 11: the bar of 2012-01-16 comes twice"),
        (lambda d: d["time"].__setitem__(12, d["time"][3]), r"row 12: .*comes after that of .*sort them"),
    ],
)
def test_bars_that_cannot_be_are_named_by_their_row(change, said) -> None:
    data = table()
    change(data)
    with pytest.raises(DataError, match=said):
        bars_of(data)


def test_a_close_outside_its_range_is_named() -> None:
    data = candles(30)
    data["High"][17] = data["Close"][17] * 0.9
    with pytest.raises(DataError, match=r"row 17: open .* expected open and close between low and high"):
        bars_of(data)


def test_a_hole_is_passed_over_and_said() -> None:
    data = table()
    data["close"][[20, 21]] = np.nan
    read = as_table(data)
    (bars,), notes = read_bars(read, choose_columns(read)[0])
    assert len(bars) == 58
    assert bars.tape.log[20] == np.log(data["close"][22])
    assert any("2 bars have no price, the first at the table, row 20" in note for note in notes)


def test_what_looks_like_a_split_is_doubted_and_a_crash_is_not() -> None:
    data = table()
    data["close"][30:] /= 2
    assert "row 30: the price goes from" in splits_in(as_table(data), bars_of(data))[0]
    assert "2 shares for one" in splits_in(as_table(data), bars_of(data))[0]
    data = table()
    data["close"][30:] *= 0.8
    assert splits_in(as_table(data), bars_of(data)) == []


def test_sessions_of_an_exchange_are_held_against_the_bars() -> None:
    data = table(60, first=1.0)
    read = as_table({"time": data["time"], "close": data["close"]})
    notes = calendar_of(read, bars_of(read), "XNYS")
    assert any("2012-01-02" in note and "closed" in note for note in notes)  # a holiday
    kept = np.delete(np.arange(60), 12)
    thin = {name: data[name][kept] for name in ("time", "close")}
    assert any(str(data["time"][12]) in note for note in calendar_of(as_table(thin), bars_of(thin), "XNYS"))
    weekend = {"time": np.datetime64("2012-01-07") + 7 * np.arange(60), "close": data["close"]}
    with pytest.raises(DataError, match="row 0: 60 of 60 bars are on days when XNYS is closed"):
        calendar_of(as_table(weekend), bars_of(weekend), "XNYS")
    with pytest.raises(DataError, match="calendar='NYSX' is none"):
        calendar_of(read, bars_of(read), "NYSX")


def test_an_input_that_knows_the_next_return_is_refused() -> None:
    data = table(400)
    log = np.log(data["close"])
    data["tip"] = np.append(np.diff(log), 0.0)
    data["past"] = np.append(0.0, np.diff(log))
    read = as_table(data)
    columns, _ = choose_columns(read, prices="close", inputs=["past"])
    assert check_inputs(read, read_bars(read, columns)[0], columns, [400]) == []
    columns, _ = choose_columns(read, prices="close", inputs=["tip"])
    with pytest.raises(LeakageError, match="the input 'tip' goes with the return over the next 1 bars"):
        check_inputs(read, read_bars(read, columns)[0], columns, [400])


@pytest.mark.parametrize("ranges", [False, True])
def test_features_come_one_at_a_time_in_the_same_bits(ranges) -> None:
    data = candles(LONGEST + 61)
    rng = np.random.default_rng(0)
    data["more"] = rng.normal(size=len(data["time"]))
    (bars,) = bars_of(data, prices=["Open", "High", "Low", "Close"] if ranges else "Close", inputs=["more"])
    none = np.zeros(0)
    tape = Tape(none, none, none, none, none, none, np.zeros((0, 1)), 0, ranges)
    for t in range(len(bars)):
        day = bars.ticks[t] // 86400
        tape = tape.pushed(bars.prices[t], float(day), bars.inputs[t])
        assert tape.rows(t, t + 1).tobytes() == bars.x[t : t + 1].tobytes()
        if t == 200:
            tape = Tape.restored(tape.state(), ranges)
    assert len(tape.log) == LONGEST + 1


def test_features_are_what_they_are_called() -> None:
    data = candles(300)
    (bars,) = bars_of(data)
    names = Tape.names(True, True, ())
    log = np.log(data["Close"])
    r = np.diff(log)
    t = 280
    usual = np.sqrt((r[t - 63 : t] ** 2).mean())
    found = dict(zip(names, bars.x[t], strict=True))
    assert found["return over 21"] == pytest.approx((log[t] - log[t - 21]) / usual / 21**0.5, rel=1e-9)
    parkinson = np.log(data["High"] / data["Low"]) ** 2 / (4 * np.log(2))
    assert found["variance over 5"] == pytest.approx(np.log(parkinson[t - 4 : t + 1].mean()), rel=1e-9)
    assert found["night"] == pytest.approx((np.log(data["Open"][t]) - log[t - 1]) / usual, rel=1e-9)
    weekday = (data["time"][t] - np.datetime64("1970-01-05")).astype(int) % 7
    assert [found[n] for n in ("Monday", "Tuesday", "Wednesday", "Thursday")] == [float(weekday == k) for k in range(4)]


@pytest.mark.parametrize("rolling", [False, True])
def test_years_follow_one_another_with_all_that_came_before(rolling) -> None:
    data = table(1500)
    (bars,) = bars_of(data)
    folds = [split for (split,) in walk_forward([bars], 3, rolling, gap=7)]
    year = bars.ticks.astype("datetime64[s]").astype("datetime64[Y]").astype(int) + 1970
    judged = [set(year[split.valid_end : split.end]) for split in folds]
    assert judged == [{2015}, {2016}, {2017}]
    for split in folds:
        assert year[split.valid_end] == year[split.valid_end - 1] + 1  # a judged year begins where it begins
        assert 240 < split.valid_end - split.train_end < 265
        assert (split.begin > 0) == (rolling and split is not folds[0])
    assert [a.end for a in folds[:-1]] == [b.valid_end for b in folds[1:]]
    with pytest.raises(DataError, match="1500 bars are too few for 9 years"):
        walk_forward([bars], 9, rolling, gap=7)


def test_survivors_are_named() -> None:
    data = table(50)
    wide = {"time": data["time"], "A": data["close"], "B": np.where(np.arange(50) < 30, data["close"], np.nan)}
    assert survivors_in(bars_of(wide)).startswith("1 of 2 assets end before the others (B)")
    assert "they are survivors" in survivors_in(bars_of({**wide, "B": data["close"] * 2}))
