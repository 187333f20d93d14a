"""The verdict says what the columns say, whichever way they fall."""

import re

import numpy as np
import pytest

from helpers import generator
from recurra.compare.candidates import CANDIDATES
from recurra.compare.results import Comparison, add_tests, row_of, sort_rows
from recurra.compare.table import as_text, notes
from recurra.compare.trial import Outcome
from recurra.compare.verdict import verdict
from recurra.errors import CompareError

STEP = {"recurrent": (3e-6, "native"), "naive": (1e-7, "numpy"), "linear": (5e-6, "numpy")}


def compared(means, task="forecast", spread=0.03, units=60, valid=None, **changed):
    """A comparison in which candidates err by these means; all have the same noise from unit to unit."""
    rng, rows, errors = generator("verdict"), [], {}
    common = rng.normal(size=units)
    for name, mean in means.items():
        finals = {}
        for k in range(3 if CANDIDATES[name].neural else 1):
            own = mean * (1 + 0.1 * common + spread * rng.normal(size=units))
            finals[k] = Outcome(
                f"{name}{k}", (valid or means)[name] + 1e-4 * k, test=own.tolist(), parameters=2000, seconds=4.0
            )
        row = row_of(CANDIDATES[name], finals, {}, {"window": 48})
        seconds, where = STEP.get(row["kind"], (5e-4, "torch"))
        measured = {"step_seconds": None if row["refusal"] else seconds, "runs_in": where, "state_bytes": 256}
        row |= (
            measured | {"lag": 20, "lag_looked_at": 500, "longer": 1.0, "handles_longer": True} | changed.get(name, {})
        )
        rows.append(row)
        errors[name] = np.mean([o.test for o in finals.values()], 0)
    base = add_tests(rows, errors)
    sort_rows(rows)
    found = Comparison(task, "mean absolute error", {"tested": units, "best_naive": base}, rows)
    found.verdict = verdict(found, base)
    return found, " ".join(found.verdict)


NAIVE = {"last": 2.0, "seasonal": 1.0}


def test_no_model_beats_the_season():
    found, said = compared({**NAIVE, "linear": 1.02, "gru": 0.999, "cnn": 1.05}, spread=0.2)
    assert found.verdict[0] == "No model beats one season ago again; do not use a network here."
    assert "the closest, gru" in said or "the closest, linear" in said
    assert "For live use" not in said


def test_a_large_difference_that_is_not_proven_is_not_denied():
    found, said = compared({**NAIVE, "linear": 0.39, "gru": 0.5}, units=2)
    assert found.row("linear")["p"] > 0.05
    assert "No model beats" not in said
    assert said.startswith(
        "This test part does not tell whether to use a network: ridge regression on a window errs by"
    )
    assert "61% below one season ago again" in said
    assert "chance gives it too (p = " in said


def test_only_the_naive_were_finished():
    rows = [row_of(CANDIDATES[n], {0: Outcome(n, e, test=[e])}, {}, None) for n, e in NAIVE.items()]
    rows.append(row_of(CANDIDATES["gru"], {}, {}, None))
    base = add_tests(rows, {n: np.array([e]) for n, e in NAIVE.items()})
    said = verdict(Comparison("forecast", "error", {"tested": 9}, rows), base)
    assert said == [
        "The time was too short to train a model: the best answer so far is one season ago again, which errs by 1. Go "
        "on with --resume, or give a longer budget."
    ]


def test_a_network_that_is_better():
    found, said = compared({**NAIVE, "linear": 0.9, "gru": 0.6, "feedforward": 0.8, "cnn": 0.85})
    assert re.match(
        r"Use gru: its error is 0\.\d+ \(95 % interval over 3 seeds .*, 40% below one season ago again", said
    )
    assert "Ridge regression on a window errs 50% more than gru" in said
    assert "The best feedforward network, feedforward, errs 3" in said
    assert "3 µs a live step (native), 256 bytes of state" in said
    assert found.winner["name"] == "gru"
    assert found.row("seasonal")["p"] is None


def test_a_linear_model_that_is_as_good():
    _, said = compared({**NAIVE, "linear": 0.601, "gru": 0.6}, spread=0.1)
    assert said.startswith("Use ridge regression on a window")
    assert "No network is distinguishably better: gru, the best of them on validation" in said


