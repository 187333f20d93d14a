"""Rolling origins: what was said at each, and that nothing of later rows was seen."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import generator
from recurra import Classifier, Detector, Forecaster, Generator
from recurra.data import as_table, series_of
from recurra.data.split import PARTS
from recurra.errors import DataError, SettingError
from recurra.tasks.backtest import Fold
from recurra.tasks.forecasting.backtest import Forecasts, backtest, upto

rng = generator("backtest")
TIMES = np.datetime64("2024-01-01T00:00:00") + 3600 * np.arange(150)
TABLE = {"time": TIMES, "y": np.cumsum(rng.normal(size=150)), "p": rng.normal(size=150), "h": rng.normal(size=150)}
SERIES = series_of(as_table(TABLE), "y", time="time", past="p", known_ahead="h")
LEVELS = (0.1, 0.5, 0.9)


class Told:
    """Says the last value of what it is given, with a width, and keeps what it saw."""

    seen: list = []

    def predict(self, series, start, stop):
        self.seen.append(series)
        return series.target[start] + np.tile(np.array([-1.0, 0.0, 2.0]), (1, 7, 1))


def test_folds_are_the_last_rows_and_see_nothing_later() -> None:
    Told.seen.clear()
    found = backtest(SERIES, lambda fold, kept: Told(), folds=4, horizon=7, levels=LEVELS)
    y = TABLE["y"]
    ends = [150 - 7 * k for k in (4, 3, 2, 1)]
    assert found.origin.tolist() == [TIMES[end - 1] for end in ends]
    residuals = np.stack([y[end : end + 7] - y[end - 1] for end in ends])
    assert found.residuals == pytest.approx(residuals)
    assert found.mae() == pytest.approx(np.abs(residuals).mean(0))
    assert found.by_fold() == pytest.approx(np.abs(residuals).mean(1))
    assert found.coverage() == pytest.approx(((residuals >= -1) & (residuals <= 2)).mean(0))
    for one, end in zip(Told.seen, ends, strict=True):
        assert np.isnan(one.target[end:]).all()
        assert np.isnan(one.past[end:]).all()
        assert np.array_equal(one.ahead[end : end + 7], SERIES[0].ahead[end : end + 7])
        assert one.observed == end
    columns = found.to_dict()
    assert columns["truth"].tolist() == found.truth.ravel().tolist()
    assert columns["q0.9"][9] == found.quantiles[1, 2, 2]
    assert columns["horizon"][9] == 3


def test_what_is_missing_counts_nowhere() -> None:
    truth = np.array([[1.0, np.nan], [5.0, np.nan]])
    quantiles = np.tile(np.array([0.0, 1.0, 2.0]), (2, 2, 1))
    found = Forecasts(
        tables=(),
        fold=np.array([0, 1]),
        series=np.array(["", ""]),
        truth=truth,
        answers=quantiles,
        levels=LEVELS,
        origin=np.arange(2),
    )
    assert found.mae()[0] == 2
    assert found.coverage()[0] == 0.5
    assert np.isnan([found.mae()[1], found.coverage()[1]]).all()


def test_a_forecasters_folds_are_its_forecasts_of_shorter_tables() -> None:
    f = Forecaster(horizon=3, hidden=4, epochs=1, seasons=(), refit="train", seed=1)
    f.fit(TABLE, "y", time="time", past="p", known_ahead="h", evaluate=False)
    found = f.backtest(folds=2)
    short = {
        name: np.where(np.arange(147) < 144, v[:147], np.nan) if name in "yp" else v[:147] for name, v in TABLE.items()
    }
    assert np.array_equal(found.quantiles[0, :, 1], f.predict(short)["q0.5"])
    anew = f.backtest(folds=1, refit=True)
    assert not np.array_equal(anew.quantiles[0], found.quantiles[1])
    changed = {**TABLE, "y": np.where(np.arange(150) < 147, TABLE["y"], 99.0)}
    again = f.backtest(changed, folds=1, refit=True)
    assert np.array_equal(again.quantiles, anew.quantiles)


@pytest.mark.parametrize("folds", [0, -1, 2.0, True, "3"])
def test_folds_out_of_range(folds) -> None:
    with pytest.raises(SettingError, match="folds is"):
        backtest(SERIES, lambda fold, kept: Told(), folds=folds, horizon=7, levels=LEVELS)


def test_too_few_rows() -> None:
    with pytest.raises(DataError, match="take fewer folds"):
        backtest([upto(SERIES[0], 20)], lambda fold, kept: Told(), folds=3, horizon=7, levels=LEVELS)


def test_folds_of_a_shorter_horizon_and_a_plot_of_them(tmp_path) -> None:
    f = Forecaster(horizon=5, hidden=3, epochs=1, seasons=(), refit="train")
    f.fit(TABLE, "y", time="time", past="p", known_ahead="h", evaluate=False)
    found = f.backtest(folds=3, horizon=2)
    assert found.quantiles.shape == (3, 2, 3)
    assert [str(time) for time in found.origin] == [str(TIMES[150 - 2 * k - 1]) for k in (3, 2, 1)]
    said = f.predict({name: column[:149] for name, column in TABLE.items()}, origins="all")["q0.5"].reshape(149, 5)
    assert found.quantiles[2, :1, 1] == pytest.approx(said[147, :1])
    for horizon in (0, 6, 2.5, True):
        with pytest.raises(SettingError, match="backtest: horizon is"):
            f.backtest(horizon=horizon)
    axes = f.plot(tmp_path / "p.png", folds=2).axes[0]
    truth, *forecasts = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
    assert np.array_equal(truth.get_ydata()[-10:], TABLE["y"][-10:])
    assert np.array_equal(forecasts[1].get_ydata(), f.backtest(folds=2).quantiles[1, :, 1])
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DataError, match="plot: there is no series 'z'"):
        f.plot(series="z")


def test_the_users_own_split() -> None:
    """A column says of each row in which part it is; what the report counts is what it says."""
    part = np.where(np.arange(150) < 60, "train", np.where(np.arange(150) < 110, "valid", "TEST ")).astype(object)
    table = TABLE | {"part": part}
    f = Forecaster(horizon=3, hidden=3, epochs=1, seasons=(), refit="train").fit(table, "y", time="time", split="part")
    assert [p["rows"] for p in f.report_["data"]["parts"]] == [60, 50, 40]
    at = np.arange(110, 147)
    truth = TABLE["y"][at[:, None] + 1 + np.arange(3)]
    naive = next(row for row in f.report_["table"] if row["name"] == "last value again")
    assert naive["mae"] == pytest.approx(np.abs(truth - TABLE["y"][at][:, None]).mean())
    assert f.transform_.pooled.center == pytest.approx(TABLE["y"][:60].mean())
    kept = np.r_[0:50, 70:150]  # the step that was left out is in no part's count twice
    gap = series_of(as_table({n: c[kept] for n, c in table.items()}), "y", time="time", split="part")[0]
    assert gap.edges == (70, 110)
    for row, value, message in (
        (100, "later", "is 'later', expected"),
        (140, "train", "is train after a row of a later"),
    ):
        wrong = part.copy()
        wrong[row] = value
        with pytest.raises(DataError, match=rf"row {row}.*{message}"):
            series_of(as_table(table | {"part": wrong}), "y", time="time", split="part")
    with pytest.raises(DataError, match="too few for a horizon of 60"):
        Forecaster(horizon=60, hidden=3).fit(table, "y", time="time", split="part")


X = rng.normal(size=(30, 7, 1)) + (np.arange(30) % 3 == 0)[:, None, None]
LABELS = (np.arange(30) % 3 == 0).astype(int)
QUICK = {"hidden": 3, "epochs": 2, "seed": 5}


def test_each_sequence_is_answered_once_by_a_model_that_had_not_seen_it_or_its_group() -> None:
    groups = [f"g{i // 2}" for i in range(30)]
    model = Classifier(**QUICK)
    found = model.backtest(X, LABELS, groups, folds=3)
    assert sorted(found.series, key=int) == [str(i) for i in range(30)]
    fold = dict(zip(found.series, found.fold, strict=True))
    assert all(fold[str(i)] == fold[str(i + 1)] for i in range(0, 30, 2))
    order = found.series.astype(int)
    assert found.truth.tolist() == LABELS[order].tolist()
    right = found.answers.argmax(1) == found.truth
    assert found.by_fold() == pytest.approx([right[found.fold == k].mean() for k in range(3)])
    name = "most frequent label"
    assert found.by_fold("accuracy", name) == pytest.approx(
        [(LABELS[order][found.fold == k] == 0).mean() for k in range(3)]
    )
    mean, deviation = found.summary()["GRU"]["accuracy"]
    assert (mean, deviation) == pytest.approx((found.by_fold().mean(), found.by_fold().std(ddof=1)))
    assert not hasattr(model, "model_")
    # The same as the estimator fitted to the other folds alone.
    tested = [i for i in range(30) if fold[str(i)] == 1]
    parts = Fold(1, 3).parts(*_read(groups), model.parts, 5)[1]
    alone = Classifier(**QUICK, parts=parts, refit=False).fit(X, LABELS, groups, evaluate=False)
    assert np.array_equal(alone.predict_proba(X[tested]), found.answers[found.fold == 1])


def _read(groups):
    task = Classifier().make_task()
    return task, task.examples(X, y=LABELS, groups=groups, times=None, series=None, time=None, columns=None)


def test_where_times_are_known_a_fold_knows_nothing_later() -> None:
    times = rng.permutation(30).astype(float)
    task = Classifier().make_task()
    sequences = task.examples(X, y=LABELS, times=times, groups=None, series=None, time=None, columns=None)
    tested: list[float] = []
    for k in range(4):
        kept, parts = Fold(k, 4).parts(task, sequences, (0.7, 0.15, 0.15), 0)
        of = {name: [s.time for s, part in zip(kept, parts, strict=True) if part == name] for name in PARTS}
        assert max(of["train"]) < min(of["valid"])
        assert max(of["valid"]) < min(of["test"])
        assert len(of["train"]) + len(of["valid"]) == 6 * (k + 1)
        tested += of["test"]
    assert sorted(tested) == list(range(6, 30))


def test_a_stream_is_cut_by_time() -> None:
    x = np.sin(np.arange(301) / 5) + rng.normal(0, 0.1, 301)
    found = Detector(hidden=3, epochs=1).backtest(x, folds=2)
    lengths = [(found.fold == k).sum() for k in range(2)]
    assert lengths == pytest.approx([100, 100], abs=2)
    assert found.truth[:, 0] == pytest.approx(np.concatenate([x[201 - lengths[0] : 201], x[301 - lengths[1] :]]))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"folds": 1}, "folds is 1, expected a whole number from 2"),
        ({"folds": 28}, "leave a fold empty: take fewer folds"),
        ({"folds": 31}, "30 sequences or groups are too few for 31 folds"),
        ({"folds": 4, "times": np.zeros(30)}, "1 different times are too few for 5 blocks"),
    ],
)
def test_folds_that_cannot_be_are_refused(how, words) -> None:
    with pytest.raises((SettingError, DataError), match=words):
        Classifier(**QUICK).backtest(X, LABELS, **how)


def test_texts_are_dealt_and_one_text_is_cut() -> None:
    texts = [f"the cat sat on mat {i}. " * 6 for i in range(8)]
    many = Generator(hidden=4, epochs=1).backtest(texts, folds=2)
    one = Generator(hidden=4, epochs=1).backtest("".join(texts), folds=2)
    assert [len(found.by_fold()) for found in (many, one)] == [2, 2]
    task = Generator().make_task()
    whole = task.examples("".join(texts))
    ends = [Fold(k, 2).parts(task, whole, (0.7, 0.15, 0.15), 0) for k in range(2)]
    assert [len(kept[0]) for kept, _ in ends] == [round(len(whole[0]) * share) for share in (2 / 3, 1)]
    assert [parts[2] for _, parts in ends] == [1 / 2, 1 / 3]
