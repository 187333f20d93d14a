"""Models of other libraries beside a forecaster: what they are given, how long they may take, what is said."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import generator
from recurra import Forecaster
from recurra.compare.candidates import choose
from recurra.errors import CompareError
from recurra.report.forecast import forecast_page
from recurra.tasks.base import Task
from recurra.tasks.bench import Bench
from recurra.tasks.forecasting import rivals
from recurra.tasks.forecasting.rivals import BoostedTrees, ExponentialSmoothing, Theta, chosen_rivals

T, N = 220, 3


def table() -> dict[str, np.ndarray]:
    rng = generator("rivals")
    t = np.arange(T)
    return {"y": 30 + 0.05 * t + 4 * np.sin(t / 12 * 2 * np.pi) + rng.normal(size=T), "x": rng.normal(size=T)}


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    f = Forecaster(N, hidden=3, epochs=1, seasons=(12,), refit="train")
    return f.fit(table(), "y", past="x", rivals=["trees", "theta"])


@pytest.fixture(scope="module")
def bench(fitted) -> Bench:
    splits = fitted.task_.split(fitted.series_, (0.7, 0.15, 0.15), 0)
    return Bench(fitted.task_, fitted.series_, splits, fitted.transform_)


@pytest.mark.parametrize("rival", [ExponentialSmoothing, Theta])
def test_at_the_end_of_training_it_says_what_the_library_says(bench, rival) -> None:
    models = pytest.importorskip("statsforecast.models")
    end = bench.splits[0].train_end
    y = bench.sequences[0].target[:end]
    want = getattr(models, rival.model)(season_length=12).fit(y).predict(N)["mean"]
    assert rival.fit(bench).predict(bench.sequences[0], end - 1, end)[0] == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("rival", [BoostedTrees, Theta])
def test_a_rival_sees_nothing_of_what_comes(bench, rival) -> None:
    pytest.importorskip(rival.packages[0])
    made, one = rival.fit(bench), bench.sequences[0]
    before = made.predict(one, 180, 190)
    changed = type(one)(**{**vars(one), "target": one.target.copy()})
    changed.target[186:] = 99.0
    after = made.predict(changed, 180, 190)
    assert np.array_equal(before[:6], after[:6])
    assert not np.array_equal(before[6:], after[6:])


def test_trees_learn_what_a_line_cannot() -> None:
    """The next value is a product of what the last two columns say."""
    rng = generator("product")
    x = rng.normal(size=(1500, 2))
    y = np.concatenate([[0.0], np.sign(x[:-1, 0] * x[:-1, 1]) * 3]) + 0.1 * rng.normal(size=1500)
    f = Forecaster(1, hidden=2, epochs=1, seasons=(), refit="train")
    f.fit({"y": y, "a": x[:, 0], "b": x[:, 1]}, "y", past=["a", "b"], rivals="trees")
    errors = {row["name"]: row["mae"] for row in f.report_["rivals"]["table"]}
    assert errors["boosted trees"] < 1.5
    assert errors["linear autoregression"] > 2.5
    assert any("boosted trees errs less" in sentence for sentence in f.report_["verdict"])


def test_all_are_measured_at_the_same_origins(fitted, bench) -> None:
    found = fitted.report_["rivals"]
    start, stop = bench.pieces("test")[0][1:]
    at = np.arange(start, stop)
    assert found["origins"] == len(at)
    naive = next(row for row in found["table"] if row["name"] == "last value again")
    y = bench.sequences[0].target
    truth = y[at[:, None] + 1 + np.arange(N)]
    assert naive["mae"] == pytest.approx(np.abs(truth - y[at][:, None]).mean())
    model = next(row for row in found["table"] if row["kind"] == "model")
    assert model["mae"] == pytest.approx(fitted.report_["table"][0]["mae"])
    assert [row["mase"] for row in found["table"]] == sorted(row["mase"] for row in found["table"])
    assert {"boosted trees", "AutoTheta"} <= {row["name"] for row in found["table"]} | set(found["left_out"])
    assert "Rivals" in forecast_page(fitted.report_ | {"model_file": "m"})


def test_what_takes_too_long_is_left_out_and_said(monkeypatch) -> None:
    monkeypatch.setattr(rivals, "SECONDS", -1.0)
    f = Forecaster(N, hidden=2, epochs=1, seasons=(), refit="train").fit(table(), "y", rivals="trees")
    assert "boosted trees" in f.report_["rivals"]["left_out"]
    assert any("boosted trees was left out" in sentence for sentence in f.report_["verdict"])
    assert f.report_["table"]


def test_names_are_checked_before_anything_is_trained() -> None:
    with pytest.raises(CompareError, match="rivals: got 'prophet', expected some of trees, ets, theta, arima"):
        Forecaster(N).fit(table(), "y", rivals="prophet")
    assert [r.key for r in chosen_rivals("all")] == [r.key for r in chosen_rivals(True)]
    assert chosen_rivals(False) == chosen_rivals([]) == []


def test_a_comparison_of_forecasters_has_those_that_are_installed(monkeypatch) -> None:
    task = Task.named("forecast")
    found, refused = choose(task, None)
    assert {"trees"} <= {c.name for c in found}
    assert "statistical" not in {c.kind for c in choose(Task.named("classify"), None)[0]}
    monkeypatch.setattr("recurra.compare.candidates.find_spec", lambda name: None if name == "statsforecast" else 1)
    found, refused = choose(task, None)
    assert not {"ets", "theta", "arima"} & {c.name for c in found}
    assert refused["arima"] == "statsforecast is not installed: pip install 'recurra[rivals]'"
