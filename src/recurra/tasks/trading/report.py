"""The walk over the years of a trader, its account beside its rivals', the proof, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.markets.bars import Bars
from recurra.data.markets.doubts import survivors_in
from recurra.data.split import Split
from recurra.tasks.base import Floats
from recurra.tasks.bench import Bench, ModelPredictor, Predictor
from recurra.tasks.learn import Recipe, learn, to_runtime
from recurra.tasks.trading.accounts import Account, Market, benchmark_returns, bought, kept
from recurra.tasks.trading.proof import Year, proof
from recurra.tasks.trading.rivals import Hold, Momentum
from recurra.tasks.trading.statistics import deflated_sharpe, intervals, sharpe
from recurra.train import Progress

if TYPE_CHECKING:
    from recurra.tasks.trading.trader import Trader

SHOWN = 400  # points of a curve
METRICS = [
    {"key": "yearly", "name": "a year", "less": False, "percent": True},
    {"key": "volatility", "name": "volatility", "less": True, "percent": True},
    {"key": "sharpe", "name": "Sharpe", "less": False, "percent": False},
    {"key": "sharpe_low", "name": "95 % from", "less": False, "percent": False},
    {"key": "sharpe_high", "name": "to", "less": False, "percent": False},
    {"key": "deflated", "name": "deflated", "less": False, "percent": True},
    {"key": "drawdown", "name": "worst loss", "less": True, "percent": True},
    {"key": "turnover", "name": "turnover a year", "less": True, "percent": False},
    {"key": "costs", "name": "costs a year", "less": True, "percent": True},
]


def judged(
    bench: Bench,
    predictor: ModelPredictor,
    recipe: Recipe,
    trader: Trader,
    benchmark: Any,
    told: Callable[[Progress], None] | None,
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The positions of all judged years, as columns, and what the report has of them.

    Args:
        bench, predictor: of the last year.
        recipe, trader: how the network is made and judged.
        benchmark: from `benchmark_of`, or None.
        told: progress of the training of the other years.
    """
    task: Any = bench.task
    years = []
    for splits in task.folds[:-1]:
        ends = [split.end for split in splits]
        cut = [s.cut(end) for s, end in zip(bench.sequences, ends, strict=True)]
        some = [k for k, s in enumerate(cut) if len(s)]
        part = _bench(task, [cut[k] for k in some], [splits[k] for k in some])
        network, _, _ = learn(part, recipe, progress=told)
        one = ModelPredictor(task, part.transform, to_runtime(part, network), predictor.name)
        years.append(Year(part, one, part.baselines()))
    years.append(Year(bench, predictor, bench.baselines()))
    order = {s.name: k for k, s in enumerate(bench.sequences)}
    strategies = {"": _answers(years, order, bench.sequences, lambda year: year.predictor)}
    for k, rival in enumerate(years[-1].rivals):
        strategies[rival.name] = _answers(years, order, bench.sequences, _rival(k))
    market = Market.of(bench.sequences)
    first = min(
        int(s.ticks[sp.valid_end])
        for s, sp in zip(years[0].bench.sequences, years[0].bench.splits, strict=True)
        if sp.valid_end < len(s)
    )
    start = int(np.searchsorted(market.ticks, first))
    named = {name or predictor.name: answers for name, answers in strategies.items()}
    found = account_report(
        task,
        bench.sequences,
        market,
        start,
        named,
        task.cost,
        task.delay,
        int(trader.tries),
        int(trader.seed),
        benchmark,
    )
    found["data"] = {"source": "", **bench.described(), **_facts(trader, years)}
    if benchmark is not None:
        found["data"]["notes"] += benchmark[2]
    found["verdict"].append(proof(years, int(trader.seed)))
    found["scores"], found["proof"] = _scores(years, task), found["verdict"][-1].startswith("Proof:")
    found["sections"].insert(1, _forecasts(found["scores"], task))
    answers = strategies[""]
    columns = []
    for s, answer in zip(bench.sequences, answers, strict=True):
        there = np.flatnonzero(np.isfinite(answer[:, 0]))
        outcome = task.truth(s, 0, len(s))[there, 0]
        columns.append((s.ticks[there], np.full(len(there), s.name, object), answer[there, 0], outcome))
    ticks, names, positions, outcomes = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    clock = bench.sequences[0].clock
    return {"time": clock.array(ticks), "asset": names, "position": positions, "return": outcomes}, found


