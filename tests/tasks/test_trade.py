"""A trader: no bit of a position knows what comes after it; accounts, statistics and verdicts against plain ones."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import recurra
from recurra.cli import app
from recurra.data import Split, as_table
from recurra.data.markets import bars as bars_module
from recurra.data.markets.bars import choose_columns, read_bars
from recurra.data.markets.transform import outcomes
from recurra.errors import DataError, SettingError
from recurra.tasks.bench import Bench
from recurra.tasks.trading import report as trading_report
from recurra.tasks.trading.accounts import Market, benchmark_of, bought, kept
from recurra.tasks.trading.metrics import Growth, Qlike
from recurra.tasks.trading.rivals import Garch
from recurra.tasks.trading.statistics import deflated, intervals, sharpe
from recurra.tasks.trading.task import Trade
from recurra.tasks.trading.trader import Trader

BARS = 1080
HOW = {"hidden": 3, "epochs": 2, "years": 2, "seed": 1}


def days(count: int) -> np.ndarray:
    every = np.arange(np.datetime64("2012-01-02"), np.datetime64("2012-01-02") + 2 * count)
    return every[np.is_busday(every)][:count]


def prices(seed: int = 0, count: int = BARS) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    walks = {name: 50 * np.exp((0.012 * rng.normal(size=count)).cumsum()) for name in ("A", "B")}
    walks["B"][: count // 5] = np.nan  # it comes later
    return {"time": days(count), **walks}


@pytest.fixture(scope="module")
def trader() -> Trader:
    return Trader(**HOW).fit(prices())


def test_no_position_knows_what_comes_after_it(trader: Trader) -> None:
    """Training included: everything after a day is replaced by noise, and all is fitted anew."""
    data, day = prices(), np.datetime64("2014-09-01")
    rng = np.random.default_rng(5)
    for name in ("A", "B"):
        later = data["time"] > day
        data[name][later] *= np.exp(rng.normal(size=later.sum()))
    again = Trader(**HOW, refit=False).fit(data)
    found = []
    for one in (trader.positions_, again.positions_):
        until = one["time"] <= day
        found.append([one[name][until] for name in ("time", "asset", "position")])
        assert until.sum() > 200
    assert found[0][2].tobytes() == found[1][2].tobytes()
    assert found[0][1].tolist() == found[1][1].tolist()
    assert trader.positions_["position"].tobytes() != again.positions_["position"].tobytes()
    assert trader.report_["proof"]
    assert sum(line.startswith("Proof: with everything after") for line in trader.report_["verdict"]) == 1


def test_the_proof_fails_where_a_feature_looks_ahead(trader: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    right = bars_module.Tape.rows

    def ahead(self, start, stop):
        x = right(self, start, stop)
        return np.concatenate([x[1:], x[-1:]])

    monkeypatch.setattr(bars_module.Tape, "rows", ahead)
    assert any(line.startswith("The proof FAILS") for line in trader.backtest(prices(7))["verdict"])


def test_a_random_walk_has_no_edge(trader: Trader) -> None:
    verdict = trader.report_["verdict"]
    assert verdict[0].startswith("No edge was found: after costs of 10 bp and one bar of delay the positions earned")
    assert any("The last price alone has R² 0.9" in line for line in verdict)
    assert any("are survivors" in note for note in trader.report_["data"]["notes"])
    names = [row["name"] for row in trader.report_["table"]]
    assert names == ["GRU", "equal weight", "momentum", "ridge", "bought and held"]
    assert verdict[1].startswith("Beyond being in these assets by a fixed share of")
    for row in trader.report_["table"]:
        assert row["sharpe_low"] <= row["sharpe"] <= row["sharpe_high"]


def test_an_edge_is_found_where_positions_know_the_future() -> None:
    data = prices(3)
    read = as_table({"time": data["time"], "close": data["A"]})
    found, _ = read_bars(read, choose_columns(read)[0])
    task = Trade(delay=1)
    truth = task.truth(found[0], 0, BARS)
    knows = np.stack([(np.nan_to_num(truth[:, 0]) > 0).astype(float), np.zeros(BARS), np.ones(BARS)], 1)
    market = Market.of(found)
    report = trading_report.account_report(task, found, market, 100, {"it": [knows]}, 1e-3, 1, 50, 0, None)
    assert report["verdict"][0].startswith("An edge was found, in these data")
    late = trading_report.account_report(task, found, market, 100, {"it": [knows]}, 1e-3, 2, 50, 0, None)
    assert late["verdict"][0].startswith("No edge was found")  # a bar later it is worth nothing


def test_live_is_whole_to_the_bit_and_goes_on_from_a_snapshot(trader: Trader, tmp_path) -> None:
    trader.save(tmp_path / "t.recurra")
    model, data = recurra.open_model(tmp_path / "t.recurra"), prices(9, 320)
    whole = model.predict(data, steps="all")
    want = {(t, a): p for t, a, p in zip(whole["time"], whole["asset"], whole["position"], strict=True)}
    live, seen = model.live(), 0
    for t in range(320):
        row = {"time": str(data["time"][t]), "A": data["A"][t]}
        if np.isfinite(data["B"][t]):
            row["B"] = data["B"][t]
        if t == 150:
            snapshot = live.snapshot()
            live = model.live()
            live.restore(snapshot)
        answer = live.step(row)
        for name in row.keys() - {"time"}:
            assert answer[name] == want[data["time"][t], name]
            seen += 1
    assert seen == len(want) == 320 + 256
    last = {"time": "2014-01-01", "A": 50.0}
    for bad, said in (
        ({"time": str(data["time"][-1])}, "comes twice"),
        ({"time": "2012-01-03"}, "comes after that of"),
        ({"A": -1.0}, "the price 'A' is -1, expected one above zero"),
        ({"A": ""}, "the row has no price"),
        ({"time": "soon"}, "the time 'time' is 'soon'"),
    ):
        with pytest.raises(DataError, match=said):
            live.step({**last, **bad})
    assert live.step(last).keys() == {"time", "A"}


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_a_position_meets_the_return_after_its_delay(delay) -> None:
    data = prices(1, 80)
    read = as_table({"time": data["time"], "close": data["A"]})
    (one,), _ = read_bars(read, choose_columns(read)[0])
    returns, variance = outcomes(one, 0, 80, delay)
    close = data["A"]
    for t in (0, 13, 78 - delay):
        assert returns[t] == pytest.approx(close[t + delay + 1] / close[t + delay] - 1)
        assert variance[t] == pytest.approx(np.log(close[t + 1] / close[t]) ** 2, abs=1e-8)
    assert np.isnan(returns[79 - delay :]).all()
    position = np.random.default_rng(0).random(80)
    market = Market.of([one])
    account = kept(market.weights([position], delay), market.returns, 0.0)
    want = 1.0
    for t in range(80 - delay - 1):
        want *= 1 + position[t] * returns[t]
    assert account.wealth[-1] == pytest.approx(want)


def test_an_account_is_that_of_shares_and_cash() -> None:
    """Against a book of shares, cash and prices."""
    rng = np.random.default_rng(2)
    price = np.exp(np.cumsum(0.03 * rng.normal(size=(40, 3)), 0))
    weights, cost = rng.random((40, 3)) / 3, 0.004
    weights[rng.random((40, 3)) < 0.3] = np.nan
    returns = np.concatenate([np.zeros((1, 3)), price[1:] / price[:-1] - 1])
    account = kept(weights, returns, cost)
    shares, cash, wealth = np.zeros(3), 1.0, []
    for t in range(40):
        worth = cash + shares @ price[t]
        have = shares * price[t]
        wanted = np.where(np.isnan(weights[t]), have, weights[t] * worth)
        traded = np.abs(wanted - have).sum()
        assert account.turnover[t] == pytest.approx(traded / worth)
        factor = 1 - cost * traded / worth  # costs are borne by all alike
        shares, cash = wanted / price[t] * factor, (worth - wanted.sum()) * factor
        wealth.append(cash + shares @ price[t])
    assert account.wealth == pytest.approx(wealth)


def test_what_is_bought_and_held_is_traded_once() -> None:
    data = prices(4, 90)
    read = as_table(data)
    found, _ = read_bars(read, choose_columns(read)[0])
    market = Market.of(found)
    account = kept(bought(market, 30, 90), market.returns[30:], 0.0)
    worth = np.mean([data[name][89] / data[name][30] for name in ("A", "B")])
    assert account.wealth[-1] == pytest.approx(worth)
    assert account.turnover.sum() == pytest.approx(1)


def test_the_deflated_sharpe_ratio_is_that_of_the_paper() -> None:
    """Bailey and Lopez de Prado 2014, the example: 100 tries of variance 1/2 a year, 2.5 a year over 1,250 days."""
    assert deflated(2.5 / 250**0.5, 1250, -3.0, 10.0, 100, 0.5 / 250) == pytest.approx(0.9004, abs=5e-4)
    assert deflated(0.1, 500, 0.0, 3.0, 1) > deflated(0.1, 500, 0.0, 3.0, 10) > deflated(0.1, 500, 0.0, 3.0, 1000)


def test_intervals_hold_what_they_are_to_hold() -> None:
    rng = np.random.default_rng(0)
    returns = 0.1 + rng.normal(size=600)
    low, high = intervals(returns, np.mean, 0)[:, 0]
    assert low == pytest.approx(returns.mean() - 1.96 * 600**-0.5, abs=0.025)
    assert high == pytest.approx(returns.mean() + 1.96 * 600**-0.5, abs=0.025)
    assert sharpe(np.full(9, 0.3)) == 0


def test_metrics_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    truth, answers = rng.random((31, 3)) * 0.02, rng.random((31, 3))
    p, r = answers[:, 0], truth[:, 0]
    want = np.mean([np.log(1 + p[t] * r[t] - 0.001 * abs(p[t] - p[max(0, t - 1)])) for t in range(31)])
    assert Growth(0.001).value(truth, answers) == pytest.approx(1e4 * want)
    v, f = truth[:, 2], answers[:, 2]
    assert Qlike().value(truth, answers) == pytest.approx(np.mean(v / f - np.log(v) + np.log(f) - 1))


def test_parts_leave_the_bars_that_a_target_spans() -> None:
    task = Trade(delay=2, embargo=4)
    read = as_table({"time": days(400), "close": np.linspace(1, 2, 400)})
    (one,), _ = read_bars(read, choose_columns(read)[0])
    split = Split(200, 300, 390)
    assert task.steps(one, split, "train") == (22, 193)
    assert task.steps(one, split, "valid") == (200, 293)
    assert task.steps(one, split, "test") == (300, 390)


def test_a_benchmark_of_another_calendar_is_named() -> None:
    data = prices(0, 60)
    read = as_table({"time": data["time"], "close": data["A"]})
    found, _ = read_bars(read, choose_columns(read)[0])
    weeks = as_table({"time": data["time"][::5], "index": data["A"][::5]}, "weeks.csv")
    with pytest.raises(DataError, match=r"weeks.csv, row 1: the benchmark 'index': 48 dates, 2012-01-03 first, which"):
        benchmark_of(weeks, found)
    kept_rows = np.delete(np.arange(60), 20)
    name, index, notes = benchmark_of(as_table({"time": data["time"][kept_rows], "index": data["A"][kept_rows]}), found)
    assert (name, len(index)) == ("index", 59)
    assert any("the price before is taken" in note for note in notes)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"target": "level"}, "target='level', expected one of position, return, sign, variance"),
        ({"delay": -1}, "delay=-1, expected a whole number from 0"),
        ({"years": 1}, "years=1, expected a whole number from 2"),
        ({"cost": -3}, "cost=-3, expected basis points"),
        ({"tries": 0}, "tries=0, expected a whole number from 1"),
    ],
)
def test_settings_out_of_range_are_named(setting, said) -> None:
    with pytest.raises(SettingError, match=said):
        Trader(**setting).fit(prices(0, 60))


@pytest.mark.parametrize("target", ["return", "sign", "variance"])
def test_positions_follow_from_what_is_learned(target) -> None:
    task = Trade(target, short=True, volatility=0.2)
    signal, variance = np.array([0.5, 0.8, 0.0]), np.array([1e-4, 4e-4, 1.0])
    position = task.placed(target, signal, variance, 1.0)[:, 0]
    deviation = np.sqrt(variance)
    want = {
        "return": 0.5 * signal / deviation,
        "sign": 0.5 * 0.8 * (2 * signal - 1) / deviation,
        "variance": 0.2 / 252**0.5 / deviation,
    }[target]
    assert position == pytest.approx(np.clip(want, -1, 1))


def test_the_command_line_fits_and_backtests(tmp_path) -> None:
    data = prices(0, 820)
    rows = [f"{t},{a}" for t, a in zip(data["time"], data["A"], strict=True)]
    (tmp_path / "p.csv").write_text("\n".join(["time,close", *rows]))
    run, model = CliRunner(), tmp_path / "m.recurra"
    more = ["--target", "variance", "--years", "2", "--hidden", "2", "--epochs", "1", "--out", str(model)]
    done = run.invoke(app, ["fit", "trade", str(tmp_path / "p.csv"), *more, "--report", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    assert "No edge was found" in " ".join(done.output.split())
    assert "The account" in (tmp_path / "r.html").read_text()
    done = run.invoke(app, ["backtest", str(model), str(tmp_path / "p.csv"), "--cost", "5"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "820 of these bars are of 2015-02-20 or before" in said
    assert "after costs of 5 bp" in said


def test_garch_is_the_librarys_and_knows_nothing_of_later_bars() -> None:
    """Of a series whose variance clusters; at the end of training arch's own forecast is the same."""
    arch = pytest.importorskip("arch")
    rng, variance, returns = np.random.default_rng(5), 1e-4, []
    for _ in range(1500):
        returns.append(np.sqrt(variance) * rng.normal())
        variance = 2e-6 + 0.1 * returns[-1] ** 2 + 0.88 * variance
    close = 100 * np.exp(np.cumsum(returns))
    trader = Trader(target="variance", years=3, hidden=2, epochs=1, refit=False)
    task = trader.make_task()
    assert Garch in task.baselines
    assert Garch not in Trader(target="return").make_task().baselines
    bars = task.examples({"date": days(1500), "close": close})
    splits = task.split(bars, None, 0)
    bench = Bench(task, bars, splits, task.transform(bars, splits))
    garch, end = Garch.fit(bench), splits[0].train_end
    train = np.diff(np.log(close[:end]))
    fitted = arch.arch_model(100 * train, mean="Zero").fit(disp="off")
    want = float(fitted.forecast(horizon=1).variance.iloc[-1, 0]) / 1e4
    said = garch.variance(bars[0], 1500)
    assert said[end - 1] == pytest.approx(want, rel=1e-3)
    assert np.array_equal(garch.variance(bars[0], end), said[:end])
    assert np.array_equal(garch.predict(bars[0], end - 5, end)[:, 2], said[end - 5 : end])