def test_the_recurrent_one_that_is_as_good_and_faster():
    _, said = compared({**NAIVE, "linear": 0.9, "gru": 0.602, "transformer": 0.6}, spread=0.1)
    assert said.startswith("Use transformer")
    assert "This test part does not tell it apart from gru." in said
    assert "For live use take gru: not distinguishably worse" in said
    assert "a step is 167 times faster (3 µs, native, against 500 µs, torch)" in said


def test_the_best_cannot_run_live():
    _, said = compared({"majority": 0.8, "logistic": 0.5, "bigru": 0.2, "gru": 0.3}, "classify")
    assert said.startswith("Use bigru")
    assert "It cannot run live: it reads each sequence from its end too" in said
    assert "For live use take gru: error 0.3" in said


def test_best_on_validation_but_not_on_the_test_part():
    means = {**NAIVE, "gru": 1.0, "cnn": 0.7}
    found, said = compared(means, valid={**means, "gru": 0.5}, spread=0.1)
    assert found.rows[0]["name"] == "gru"
    assert said.startswith("Use cnn")
    assert "gru was best on validation, but on the test part" in said


def test_what_would_change_the_answer():
    late = {"gru": {"cut": True}, "lstm": {"handles_longer": False, "longer": 2.1}}
    _, said = compared({**NAIVE, "gru": 0.6, "lstm": 0.7}, **late)
    assert "More time may change the answer: the training of gru was cut." in said
    assert "For sequences longer than those in training do not take lstm (2.1 times the error)." in said
    assert "gru still depends on what came 20 steps before." in said
    found, said = compared({**NAIVE, "gru": 0.8, "feedforward": 0.5}, feedforward={"lag": 47})
    assert "A longer context may change it: feedforward uses its window of 48 steps to the end." in said
    found.data["longest_window"] = 48  # then the window is all there is
    assert "longer context" not in " ".join(verdict(found, "seasonal"))
    _, said = compared({"majority": 0.8, "gru": 0.3}, "classify")
    assert "With 60 test answers only large differences show" in said


def test_nothing_finished():
    rows = [row_of(CANDIDATES[n], {}, {}, None) for n in ("majority", "gru")]
    add_tests(rows, {})
    found = Comparison("classify", "share of wrong labels", {"tested": 9}, rows)
    assert verdict(found, None)[0].startswith("Nothing can be said")
    with pytest.raises(CompareError, match="nothing was finished"):
        found.winner  # noqa: B018
    with pytest.raises(CompareError, match="no candidate is called 'cnn', expected one of: majority, gru"):
        found.row("cnn")


def test_rows_are_sorted_by_validation_and_tests_are_adjusted():
    means = {**NAIVE, "gru": 0.9, "cnn": 0.8}
    found, _ = compared(means, valid={**means, "gru": 0.1})
    assert [r["name"] for r in found.rows] == ["gru", "cnn", "seasonal", "last"]
    assert found.row("gru")["gain"] == pytest.approx(0.1, abs=0.02)
    low, high = found.row("gru")["interval"]
    assert low < found.row("gru")["test"] < high


def test_equal_errors_are_told_apart_by_the_loss():
    a = row_of(CANDIDATES["gru"], {0: Outcome("a", 0.1, 2.0, test=[0.0, 1.0])}, {}, {})
    b = row_of(CANDIDATES["cnn"], {0: Outcome("b", 0.1, 1.0, test=[0.0, 1.0])}, {}, {})
    rows = [a, b]
    sort_rows(rows)
    assert [r["name"] for r in rows] == ["cnn", "gru"]


def test_the_table_says_it_all(tmp_path):
    found, _ = compared({**NAIVE, "gru": 0.6})
    found.refused = {"bigru": "it reads from the end"}
    found.cut = ["final runs: gru 2 of 3"]
    found.suspicions = ["the column 'x' tells more than columns usually do"]
    assert notes(found)[0] == "Suspicious: the column 'x' tells more than columns usually do."
    text = as_text(found)
    for words in (
        "gru",
        "-40%",
        "< 0.001",
        "3 µs",
        "native",
        "Refused: bigru",
        "Cut: final runs",
        "yes (1.00)",
        "Use gru",
    ):
        assert words in text
    found.save(tmp_path / "compare.json")
    again = Comparison.load(tmp_path / "compare.json")
    assert again.to_json() == found.to_json()
    (tmp_path / "other.json").write_text('{"format": 99}')
    with pytest.raises(CompareError, match="no comparison of this version"):
        Comparison.load(tmp_path / "other.json")