def _bench(task: Any, sequences: Sequence[Bars], splits: Sequence[Split]) -> Bench:
    return Bench(task, sequences, splits, task.transform(sequences, splits))


def _rival(k: int) -> Callable[[Year], Predictor]:
    return lambda year: year.rivals[k]


def _answers(
    years: Sequence[Year], order: dict[str, int], sequences: Sequence[Bars], chosen: Callable[[Year], Predictor]
) -> list[Floats]:
    """For each asset the answers [T, 3] of the years that were judged, each from what answered in that year."""
    found = [np.full((len(s), 3), np.nan) for s in sequences]
    for year in years:
        for sequence, start, stop in year.bench.pieces("test"):
            found[order[sequence.name]][start:stop] = chosen(year).predict(sequence, start, stop)
    return found


def account_of_model(trader: Trader, sequences: Sequence[Bars], cost: float, delay: int) -> dict[str, Any]:
    """The report of a model as it is, on other prices."""
    task: Any = trader.task_
    bench = Bench(task, sequences, [Split(0, 0, len(s)) for s in sequences], trader.transform_)
    predictor = trader.predictor()
    years = [Year(bench, predictor, [Hold(bench), Momentum(bench)])]
    order = {s.name: k for k, s in enumerate(sequences)}
    market = Market.of(sequences)
    named = {predictor.name: _answers(years, order, sequences, lambda year: year.predictor)}
    for k, rival in enumerate(years[0].rivals):
        named[rival.name] = _answers(years, order, sequences, _rival(k))
    tries = int(trader.get_params()["tries"])
    report = account_report(task, sequences, market, 0, named, cost, delay, tries, 0, None)
    seen = str(trader.model_.card.get("data", {}).get("to", ""))
    clock = sequences[0].clock
    early = sum(int((s.ticks <= clock.read(seen)).sum()) for s in sequences) if seen else 0
    if early:
        report["verdict"].insert(
            0,
            f"{early:,} of these bars are of {seen} or before: the model was trained until then, so an account of them "
            "is worth nothing.",
        )
    report["data"] = {
        "source": "",
        "assets": len(sequences),
        "bars": sum(map(len, sequences)),
        "parts": [],
        "notes": [survivors_in(sequences), *task.notes],
    }
    report["verdict"].append(proof(years, 0))
    return report


def account_report(
    task: Any,
    sequences: Sequence[Bars],
    market: Market,
    start: int,
    strategies: dict[str, list[Floats]],
    cost: float,
    delay: int,
    tries: int,
    seed: int,
    benchmark: Any,
) -> dict[str, Any]:
    """Table, sections and verdict of some strategies' answers [T, 3] of each asset; the first is the network's.

    All accounts begin at the row `start` of the market and end with it.
    """
    returns = market.returns[start:]
    accounts: dict[str, tuple[str, Account]] = {}
    for number, (name, answers) in enumerate(strategies.items()):
        weights = market.weights([one[:, 0] for one in answers], delay)[start:]
        accounts[name] = ("model" if number == 0 else "naive", kept(weights, returns, cost))
    own = next(iter(accounts))
    held, equal = "bought and held", Hold.name
    if equal not in accounts:
        ones = [np.ones(len(s)) for s in sequences]
        accounts[equal] = ("naive", kept(market.weights(ones, 0)[start:], returns, cost))
    accounts[held] = ("naive", kept(bought(market, start, len(market.ticks)), returns, cost))
    table = [
        _numbers(name, kind, account, market.per_year, tries if name == own else 1, seed)
        for name, (kind, account) in accounts.items()
    ]
    if benchmark is not None:
        index = benchmark_returns(market, benchmark[1])[start:]
        nothing = np.zeros(len(index))
        account = Account(index, nothing, nothing, np.ones(len(index)))
        accounts[benchmark[0]] = ("naive", account)
        table.append(_numbers(benchmark[0], "naive", account, market.per_year, 1, seed))
    verdict = _verdict(table, accounts, own, held, equal, market.per_year, cost, delay, tries, seed)
    verdict.append(_level(sequences, market.ticks[start], strategies[own], task))
    return {
        "title": "A trader, and what it is worth",
        "target": task.target,
        "metrics": METRICS,
        "table": table,
        "verdict": verdict,
        "accounts": {"cost": cost, "delay": delay, "tries": tries, "bars": len(returns)},
        "sections": [_curves(accounts, market, start), _exposure(accounts[own][1], market, start)],
    }


