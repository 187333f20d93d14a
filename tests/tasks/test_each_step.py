"""A target for each step: fitted, predicted, measured, reported, and live in the same bits; from tables, in a shell."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss
from typer.testing import CliRunner

from helpers import generator
from recurra import Classifier, Regressor, open_model
from recurra.cli import app
from recurra.errors import DataError, SettingError
from recurra.report.fit import fit_page

SMALL = {"hidden": 8, "epochs": 40, "learning_rate": 0.02, "noise": 0.0}
LABELS = np.array(["down", "flat", "up"])


def walks(count: int = 40) -> tuple[list[np.ndarray], list[Any]]:
    """Numbers, and whether the last one was negative, about zero or positive; some labels are not known."""
    rng = generator("each step", count)
    X = [rng.normal(size=(int(n), 1)) for n in rng.integers(3, 19, count)]
    y = [LABELS[np.digitize(x[:, 0], [-0.4, 0.4])].astype(object) for x in X]
    y[0][0] = None
    y[1][2] = ""
    return X, y


@pytest.fixture(scope="module")
def model() -> Classifier:
    return Classifier(**SMALL).fit(*walks())


def test_labels_of_steps_are_learned_and_answered_in_the_bits_of_a_live_session(model: Classifier) -> None:
    X, _ = walks(11)
    found, shares, live = model.predict(X), model.predict_proba(X), model.live()
    for i, x in enumerate(X):
        steps = [live.step(row, str(i)) for row in x]
        assert [one["label"] for one in steps] == found[i].tolist()
        assert [list(one["probabilities"].values()) for one in steps] == shares[i].tolist()
    truth = [LABELS[np.digitize(x[:, 0], [-0.4, 0.4])] for x in X]
    assert np.mean(np.concatenate(found) == np.concatenate(truth)) > 0.8
    assert model.predict(X, steps="last").tolist() == [one[-1] for one in found]
    assert model.report_["data"]["labels"].keys() == {*LABELS.tolist()}
    assert sum(model.report_["data"]["labels"].values()) == sum(map(len, walks()[0])) - 2
    assert "steps have the right label" in fit_page(model.report_)


def test_metrics_are_over_all_steps_that_have_a_label(model: Classifier) -> None:
    X, y = walks(12)
    found = model.evaluate(X, y)
    there = np.concatenate([[label not in (None, "") for label in one] for one in y])
    truth = np.concatenate(y)[there].astype(str)
    said, shares = np.concatenate(model.predict(X))[there], np.concatenate(model.predict_proba(X))[there]
    assert there.sum() == len(there) - 2
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, said))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    shares = shares.astype(float) / shares.sum(1, keepdims=True, dtype=float)
    assert found["log_loss"] == pytest.approx(log_loss(truth, shares, labels=LABELS), rel=1e-5)


def test_steps_without_a_label_teach_nothing() -> None:
    """What stands in for a missing label does not matter, and a label where there was none does."""
    X, y = walks()
    kept = {"hidden": 4, "epochs": 2}
    other = [one.copy() for one in y]
    other[0][0], other[1][2] = np.nan, None
    filled = [one.copy() for one in y]
    filled[0][0] = filled[1][2] = "up"
    ways = [np.concatenate(Classifier(**kept).fit(X, one).predict_proba(X)) for one in (y, other, filled)]
    assert (ways[0] == ways[1]).all()
    assert (ways[0] != ways[2]).any()


def test_a_model_of_whole_sequences_answers_after_each_step_too() -> None:
    X, _ = walks()
    y = [float(len(x)) for x in X]
    model = Regressor(hidden=4, epochs=2).fit(X, y, evaluate=False)
    every = model.predict(X[:4], steps="all")
    live = model.live()
    assert [[live.step(row, str(i))["value"] for row in x] for i, x in enumerate(X[:4])] == [e.tolist() for e in every]
    assert model.predict(X[:4]).tolist() == [e[-1] for e in every]
    with pytest.raises(SettingError, match="steps='some', expected 'last', 'all' or None"):
        model.predict(X, steps="some")
    both = Regressor(hidden=4, epochs=1, bidirectional=True).fit(X, y, evaluate=False)
    with pytest.raises(SettingError, match=r"reads both ways .* expected steps='last'"):
        both.predict(X, steps="all")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda y: [*y[:3], "up", *y[4:]], "number 3 is one value, and number 0 is a value for each step"),
        (lambda y: [*y[:3], y[3][:-1], *y[4:]], "number 3 has shape .* expected one label .* or one for each step"),
        (lambda y: [[None] * len(y[0]), *y[1:]], "number 0 has no label at any step, expected some"),
    ],
)
def test_labels_that_cannot_be_used(spoil: Any, words: str) -> None:
    X, y = walks()
    with pytest.raises(DataError, match=words):
        Classifier(**SMALL).fit(X, spoil(y))


def test_a_column_that_changes_within_a_sequence_in_a_shell(tmp_path: Any) -> None:
    X, y = walks()
    table, out = tmp_path / "walks.csv", tmp_path / "model.recurra"
    with table.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["walk", "x", "way"])
        for i, (x, labels) in enumerate(zip(X, y, strict=True)):
            writer.writerows([f"w{i}", repr(float(v)), label or ""] for v, label in zip(x[:, 0], labels, strict=True))

    def run(*words: Any) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        return done.output

    run("fit", "classify", table, "--series", "walk", "--target", "way", "--epochs", 2, "--hidden", 4, "--out", out)
    run("predict", out, table, "--out", tmp_path / "said.csv")
    with (tmp_path / "said.csv").open() as file:
        rows = list(csv.DictReader(file))
    model = open_model(out)
    assert [row["label"] for row in rows] == np.concatenate(model.predict(str(table))).tolist()
    assert [row["step"] for row in rows[: len(X[0])]] == [str(t + 1) for t in range(len(X[0]))]
    assert "accuracy" in run("evaluate", out, table)
    live = model.live()
    assert [live.step({"walk": "w0", "x": v})["label"] for v in X[0][:, 0]] == [r["label"] for r in rows[: len(X[0])]]
    run("predict", out, table, "--origins", "last", "--out", tmp_path / "said.csv")
    assert len((tmp_path / "said.csv").read_text().splitlines()) == 1 + len(X)
