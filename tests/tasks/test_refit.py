"""The model that is kept has seen all rows; training that begins from a model; rows that come later."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from helpers import generator
from recurra import Forecaster
from recurra.data.batches import Lanes
from recurra.errors import DataError, SettingError
from recurra.tasks import learn
from recurra.train import learning_rate, train

T, N = 300, 4
SMALL = {"horizon": N, "hidden": 5, "epochs": 3, "seasons": (11,)}
TIMES = np.datetime64("2024-03-01T00:00:00") + 1800 * np.arange(T)


def table(stop: int = T, start: int = 0) -> dict[str, np.ndarray]:
    rng = generator("refit")
    y = np.cumsum(rng.normal(size=T)) + 5 * np.sin(np.arange(T) / 11 * 2 * np.pi)
    return {"time": TIMES[start:stop], "y": y[start:stop], "holiday": (rng.random(T) < 0.2)[start:stop] * 1.0}


ROLES = {"target": "y", "time": "time", "known_ahead": "holiday"}


@pytest.fixture(scope="module")
def honest() -> Forecaster:
    return Forecaster(**SMALL, refit="train").fit(table(), **ROLES)


def test_the_model_that_is_kept_has_seen_everything_and_the_report_is_of_the_one_that_has_not(honest) -> None:
    full = Forecaster(**SMALL).fit(table(), **ROLES)
    assert full.report_["table"] == honest.report_["table"]
    assert full.report_["verdict"] == honest.report_["verdict"]
    assert (full.report_["refit"], honest.report_["refit"]) == (True, False)
    assert full.model_.card["refit"] is True
    assert full.transform_.pooled.center == pytest.approx(np.mean(table()["y"]))  # scales of all rows
    assert honest.transform_.pooled.center == pytest.approx(np.mean(table()["y"][:210]))
    assert not np.array_equal(full.predict()["q0.5"], honest.predict()["q0.5"])


def test_it_is_trained_with_the_updates_that_validation_chose(monkeypatch) -> None:
    """On more rows an epoch has more updates, so there are fewer epochs."""
    made = []
    own = Lanes.__init__

    def counted(self, *args) -> None:
        own(self, *args)
        made.append(self)

    def planned(module, batches, loss, validate, settings, **how):
        plans.append(settings)
        return train(module, batches, loss, validate, settings, **how)

    plans: list = []
    monkeypatch.setattr(learn, "train", planned)
    monkeypatch.setattr(Lanes, "__init__", counted)
    f = Forecaster(**SMALL | {"epochs": 10}, patience=3, batch=1, chunk=20, learning_rate=0.02)
    f.fit(table(), **ROLES, evaluate=False)
    assert len(made) == 2
    chosen = f.history_.best_epoch * made[0].updates
    epochs = round(f.history_.best_epoch * made[0].total / made[1].total)
    assert made[1].total == T - N
    assert abs(epochs * made[1].updates - chosen) <= made[1].updates
    first, again = plans
    assert (first.epochs, first.planned) == (10, None)
    assert (again.epochs, again.planned) == (epochs, round(10 * made[0].total / made[1].total))
    for update in (0, chosen // 2, chosen - 1):  # each has the rate that it had
        rates = [learning_rate(s, update, m.updates) for s, m in zip(plans, made, strict=True)]
        assert rates[0] == pytest.approx(rates[1], rel=0.1)


@pytest.mark.parametrize("refit", ["some", None, 2])
def test_refit_is_checked(refit) -> None:
    with pytest.raises(SettingError, match=r"refit=.*expected 'all' or 'train'"):
        Forecaster(**SMALL, refit=refit).fit(table(), **ROLES)


def test_training_begins_from_a_model(honest, tmp_path) -> None:
    """With a rate of next to nothing it stays what it was, but for its calibration."""
    honest.save(tmp_path / "m")
    options = SMALL | {"epochs": 1, "learning_rate": 1e-9, "refit": "train"}
    for given in (honest, honest.model_, tmp_path / "m"):
        again = Forecaster(**options).fit(table(), **ROLES, init_model=given, evaluate=False)
        assert again.predict()["q0.5"] == pytest.approx(honest.predict()["q0.5"], rel=1e-5)
    assert again.predict()["q0.1"] == pytest.approx(honest.predict()["q0.1"], rel=1e-4)
    moved = Forecaster(**options | {"learning_rate": 0.01}).fit(table(), **ROLES, init_model=honest, evaluate=False)
    assert moved.predict()["q0.5"] != pytest.approx(honest.predict()["q0.5"], rel=1e-5)
    assert moved.transform_.to_dict() == honest.transform_.to_dict()


def test_layers_go_to_their_places() -> None:
    options = SMALL | {"cell": "lstm", "layers": 2, "epochs": 1, "refit": "train"}
    first = Forecaster(**options).fit(table(), **ROLES, evaluate=False)
    again = Forecaster(**options | {"learning_rate": 1e-9})
    again.fit(table(), **ROLES, init_model=first, evaluate=False)
    assert again.predict()["q0.5"] == pytest.approx(first.predict()["q0.5"], rel=1e-5)


def test_a_model_of_another_shape_is_refused(honest) -> None:
    for options, message in (
        ({"horizon": 5}, "its horizon and quantiles are 4 and"),
        ({"quantiles": (0.5, 0.9)}, "its horizon and quantiles"),
        ({"hidden": 6}, "init_model: its encoder.*expected the same"),
        ({"layers": 2}, "init_model: its encoder"),
        ({"cell": "lstm"}, "init_model: its encoder"),
    ):
        with pytest.raises(SettingError, match=message):
            Forecaster(**SMALL | options).fit(table(), **ROLES, init_model=honest)
    with pytest.raises(SettingError, match="got int, expected a fitted Forecaster"):
        Forecaster(**SMALL).fit(table(), **ROLES, init_model=3)


def test_an_update_is_what_the_whole_table_says(honest, tmp_path) -> None:
    honest.save(tmp_path / "m")
    f = Forecaster.load(tmp_path / "m")
    f.update(table(200)).update(table(250, 200))
    model = f.model_
    assert np.array_equal(f.predict()["q0.9"], honest.predict(table(250))["q0.9"])
    f.update(table(T, 253))  # three rows were left out
    kept = np.r_[0:250, 253:T]
    whole = {name: column[kept] for name, column in table().items()}
    assert np.array_equal(f.predict()["q0.9"], honest.predict(whole)["q0.9"])
    assert f.model_ is model


def test_what_was_known_ahead_stays_known() -> None:
    f = Forecaster(**SMALL, refit="train").fit(table(), **ROLES, evaluate=False)
    data = table(254)
    data["y"][250:] = np.nan  # the holidays of four rows to come
    f.series_ = f.task_.read(data, f.transform_)
    later = table(252, 250) | {"holiday": np.full(2, np.nan)}
    want = table(254)
    want["y"][252:] = np.nan
    rows = f.update(later).series_[0]
    assert np.array_equal(rows.ahead[:252, 0], want["holiday"][:252])
    assert rows.observed == 252


def test_rows_that_do_not_follow_are_refused(honest) -> None:
    f = Forecaster.of_model(honest.model_)
    f.update(table(250))
    before = f.series_
    for start in (100, 249):
        with pytest.raises(DataError, match=r"update: the new rows begin at .*expected a time after"):
            f.update(table(T, start))
    assert f.series_ is before


def test_a_file_opens_in_a_process_that_knows_nothing_of_forecasters(honest, tmp_path) -> None:
    honest.save(tmp_path / "m")
    said = "import sys, recurra; print(type(recurra.open_model(sys.argv[1])).__name__, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", said, str(tmp_path / "m")], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Forecaster", "False"]