def _numbers(name: str, kind: str, account: Account, per_year: float, tries: int, seed: int) -> dict[str, Any]:
    from skfolio.measures import get_drawdowns, max_drawdown

    r = account.returns
    years = max(len(r), 1) / per_year
    low, high = intervals(r, sharpe, seed)[:, 0] if np.ptp(r) > 0 else (0.0, 0.0)
    wealth = float(account.wealth[-1])
    return {
        "name": name,
        "kind": kind,
        "yearly": wealth ** (1 / years) - 1,
        "volatility": float(r.std()) * per_year**0.5,
        "sharpe": sharpe(r) * per_year**0.5,
        "sharpe_low": float(low) * per_year**0.5,
        "sharpe_high": float(high) * per_year**0.5,
        "deflated": deflated_sharpe(r, tries),
        "drawdown": float(max_drawdown(get_drawdowns(r, compounded=True))),
        "turnover": float(account.turnover.sum()) / years,
        "costs": float(account.paid.sum()) / years,
    }


def _verdict(
    table: Sequence[dict[str, Any]],
    accounts: dict[str, tuple[str, Account]],
    own: str,
    held: str,
    market: str,
    per_year: float,
    cost: float,
    delay: int,
    tries: int,
    seed: int,
) -> list[str]:
    """Whether there is an edge, in plain words: what is earned beyond being in the same assets by a fixed share.

    Whoever is in by a half loses half as much when they fall; that is no edge. The account is regressed on that of the
    assets held in equal parts, and what is left is to be above zero.
    """
    rows = {row["name"]: row for row in table}
    both = np.stack([accounts[own][1].returns, accounts[market][1].returns], 1)
    beta, alpha = (float(v) for v in beyond(both))
    low, high = intervals(both, lambda sample: beyond(sample)[1:], seed)[:, 0] if np.ptp(both[:, 0]) > 0 else (0.0, 0.0)
    sure = deflated_sharpe(both[:, 0] - beta * both[:, 1], tries)
    bars = "one bar" if delay == 1 else f"{delay} bars"
    first = rows[own]
    what = (
        f"after costs of {cost * 1e4:g} bp and {bars} of delay the positions earned {first['yearly']:.1%} a year, the "
        f"same assets bought and held {rows[held]['yearly']:.1%}"
    )
    beside = (
        f"Beyond being in these assets by a fixed share of {beta:.0%}, that is {alpha * per_year:+.1%} a year, with a "
        f"95 % interval from {float(low) * per_year:+.1%} to {float(high) * per_year:+.1%}."
    )
    tried = "one try" if tries == 1 else f"the best of {tries:,} tries"
    chance = (
        f"The deflated Sharpe ratio of it says: a chance of {sure:.0%} that it is more than {tried} without skill "
        "would show."
    )
    if float(low) > 0 and sure > 0.95:
        said = [f"An edge was found, in these data: {what}.", beside, chance]
        said.append("It is that of these assets and years; who looked at them more often has found less.")
    else:
        said = [f"No edge was found: {what}. Do not trade on it.", beside, chance]
    better = [row["name"] for row in table if row["name"] != own and row["sharpe"] >= first["sharpe"]]
    if better:
        said.append(f"Simpler, and of no less a Sharpe ratio: {', '.join(better)}.")
    return said


