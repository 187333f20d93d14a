"""What training has cost is not lost to what follows it."""

from __future__ import annotations

import numpy as np
import pytest

import recurra
from helpers import generator
from recurra.report import write_report
from recurra.tasks import estimator as estimator_module
from recurra.tasks.classification.classifier import Classifier
from recurra.tasks.forecasting.forecaster import Forecaster

SERIES = np.sin(np.arange(300) / 4) + generator("nothing lost").normal(size=300) / 9
FAULTS = [ValueError("no such year"), KeyboardInterrupt(), ZeroDivisionError("division by zero")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("kind", [Forecaster, Classifier])
def test_a_report_that_fails_leaves_the_model(kind, fault, monkeypatch, tmp_path) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(kind, "_report", fail)
    made = kind(hidden=4, epochs=1, seed=1)
    if kind is Forecaster:
        made.set_params(horizon=3).fit(SERIES)
    else:
        made.fit(SERIES.reshape(30, 10), np.arange(30) % 2)
    assert type(fault).__name__ in made.report_["failed"]
    assert made.report_["failed"] in made.report_["verdict"][0]
    made.save(tmp_path / "m.recurra")
    again = kind.load(tmp_path / "m.recurra")
    assert again.model_.fingerprint == made.model_.fingerprint
    assert again.report_["verdict"] == made.report_["verdict"]


def test_a_number_that_is_none_does_not_keep_a_model_from_its_file(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(estimator_module, "_best_naive", lambda bench: np.float64("nan"))
    made = Forecaster(horizon=3, hidden=4, epochs=1).fit(SERIES, evaluate=False)
    made.save(tmp_path / "m.recurra")
    assert Forecaster.load(tmp_path / "m.recurra").report_["baseline_error"] is None


def test_training_again_that_is_broken_off_leaves_the_model_that_was_measured(monkeypatch) -> None:
    x, y = SERIES.reshape(30, 10), np.arange(30) % 2
    first = Classifier(hidden=4, epochs=2, seed=1, refit=False).fit(x, y)
    trainings = []

    def broken(progress) -> None:
        trainings.append(progress.epoch)
        if trainings.count(2) and progress.epoch == 1:  # of the second training
            raise KeyboardInterrupt

    second = Classifier(hidden=4, epochs=2, seed=1).fit(x, y, progress=broken)
    assert second.model_.fingerprint == first.model_.fingerprint
    assert second.report_["refit"] is False


def test_a_long_table_without_times_has_a_page(tmp_path) -> None:
    """Its rows are numbered, and 39,940 is no year."""
    y = np.tile(SERIES, 40)
    made = recurra.Forecaster(horizon=3, hidden=4, epochs=1, seasons=()).fit({"y": y}, "y")
    made.save(tmp_path / "m.recurra")
    write_report(made.report_, tmp_path / "r.html", made.model_)
    page = (tmp_path / "r.html").read_text()
    assert "recurra stream m.recurra" in page
    assert "rows of the table, one every 1 row" in page
    (tmp_path / "y.csv").write_text("y\n" + "\n".join(map(str, SERIES)))
    made.fit(tmp_path / "y.csv", "y")
    assert made.report_["data"]["source"] == "y.csv"
