"""The report, the command, and model files."""

from __future__ import annotations

import csv
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from networks import noise, recall, vanilla
from torch import nn
from typer.testing import CliRunner

import recurra
from recurra import doctor
from recurra.cli.doctor import doctor as command
from recurra.doctor.model_file import examine_file, save_best
from recurra.errors import DoctorError
from recurra.runtime import load
from recurra.torch import GRU, LSTM, RNN, Recurrent, Stack, export
from recurra.torch.bridge import stack_of
from tasks.networks import forecaster, rows_of, table_of


@pytest.fixture(scope="module")
def findings() -> doctor.Findings:
    torch.manual_seed(0)
    model = Stack(LSTM(3, 6, num_layers=2), Recurrent("gru", 6, 5, bidirectional=True), nn.Linear(10, 1))
    result = doctor.examine(model, 100 * noise(30, 4, dtype=torch.float32), clip=1.0)
    result.retraining = doctor.retrain(vanilla, lambda: recall(8), steps=2, lag=7)
    return result


class Checker(HTMLParser):
    """Tags that open and close, ids that come once, and nothing from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.ids, self.used = [], [], []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        for name, value in attrs:
            assert name not in ("src",), value
            if name == "id":
                self.ids.append(value)
            if name.endswith("href"):
                self.used.append(value.removeprefix("#"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in ("meta", "br"):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report(findings: doctor.Findings, tmp_path: Path) -> None:
    path = findings.report(tmp_path / "report.html")
    text = path.read_text()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert set(checker.used) <= set(checker.ids)
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text
    assert not re.search(r"(src|href)=\"http|@import|url\(http", text)
    assert len(text) < 600_000
    assert text.count("<svg") >= 7
    for finding in findings:
        assert finding.kind.capitalize() in text
    for remedy in {r for f in findings for r in f.remedies}:
        assert doctor.REMEDIES[remedy] in unescape(text)
    assert findings.report(tmp_path / "again.html").read_text() == text


def test_report_of_trouble_and_of_training(tmp_path: Path) -> None:
    model = GRU(3, 4)
    x = noise(9, 2, dtype=torch.float32)
    with doctor.watch(model, every=1) as record:
        for _ in range(2):
            model(x)[0].sum().backward()
    assert "before clipping" in record.findings().report(tmp_path / "t.html").read_text()
    x[3] = float("nan")
    broken = doctor.examine(model, x)
    assert "Not finite" in broken.report(tmp_path / "n.html").read_text()
    json.dumps(broken.to_dict(), allow_nan=False)


def test_data_and_text(findings: doctor.Findings, tmp_path: Path) -> None:
    data = json.loads(json.dumps(findings.to_dict(), allow_nan=False))
    assert [f["kind"] for f in data["findings"]] == [f.kind for f in findings]
    assert len(data["layers"]) == 4 == len(findings.layers)
    assert data["layers"][0]["flow"]["norms"] == findings.layers[0].flow.norms
    assert data["healthy"] is False
    assert data["network"]["clipped"] <= 1.0
    text = str(findings)
    assert all(len(line) <= 100 for line in text.splitlines())
    assert all(f.kind in text and f.remedies[0] in text for f in findings)
    assert len(findings) == len(findings.findings)
    findings.to_tensorboard(tmp_path)
    assert any("tfevents" in p.name for p in tmp_path.iterdir())


def test_a_model_is_the_module_that_it_came_from(tmp_path: Path) -> None:
    torch.manual_seed(0)
    parts = (
        nn.Embedding(7, 3),
        Recurrent("lstm_projected", 3, 6, proj_size=4, initial_state="learned"),
        nn.LayerNorm(4),
    )
    module = Stack(
        *parts, Recurrent("gru", 4, 3, bidirectional=True), nn.LeakyReLU(0.2), nn.Linear(6, 7), nn.Softmax(-1)
    )
    x = torch.randint(0, 7, (12, 5))
    model = export(module, tmp_path / "m.recurra")
    again = stack_of(model)
    torch.testing.assert_close(again(x), module(x))
    ours, theirs = (doctor.examine(m, x).to_dict()["layers"] for m in (model, module))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a["flow"]["norms"], b["flow"]["norms"], rtol=1e-4)


def written(path: Path, names: list[str], rows: np.ndarray) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows.tolist())
    return path


def table(tmp_path: Path, rows: int = 240) -> Path:
    """The first number of each twelve is to be given at the end of them: too far for an RNN as it begins."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 2)) * 0.3
    y = np.concatenate([np.zeros(12), x[:-12, 0]])
    return written(tmp_path / "data.csv", ["a", "b", "y"], np.column_stack([x, y]))