def beyond(returns: Floats) -> Floats:
    """[2]: the share by which returns [T, 2] of the first column are those of the second, and the mean of what is left.

    >>> beyond(np.array([[0.02, 0.01], [0.05, 0.04], [-0.01, -0.02]])).round(6).tolist()
    [1.0, 0.01]
    """
    mean = returns.mean(0)
    centred = returns - mean
    size = float((centred[:, 1] ** 2).sum())
    beta = float((centred[:, 0] * centred[:, 1]).sum()) / size if size > 1e-18 else 0.0
    return np.array([beta, mean[0] - beta * mean[1]])


def _level(sequences: Sequence[Bars], first: int, answers: Sequence[Floats], task: Any) -> str:
    """How well the last price forecasts the next one, and what is left of that in returns."""
    level, signal, met = [], [], []
    for s, one in zip(sequences, answers, strict=True):
        log = s.tape.log[int(np.searchsorted(s.ticks, first)) :]
        if len(log) > 2 and log.std() > 0:
            level.append(1 - float(((log[1:] - log[:-1]) ** 2).mean() / log[1:].var()))
        truth = task.truth(s, 0, len(s))
        there = np.isfinite(one[:, 1]) & np.isfinite(truth[:, 1])
        signal.append(one[there, 1])
        met.append(truth[there, 1])
    text = (
        f"The last price alone has R² {np.median(level) if level else 0:.4f} of the next price: a curve of forecast "
        "prices that follows the prices shows nothing"
    )
    y, f = np.concatenate(met), np.concatenate(signal)
    if task.target == "return" and len(y):
        r2 = 1 - float(((y - f) ** 2).sum() / (y**2).sum())
        return f"{text}; of the next return, the network has R² {r2:.4f} (0: no forecast at all)."
    return f"{text}; it is not counted here."


def _scores(years: Sequence[Year], task: Any) -> dict[str, dict[str, float]]:
    """The task's own metrics, bar by bar, of the network and its rivals."""
    found = {}
    for k, name in enumerate([years[-1].predictor.name, *(rival.name for rival in years[-1].rivals)]):
        parts = [
            year.bench.predictions(year.predictor if k == 0 else year.rivals[k - 1], year.bench.pieces("test"))
            for year in years
        ]
        truth, answers = (np.concatenate(both) for both in zip(*parts, strict=True))
        found[name] = {metric.key: metric.value(truth, answers) for metric in task.metrics}
    return found


def _forecasts(scores: dict[str, dict[str, float]], task: Any) -> dict[str, Any]:
    return {
        "kind": "table",
        "heading": "Bar by bar, without an account",
        "headings": ["", *(metric.name for metric in task.metrics)],
        "rows": [[name, *values.values()] for name, values in scores.items()],
    }


def _curves(accounts: dict[str, tuple[str, Account]], market: Market, start: int) -> dict[str, Any]:
    x = _years(market, start)
    every = max(1, len(x) // SHOWN)
    curves = {n: (x[::every].tolist(), np.log2(a.wealth)[::every].tolist()) for n, (_, a) in accounts.items()}
    caption = "Wealth after costs, in doublings."
    return {"kind": "lines", "heading": "Wealth", "caption": caption, "x": "year", "y": "doublings", "lines": curves}


def _exposure(account: Account, market: Market, start: int) -> dict[str, Any]:
    x = _years(market, start)
    every = max(1, len(x) // SHOWN)
    caption = f"What the network has in assets, as a share of wealth; on the average {account.invested.mean():.0%}."
    lines = {"invested": (x[::every].tolist(), account.invested[::every].tolist())}
    return {"kind": "lines", "heading": "Positions", "caption": caption, "x": "year", "y": "share", "lines": lines}


def _years(market: Market, start: int) -> Floats:
    if market.days is None:
        return np.arange(len(market.ticks) - start) / market.per_year
    return 1970 + market.days[start:] / 365.2425


def _facts(trader: Trader, years: Sequence[Year]) -> dict[str, Any]:
    window = "rolling" if trader.rolling else "expanding"
    return {
        "judged": f"{len(years)} years, each by what was learned of those before ({window}, {trader.years} at first)",
        "costs": f"{trader.cost:g} bp and {trader.slippage:g} bp of slippage, of what is traded",
        "delay": f"{trader.delay} bars",
        "dividends": "as the prices have them: of prices that are not adjusted, they are left out for all alike",
    }
