"""Every task through its transform and decode: the same bits whole, in chunks, by steps, live and from `predict`; what
scikit-learn expects of an estimator; and what is said of input that cannot be used."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.base
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

import recurra
from helpers import generator, printed
from recurra import Classifier, Regressor
from recurra.errors import DataError, ModelFileError, RecurraError, SettingError

N, I = 40, 2
SMALL = {"hidden": 5, "epochs": 2}


def sequences(count: int = N, missing: float = 0.1, key: object = "sequences") -> list[np.ndarray]:
    """Ragged sequences of two numbers, some of which are missing, one of a single step."""
    rng = generator(key, count)
    found = [rng.normal(size=(n, I)).cumsum(0) for n in rng.permutation([1, 2, *rng.integers(3, 14, count - 2)])]
    for x in found:
        x[rng.random(x.shape) < missing] = np.nan
    return found


def long_table(x: list[np.ndarray]) -> dict[str, Any]:
    """The same as rows of a table, with a column that says which sequence a row belongs to."""
    rows = np.concatenate(x)
    return {
        "of": np.repeat([f"s{i}" for i in range(len(x))], [len(one) for one in x]),
        "a": rows[:, 0],
        "b": rows[:, 1],
    }


LABELS = np.array(["low", "middle", "high"] * N)[:N]
NUMBERS = generator("numbers").normal(100, 30, N)


@dataclass(frozen=True)
class Example:
    """An estimator, data for it, and how they are given."""

    name: str
    estimator: Callable[..., Any]
    y: Any
    settings: dict[str, Any] = field(default_factory=dict)
    table: bool = False

    def __str__(self) -> str:
        return self.name

    def fitted(self) -> Any:
        """Trained for a moment."""
        given = {"series": "of"} if self.table else {}
        X = long_table(sequences()) if self.table else sequences()
        return self.estimator(**SMALL, **self.settings).fit(X, self.y, evaluate=False, **given)


EXAMPLES = [
    Example("labels of text", Classifier, LABELS),
    Example("two labels, as numbers, in a table", Classifier, np.arange(N) % 2, table=True),
    Example("labels by the mean over time of two layers", Classifier, LABELS, {"pool": "mean", "layers": 2}),
    Example("labels by the largest over time", Classifier, LABELS == "low", {"pool": "max", "cell": "lstm"}),
    Example("labels by attention", Classifier, LABELS, {"pool": "attention", "cell": "lstm_projected"}),
    Example("numbers", Regressor, NUMBERS),
    Example("numbers in a table", Regressor, NUMBERS, {"cell": "mgu", "layers": 2}, table=True),
    Example("numbers by attention", Regressor, NUMBERS, {"pool": "attention"}),
]


@pytest.fixture(scope="module", params=EXAMPLES, ids=str)
def fitted(request: pytest.FixtureRequest) -> Any:
    return request.param.fitted()


def answers(model: Any, X: Any) -> np.ndarray:
    """What `predict` computes, [N, K] or [N, 1]."""
    if isinstance(X, list) and model.task_.roles.get("series"):
        X = long_table(X)
    found = model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)
    return found.reshape(len(found), -1)


def live_numbers(answer: dict[str, Any]) -> list[float]:
    return list(answer["probabilities"].values()) if "probabilities" in answer else [answer["value"]]


def test_live_says_after_each_step_what_predict_says_of_the_steps_so_far(fitted: Any) -> None:
    """For several sequences side by side, in turns."""
    new = sequences(6, key="new")
    live, said = fitted.live(), [[] for _ in new]
    for t in range(max(map(len, new))):
        for i, x in enumerate(new):
            if t < len(x):
                said[i].append(live_numbers(live.step(x[t], f"s{i}")))
    for x, mine in zip(new, said, strict=True):
        so_far = answers(fitted, [x[: t + 1] for t in range(len(x))])
        assert so_far.tolist() == mine
    assert len(np.unique(np.concatenate(said))) > sum(map(len, new)) // 2


def test_whole_chunks_and_steps_of_the_model_have_the_bits_of_predict(fitted: Any) -> None:
    new = sequences(6, key="new")
    wanted = answers(fitted, new)
    for x, want in zip(new, wanted, strict=True):
        one = fitted.task_.read([x], fitted.transform_)[0]
        rows = fitted.transform_.rows(one, 0, len(x))
        live = fitted.transform_.live()
        assert np.stack([live.push(step) for step in x]).tobytes() == rows.tobytes()
        chunks, steps = fitted.model_.session(), fitted.model_.session()
        ways = [fitted.model_.run(rows), np.concatenate([chunks.run(rows[:2]), chunks.run(rows[2:])])]
        ways += [np.stack([steps.step(row) for row in rows])]
        for way in ways:
            decoded = fitted.task_.decode(way[-1:], fitted.transform_, one.name)
            assert decoded.reshape(-1).tobytes() == want.tobytes()


def test_a_sequence_alone_is_what_it_is_among_others(fitted: Any) -> None:
    new = sequences(6, key="new")
    together = answers(fitted, new)
    assert together.tolist() == [answers(fitted, [x])[0].tolist() for x in new]
    assert together[::-1].tolist() == answers(fitted, new[::-1]).tolist()


def test_files_pickles_copies_and_snapshots_have_the_same_bits(fitted: Any, tmp_path: Any) -> None:
    new = sequences(6, key="new")
    wanted = answers(fitted, new)
    fitted.save(tmp_path / "model.recurra")
    others = [type(fitted).load(tmp_path / "model.recurra"), pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)]
    for other in others:
        assert answers(other, new).tobytes() == wanted.tobytes()
    x = max(new, key=len)
    live, again = fitted.live(), others[0].live()
    for step in x[:2]:
        live.step(step, "one")
    again.restore(live.snapshot())
    assert [again.step(step, "one") for step in x[2:]] == [live.step(step, "one") for step in x[2:]]
    live.end("one")
    assert live.step(x[0], "one") == fitted.live().step(x[0])


def test_labels_are_those_of_the_most_probable(fitted: Any) -> None:
    if not hasattr(fitted, "classes_"):
        return
    new = sequences(6, key="new")
    found = fitted.predict(long_table(new) if fitted.task_.roles.get("series") else new)
    shares = answers(fitted, new)
    assert found.tolist() == fitted.classes_[shares.argmax(1)].tolist()
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    live = fitted.live()
    for step in new[0]:
        answer = live.step(step)
    assert answer["label"] == found[0]


def test_numbers_are_in_the_units_of_the_target(fitted: Any) -> None:
    """Hardly trained, they are about the mean."""
    if isinstance(fitted, Regressor):
        found = answers(fitted, sequences())
        assert abs(found.mean() - NUMBERS.mean()) < NUMBERS.std()


def test_a_network_that_reads_from_the_end_predicts_and_refuses_to_run_live() -> None:
    model = Classifier(bidirectional=True, **SMALL).fit(sequences(), LABELS, evaluate=False)
    new = sequences(6, key="new")
    assert answers(model, new).tolist() == [answers(model, [x])[0].tolist() for x in new]
    with pytest.raises(RecurraError, match="both directions"):
        model.live()


# scikit-learn's contract.

KINDS = pytest.mark.parametrize(
    ("kind", "y"), [(Classifier, LABELS), (Regressor, NUMBERS)], ids=["classify", "regress"]
)
SQUARE = np.stack([generator("square", i).normal(size=(6, I)) for i in range(N)])


@KINDS
def test_parameters(kind: Any, y: Any) -> None:
    model = kind(hidden=np.int64(5), epochs=np.int32(2), dropout=np.float32(0.0), learning_rate=np.float64(0.01))
    cloned = sklearn.base.clone(model)
    assert cloned.get_params() == model.get_params()
    assert not hasattr(cloned, "model_")
    same = kind(hidden=5, epochs=2, dropout=0.0, learning_rate=0.01)
    ours, theirs = (answers(m.fit(SQUARE, y, evaluate=False), SQUARE) for m in (cloned, same))
    assert ours.tobytes() == theirs.tobytes()
    assert cloned.set_params(hidden=7) is cloned
    assert cloned.get_params()["hidden"] == 7
    assert cloned.n_features_in_ == I
    with pytest.raises(SettingError, match="there is no parameter 'hiden'"):
        cloned.set_params(hiden=3)


def test_labels_as_bytes_are_text() -> None:
    found = [Classifier(**SMALL).fit(SQUARE, y, evaluate=False) for y in (LABELS, LABELS.astype("S"))]
    assert found[0].predict(SQUARE).tolist() == found[1].predict(SQUARE).tolist()
    assert found[1].classes_.tolist() == ["high", "low", "middle"]
    assert found[1].score(SQUARE, LABELS.astype("S")) == found[0].score(SQUARE, LABELS)


BASE = """
import sys
import recurra
names = [name for name in recurra.__all__ if name[0].isupper() and hasattr(getattr(recurra, name), "get_params")]
made = [getattr(recurra, name)() for name in names]
assert not {"sklearn", "scipy", "torch"} & set(sys.modules)
from sklearn.base import BaseEstimator, clone
from sklearn.utils import get_tags
assert all(isinstance(one, BaseEstimator) for one in made)
assert all(issubclass(type("Own", (type(one),), {}), BaseEstimator) for one in made)
assert [repr(clone(one)) for one in made] == [repr(one) for one in made] == [f"{name}()" for name in names]
assert all(name in one._repr_html_() for name, one in zip(names, made))
print(*(f"{name} {get_tags(one).estimator_type}" for name, one in zip(names, made)), sep="\\n")
"""


def test_they_are_scikit_learns_estimators_once_it_is_imported() -> None:
    kinds = dict(line.split() for line in printed(BASE).splitlines())
    assert len(kinds) >= 14
    assert (kinds["Classifier"], kinds["Regressor"], kinds["Forecaster"]) == ("classifier", "regressor", "None")
    assert isinstance(Classifier(), sklearn.base.BaseEstimator)


@KINDS
def test_a_seed_gives_the_same_network(kind: Any, y: Any) -> None:
    one, two, other = (answers(kind(seed=s, **SMALL).fit(SQUARE, y, evaluate=False), SQUARE) for s in (3, 3, 4))
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


@KINDS
def test_cross_validation_searches_and_pipelines(kind: Any, y: Any) -> None:
    model = kind(**SMALL)
    scores = cross_val_score(model, SQUARE, y, cv=2)
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()
    found = GridSearchCV(model, {"hidden": np.array([3, 4])}, cv=2).fit(SQUARE, y)
    assert found.best_params_["hidden"] in (3, 4)
    assert len(found.predict(SQUARE)) == N
    halved = make_pipeline(FunctionTransformer(lambda X: X / 2), kind(**SMALL)).fit(SQUARE, y)
    alone = kind(**SMALL).fit(SQUARE / 2, y)
    assert answers(halved, SQUARE).tobytes() == answers(alone, SQUARE / 2).tobytes()


CHECKS = (
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimator_repr",
    "check_estimator_cloneable",
    "check_estimators_overwrite_params",
    "check_dict_unchanged",
    "check_fit_idempotent",
    "check_methods_subset_invariance",
    "check_estimators_pickle",
)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kind", [Classifier, Regressor])
def test_scikit_learns_own_checks(kind: Any, check: str) -> None:
    """Those that need no table: they give [N, T] of one number, which is a sequence."""
    getattr(estimator_checks, check)(kind.__name__, kind(**SMALL))


# Input that cannot be used: one line, with the place and the cure.


def bad(**changed: Any) -> Callable[[Any], Any]:
    given = {"X": sequences(), "y": LABELS} | changed
    return lambda tmp_path: Classifier(**SMALL, **given.pop("settings", {})).fit(
        given.pop("X"), given.pop("y"), **given
    )


def wrong_task(tmp_path: Any) -> Any:
    Regressor(**SMALL).fit(SQUARE, NUMBERS, evaluate=False).save(tmp_path / "model.recurra")
    return Classifier.load(tmp_path / "model.recurra")


def replaced(at: int, value: Any) -> list[Any]:
    found: list[Any] = sequences()
    found[at] = value
    return found


PARTS = ["train"] * 24 + ["valid"] * 8 + ["test"] * 8
BAD: dict[str, tuple[type[Exception], str, Callable[[Any], Any]]] = {
    "no sequences": (DataError, "sequences: there are none, expected at least one", bad(X=[], y=[])),
    "no steps": (DataError, "number 3 has no steps, .*: leave it out", bad(X=replaced(3, np.zeros((0, I))))),
    "another width": (DataError, "number 5 has 3 numbers a step, expected 2", bad(X=replaced(5, np.zeros((4, 3))))),
    "one label": (DataError, "y: all 40 are 'low', expected at least two", bad(y=["low"] * N)),
    "a label that is NaN": (
        DataError,
        "y: number 2 is 'nan', expected a label",
        bad(y=[1, 0, np.nan, *[1] * 37]),
    ),
    "a label that is None": (DataError, "y: number 1 is 'None', expected a label", bad(y=["a", None, *["b"] * 38])),
    "a label that is pandas' NA": (
        DataError,
        "y: number 1 is '<NA>', expected a label",
        bad(y=pd.array(["a", pd.NA, *["b"] * 38], dtype="string")),
    ),
    "y of another length": (DataError, "y: got 39 for 40 sequences, expected one for each", bad(y=LABELS[:-1])),
    "groups of another length": (DataError, "groups: got 2 for 40 sequences", bad(groups=["a", "b"])),
    "a group in two parts": (
        DataError,
        "group .* expected",
        bad(groups=["a"] * N, settings={"parts": PARTS}),
    ),
    "an unknown series column": (DataError, "shop", bad(X=long_table(sequences()), series="shop")),
    "a table without a series column": (DataError, "series is not given, expected", bad(X=long_table(sequences()))),
    "text": (DataError, "number 0 has something that is no number", bad(X=[["one", "two"], *sequences()[1:]])),
    "infinity": (DataError, "number 7 has an infinite value", bad(X=replaced(7, np.full((4, I), np.inf)))),
    "a file of another task": (ModelFileError, "the model's task is 'regress', expected 'classify'", wrong_task),
    "numbers for a regressor": (
        DataError,
        "y: number 0 is 'low', expected a number",
        lambda tmp_path: Regressor(**SMALL).fit(sequences(), LABELS),
    ),
    "one number for a regressor": (
        DataError,
        "y is 3 in all of training, expected numbers that differ",
        lambda tmp_path: Regressor(**SMALL).fit(sequences(), [3.0] * N),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_line(name: str, tmp_path: Any) -> None:
    error, words, call = BAD[name]
    with pytest.raises(error, match=words) as caught:
        call(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_fitted_estimator_keeps_to_its_width() -> None:
    model = Classifier(**SMALL).fit(sequences(), LABELS, evaluate=False)
    for call in (model.predict, model.predict_proba, model.evaluate):
        with pytest.raises(DataError, match="they have 3 numbers a step, expected 2 as in training: x0, x1"):
            call([np.zeros((4, 3))])
    with pytest.raises(DataError, match="a step has 3 numbers, expected 2"):
        model.live().step([1.0, 2.0, 3.0])
    with pytest.raises(recurra.errors.NotFittedError, match=r"call fit, or Classifier\.load"):
        Classifier().predict(sequences())


def test_the_cost_of_an_epoch_is_counted_and_told() -> None:
    rng = generator("cost")
    X, y = rng.normal(size=(20, 7, 3)), np.arange(20) % 2
    model = Classifier(cell="gru", hidden=5, epochs=2, parts=(0.5, 0.5, 0.0), refit=False, pool="last").fit(X, y)
    cost = model.report_["cost"]
    weights = 3 * 5 * (3 + 5) + 5 * 2  # three gates of a GRU from x and state, and the labels
    assert cost["macs"] == 3 * weights * 7 * 10
    assert 0 < cost["seconds"] < 60
    assert cost["peak"] > 1e8