def run(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_command(tmp_path: Path) -> None:
    torch.manual_seed(0)
    export(Stack(RNN(2, 8), nn.Linear(8, 1)), tmp_path / "m.recurra")
    page, best = tmp_path / "r.html", tmp_path / "best.recurra"
    data = table(tmp_path)
    output = run(
        tmp_path / "m.recurra", data, "--cure", "--steps", 20, "--report", page, "--tensorboard", tmp_path / "tb"
    )
    assert "vanishing" in output
    assert "as it was" in output
    assert "Remedies, tried" in page.read_text()
    findings = examine_file(tmp_path / "m.recurra", data, retrain=True, steps=20)
    trials = findings.retraining.trials
    orthogonal = next(t for t in trials if t.remedies == ("orthogonal",))
    findings.retraining.trials = [orthogonal]
    orthogonal.loss = 0.0
    save_best(findings, tmp_path / "m.recurra", best)
    x = noise(9, 2, 2, torch.float32)
    torch.testing.assert_close(torch.from_numpy(load(best).run(x.numpy())), orthogonal.module(x).detach())
    findings.retraining.trials = []
    with pytest.raises(DoctorError, match="nothing to save"):
        save_best(findings, tmp_path / "m.recurra", best)


def test_bad_files(tmp_path: Path) -> None:
    export(Stack(RNN(2, 8), nn.Linear(8, 1)), tmp_path / "m.recurra")
    few = written(tmp_path / "few.csv", ["a"], np.zeros((50, 1)))
    with pytest.raises(DoctorError, match=r"few.csv has 1 columns, expected 2, .* or 3 with"):
        examine_file(tmp_path / "m.recurra", few)
    blind = written(tmp_path / "blind.csv", ["a", "b"], np.random.default_rng(0).normal(size=(300, 2)))
    with pytest.raises(DoctorError, match="no columns for the outputs"):
        examine_file(tmp_path / "m.recurra", blind, retrain=True)
    assert examine_file(tmp_path / "m.recurra", blind).layers[0].cell == "rnn"
    short = written(tmp_path / "short.csv", ["a", "b"], np.zeros((1, 2)))
    with pytest.raises(DoctorError, match="has 1 rows, expected at least 2"):
        examine_file(tmp_path / "m.recurra", short)
    export(Stack(nn.Embedding(5, 3), GRU(3, 4)), tmp_path / "w.recurra")
    words = written(tmp_path / "words.csv", ["w"], np.array([[0], [4], [5], [1]]))
    with pytest.raises(DoctorError, match="whole numbers from 0 to 4"):
        examine_file(tmp_path / "w.recurra", words)
    with pytest.raises(DoctorError, match="no recurrent layer"):
        doctor.examine(nn.Linear(2, 2), torch.zeros(3, 2))
    with pytest.raises(DoctorError, match="no single number"):
        doctor.examine(GRU(2, 2), torch.zeros(3, 1, 2), loss=lambda out, _: out[0])


def test_a_forecast_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.datetime64("2024-01-01T00", "s") + np.arange(600) * np.timedelta64(3600, "s")
    y = 10 + 3 * np.sin(np.arange(600) * 2 * np.pi / 24) + 0.3 * rng.normal(size=600)
    data = {"time": times, "y": y}
    forecaster = recurra.Forecaster(horizon=6, hidden=8, epochs=1, seed=0).fit(data, target="y", time="time")
    forecaster.save(tmp_path / "f.recurra")
    path = tmp_path / "f.csv"
    path.write_text("time,y\n" + "\n".join(f"{t},{v}" for t, v in zip(times[-240:], y[-240:], strict=True)))
    module = stack_of(forecaster.model_)
    rows = torch.randn(9, 2, forecaster.model_.input_size)
    torch.testing.assert_close(
        module(rows).detach(), torch.from_numpy(forecaster.model_.run(rows.numpy())), atol=1e-4, rtol=1e-4
    )
    findings = examine_file(tmp_path / "f.recurra", path, retrain=True, steps=3, lag=100)
    assert findings.layers[0].cell == "gru"
    assert findings.layers[0].hidden_size == 8
    assert findings.retraining is not None
    assert findings.network.loss > 0


def labelled_table(tmp_path: Path, count: int = 60) -> Path:
    """Sequences of 35 to 45 steps whose first number says the label."""
    rng = np.random.default_rng(0)
    lines = ["who,a,b,label"]
    for i in range(count):
        x = 0.3 * rng.normal(size=(int(rng.integers(35, 46)), 2))
        x[0, 0] = 2.0 if i % 2 else -2.0
        lines += [f"s{i},{a},{b},{'up' if i % 2 else 'down'}" for a, b in x]
    path = tmp_path / "sequences.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def without_labels(path: Path) -> Path:
    blind = path.with_name("blind.csv")
    blind.write_text("".join(line.rpartition(",")[0] + "\n" for line in path.read_text().splitlines()))
    return blind


def test_data_without_targets_show_no_illness(tmp_path: Path) -> None:
    table = table_of(80)
    forecaster(table)[0].save(tmp_path / "f.recurra")
    rows = [",".join(["" if v != v else str(v) for v in row.values()]) for row in rows_of(table, sparse=False)]
    blind = [",".join([r.split(",")[0], "", *r.split(",")[2:]]) for r in rows]
    (tmp_path / "f.csv").write_text("\n".join([",".join(table.columns), *blind]))
    with pytest.raises(DoctorError, match="has no value of the target, so there is no loss whose gradient could be"):
        examine_file(tmp_path / "f.recurra", tmp_path / "f.csv")


def test_a_classifier_is_examined_through_its_task(tmp_path: Path) -> None:
    path = labelled_table(tmp_path)
    model = recurra.Classifier("rnn", hidden=8, epochs=1, seed=0).fit(path, "label", series="who")
    model.save(tmp_path / "c.recurra")
    findings = examine_file(tmp_path / "c.recurra", path, target="label", lag=30)
    assert findings.layers[0].cell == "rnn"
    # The loss is the task's, of the network that the file has: cross entropy at the end, on the last sequences.
    sequences = model.task_.read(str(path), model.transform_, targets=True)
    T = min(256, int(np.median([len(s) for s in sequences])))
    kept = [s for s in sequences if len(s) >= T][-16:]
    rows = np.stack([model.transform_.rows(s, 0, len(s))[-T:] for s in kept], axis=1)
    shares = model.model_.run(rows)[-1]
    right = np.array([int(s.target) for s in kept])
    assert findings.network.loss == pytest.approx(float(-np.log(shares[np.arange(16), right]).mean()), rel=1e-4)
    assert examine_file(tmp_path / "c.recurra", path, lag=30).network.loss == findings.network.loss
    blind = examine_file(tmp_path / "c.recurra", without_labels(path), lag=30)
    assert blind.network.loss != pytest.approx(findings.network.loss)


def test_what_is_retrained_of_a_classifier_is_one_again(tmp_path: Path) -> None:
    path = labelled_table(tmp_path)
    model = recurra.Classifier("rnn", hidden=8, epochs=1, seed=0).fit(path, "label", series="who")
    model.save(tmp_path / "c.recurra")
    with pytest.raises(DoctorError, match=r"no columns for the outputs.*name the target"):
        examine_file(tmp_path / "c.recurra", without_labels(path), lag=30, retrain=True)
    findings = examine_file(tmp_path / "c.recurra", path, target="label", lag=30, retrain=True, steps=10)
    tried = findings.retraining
    assert {"orthogonal", "time_reversal"} <= {t.name for t in tried.trials}, "its answers are at the end"
    orthogonal = next(t for t in tried.trials if t.remedies == ("orthogonal",))
    tried.trials, orthogonal.loss = [orthogonal], 0.0
    save_best(findings, tmp_path / "c.recurra", tmp_path / "best.recurra")
    best = recurra.Classifier.load(tmp_path / "best.recurra")
    shares = best.predict_proba(str(path))
    np.testing.assert_allclose(shares.sum(1), 1.0, rtol=1e-5)
    assert best.classes_.tolist() == ["down", "up"]
    with torch.no_grad():
        rows = torch.randn(7, 3, 2)
        scores = orthogonal.module(rows)
    np.testing.assert_allclose(best.model_.run(rows.numpy())[-1], scores.softmax(-1), atol=1e-5)
