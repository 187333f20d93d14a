"""A detector: declared false alarms, found anomalies, the same bits live, an operator's word; in a shell; bad input."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers import generator
from recurra import Detector, open_model
from recurra.cli import app
from recurra.data.split import Split
from recurra.errors import DataError, ModelFileError, SessionError, SettingError
from recurra.report.fit import fit_page
from recurra.serve.stream import stream as run_stream
from recurra.tasks.detection.metrics import delays

SMALL = {"hidden": 6, "epochs": 6, "per": 1000, "learning_rate": 0.01}


def stream(length: int = 1500, key: str = "stream") -> np.ndarray:
    """Two numbers a step, of which the second follows the first; some are missing."""
    rng = generator(key, length)
    one = np.sin(np.arange(length) / 5) + rng.normal(0, 0.1, length)
    x = np.stack([one, 30 * np.roll(one, 1) + rng.normal(0, 3, length)], 1)
    x[rng.random(x.shape) < 0.02] = np.nan
    x[70:71] = np.nan
    return x


@pytest.fixture(scope="module", params=["forecast", "autoencoder"])
def model(request: Any) -> Detector:
    return Detector(surprise=request.param, smooth=2, adapt=400, **SMALL).fit(stream())


def test_a_live_session_says_what_detect_says(model: Detector, tmp_path: Any) -> None:
    x = stream(137, "new")
    said, live = model.detect(x), model.live()
    model.save(tmp_path / "m.recurra")
    again = Detector.load(tmp_path / "m.recurra").live()
    for t, row in enumerate(x):
        if t == 61:
            again.restore(live.snapshot())
        one = live.step(row)
        if t >= 61:
            assert again.step(row) == one
        assert one["rarity"] == said["rarity"][t]
        assert (one["anomalous"], one["alarm"]) == (said["anomalous"][t], said["alarm"][t])
        assert one["surprise"] == said["surprise"][t] or (t == 70 and one["surprise"] is None)
        assert one["by"] == said["by"][t] in ("x0", "x1")
        assert one["signal"] == said["signal"][t] in ("surprise of 2", "level of 2")
    assert len(np.unique(said["rarity"])) > 6
    with pytest.raises(SessionError):
        model.live().restore(live.snapshot()[:-1])


def test_a_forecast_is_of_changes_and_what_is_missing_stays_as_it_was() -> None:
    """Row by row, live or not; of all that there is before it."""
    x = stream(90)
    task = Detector().make_task()
    found = task.examples(x)
    learned = task.transform(found, [Split(90, 90, 90)])
    scaler = learned.plain.scalers
    rows, targets = learned.rows(found[0], 0, 90), learned.targets(found[0], 0, 90)
    live, known = learned.live(), np.full(2, np.nan)
    for t in range(90):
        held = [0.0 if v != v else (v - s.center) / s.scale for v, s in zip(known, scaler, strict=True)]
        assert rows[t, :2] == pytest.approx(held, abs=1e-5)
        assert rows[t, 2:].tolist() == (np.isnan(x[t - 1]) if t else np.ones(2)).astype(float).tolist()
        assert np.array_equal(live.push(x[t]), rows[t])
        want = [(v - s.center) / s.scale - h for v, s, h in zip(x[t], scaler, held, strict=True)]
        assert targets[t] == pytest.approx(want, abs=1e-5, nan_ok=True)
        known = np.where(np.isnan(x[t]), known, x[t])
    for start in (1, 70, 71, 72, 88):
        assert np.array_equal(learned.rows(found[0], start, 90), rows[start:])


def test_what_is_unusual_is_found_and_what_is_usual_is_not(model: Detector) -> None:
    x, y = stream(2000, "more"), np.zeros(2000, bool)
    for at in (500, 1200, 1700):
        x[at : at + 12, 0] += 2.5
        y[at : at + 12] = True
    found = model.evaluate(x, y)
    assert (found["events"], found["found"]) == (3, 1)
    assert found["delay"] < 3
    assert found["false_alarms"] < 4  # in 1000 steps: one was declared
    assert model.detect(x)["by"][500] == "x0"


def test_delays_count_stretches() -> None:
    rng = generator("delays")
    alarms, truth = rng.random(200) < 0.1, np.repeat(rng.random(40) < 0.4, 5)
    found = delays(alarms, truth)
    events, delay, hit, t = 0, 0, 0, 0
    while t < 200:
        stop = t
        while stop < 200 and truth[stop]:
            stop += 1
        if stop > t:
            events += 1
            rung = [k - t for k in range(t, stop) if alarms[k]]
            hit, delay = hit + bool(rung), delay + (rung[0] if rung else 0)
        t = max(stop, t + 1)
    outside = sum(bool(a and not b) for a, b in zip(alarms, truth, strict=True))
    assert found == {"events": events, "found": hit, "delay": delay, "false": outside, "steps": (~truth).sum()}


def test_in_a_shell(tmp_path: Any) -> None:
    x = stream(1200)
    x[1100:1110, 0] += 5
    table, out = tmp_path / "pump.csv", tmp_path / "pump.recurra"
    times = np.datetime64("2024-01-01") + np.arange(len(x)) * np.timedelta64(10, "m")
    with table.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "a", "b", "odd"])
        for t, (when, row) in enumerate(zip(times, x, strict=True)):
            writer.writerow([when, *("" if v != v else repr(float(v)) for v in row), int(1100 <= t < 1110)])

    def run(*words: Any, text: str = "") -> str:
        done = CliRunner().invoke(app, [str(word) for word in words], input=text)
        assert done.exit_code == 0, done.output
        return done.output

    how = ["--time", "time", "--truth", "odd", "--per", "week", "--epochs", 3, "--hidden", 6, "--out", out]
    run("fit", "detect", table, *how, "--report", tmp_path / "r.html")
    assert "false ones by chance, as declared" in (tmp_path / "r.html").read_text()
    model = open_model(out)
    assert model.task_.watch.rarity == pytest.approx(math.log10(7 * 24 * 6))
    assert model.transform_.inputs == ("a", "b")
    said, truth = model.detect(x)["anomalous"], np.arange(1200) // 10 == 110
    f1 = 2 * (said & truth).sum() / (said.sum() + truth.sum())
    assert f1 > 0
    assert f"{f1:.4f}".rstrip("0") in run("evaluate", out, table)
    assert model.evaluate(str(table))["f1"] == pytest.approx(f1)
    run("predict", out, table, "--out", tmp_path / "said.csv")
    with (tmp_path / "said.csv").open() as file:
        rows = list(csv.DictReader(file))
    want = model.detect(x)
    assert [float(row["rarity"]) for row in rows] == want["rarity"].tolist()
    assert any(want["alarm"][1100:1110])
    lines = [json.dumps({"a": None if a != a else a, "b": None if b != b else b}) for a, b in x[:1105]]
    answers = [json.loads(line) for line in run("stream", out, text="\n".join(lines)).splitlines() if line[:1] == "{"]
    assert [one["rarity"] for one in answers] == want["rarity"][:1105].tolist()


def test_a_model_of_an_earlier_version_is_refused_in_words(model: Detector, tmp_path: Any) -> None:
    model.save(tmp_path / "m.recurra")
    old = Detector.load(tmp_path / "m.recurra")
    tail = {"level": 1.0, "scale": 0.3, "rate": 0.01}
    old.model_.preprocessing["watch"] = {"smooth": 2, "adapt": 0, "apart": 10, "rarity": 3.0, "tail": tail}
    old.model_.save(tmp_path / "old.recurra")
    with pytest.raises(ModelFileError, match="watched a surprise alone"):
        Detector.load(tmp_path / "old.recurra")


def test_feedback_in_a_live_session(model: Detector) -> None:
    live = model.live()
    for row in stream(50, "calm"):
        live.step(row)
    live.feedback("right")
    rarity = live.step([9.0, 90.0])["rarity"]
    before = live.snapshot()
    assert live.step({"feedback": "missed"}) is None
    assert live.feedback("right") == pytest.approx(min(3.0, rarity - 0.05))
    live.restore(before)
    assert live.feedback("false") == pytest.approx(min(11.99, max(3.0, rarity) + 0.05))
    for said, words in (("wrong", "the feedback is 'wrong', expected one of right, false, missed"),):
        with pytest.raises(DataError, match=words):
            live.feedback(said)
    with pytest.raises(DataError, match="there is no stream 'pump' yet"):
        live.feedback("false", "pump")


def test_an_operators_word_in_lines_of_csv(model: Detector, tmp_path: Any) -> None:
    """A column `feedback`, beside numbers or alone, is what `feedback` is."""
    model.save(tmp_path / "m.recurra")
    calm = np.nan_to_num(stream(40, "calm")).tolist()
    lines = ["x0,x1,feedback", *(f"{a!r},{b!r}," for a, b in calm)]
    lines += ["9.0,90.0,", ",,false", "9.0,90.0,", "0.1,0.2,missed", "0.1,0.2,"]
    out, live = io.StringIO(), open_model(tmp_path / "m.recurra").live()
    done = run_stream(live, lines, out, io.StringIO())
    assert (done.answers, done.announcements, done.bad) == (44, 1, 0)
    told = model.live()
    for row in calm:
        told.step(row)
    said = [told.step([9.0, 90.0])]
    told.feedback("false")
    said.append(told.step([9.0, 90.0]))
    moved = told.feedback("missed")
    said += [told.step([0.1, 0.2]), told.step([0.1, 0.2])]
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))[-4:]
    for name in ("rarity", "anomalous"):
        assert [row[name] for row in rows] == [str(one[name]) for one in said]
    assert live.feedback("right") == moved != model.task_.watch.rarity
    before = live.snapshot()
    with pytest.raises(DataError, match="'x1' is 'much'"):
        live.step({"x0": 1.0, "x1": "much", "feedback": "false"})
    assert live.snapshot() == before


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"surprise": "luck"}, SettingError, "surprise='luck', expected one of forecast, autoencoder"),
        ({"per": "fortnight"}, SettingError, "per='fortnight', expected a number of steps, or one of minute"),
        ({"per": "week"}, SettingError, "no column of times says how long a step is"),
        ({"false_alarms": 0}, SettingError, "false_alarms=0, expected a number above 0"),
        ({"smooth": 0}, SettingError, "smooth=0, expected a whole number of steps from 1"),
        ({"smooth": (1, 1.5)}, SettingError, "smooth=1.5, expected a whole number of steps from 1"),
        ({"smooth": (4, 4)}, SettingError, r"smooth=\(4, 4\), expected a number of steps, or up to 8 different ones"),
        ({"parts": (1, 0, 0)}, DataError, "expected three shares"),
        ({"parts": (0.98, 0.01, 0.01)}, DataError, "a stream of 1500 steps is too short, expected at least 20 in each"),
    ],
)
def test_what_cannot_be_asked_for(given: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Detector(**{**SMALL, "epochs": 1, **given}).fit(stream(), evaluate=False)


def test_the_report_of_a_stream(model: Detector) -> None:
    page = fit_page(model.report_)
    assert "alarms in 225 steps of the test part" in page or "alarm in 225 steps of the test part" in page
    assert [row["name"] for row in model.report_["table"]] == ["GRU", "last value"]
    assert "labels" not in page
    assert "1 in 1000 steps, 0.2 of these, would be false ones by chance, as declared" in page
    with pytest.raises(DataError, match="a stream has 3 numbers a step, expected 2 as in training: x0, x1"):
        model.predict(np.zeros((9, 3)))
    with pytest.raises(DataError, match="stream 0 has 3 labels for 9 steps"):
        model.evaluate(np.zeros((9, 2)), [0, 1, 0])
