"""Who runs when: equal tuning, seeds in turn, the same trials in any order, nothing twice, and an end in time."""

import time

import numpy as np
import pytest
from compare_benches import Here, scheduled, small_forecast, small_labelled

from recurra.compare.candidates import CANDIDATES
from recurra.compare.store import Store, decode, encode
from recurra.compare.trial import Outcome
from recurra.compare.tuning import ROUND, Study, space
from recurra.errors import CompareError

NAMES = ["logistic", "gru", "feedforward"]


def fake(trial, ended="early"):
    """An outcome that depends on the trial alone."""
    valid = 0.1 + abs(np.log10(trial.params.get("learning_rate", 1e-3)) + 2.5) + 0.01 * trial.seed
    return Outcome(trial.key, valid, test=[valid] * 4 if trial.stage == "final" else [], ended=ended)


def drain(schedule, order=lambda trials: trials):
    ran = []
    while not schedule.finished:
        trials = []
        while (trial := schedule.take()) is not None:
            trials.append(trial)
        for trial in order(trials):
            ran.append(trial)
            schedule.give(fake(trial))
    return ran


def test_every_candidate_has_as_many_trials_and_seeds(tmp_path):
    schedule = scheduled(small_labelled(), tmp_path, NAMES, trials=5, seeds=3)
    ran = drain(schedule)
    tuned = [t.name for t in ran if t.stage == "tune"]
    assert {name: tuned.count(name) for name in NAMES} == dict.fromkeys(NAMES, 5)
    finals = [(t.number, t.name) for t in ran if t.stage == "final"]
    one = ["majority", "logistic", "gru", "feedforward"]
    assert finals == [*((0, n) for n in one), *((k, n) for k in (1, 2) for n in ("gru", "feedforward"))]
    assert all(t.stage == "tune" for t in ran[:15])
    assert schedule.cut() == []
    assert schedule.progress() == (15 + 2 + 6, 15 + 2 + 6)


def test_final_runs_have_what_was_best_in_tuning(tmp_path):
    schedule = scheduled(small_labelled(), tmp_path, ["gru"], trials=7)
    ran = drain(schedule)
    trials = [t for t in ran if t.stage == "tune"]
    best = min(trials, key=lambda t: fake(t).valid)
    assert all(t.params == best.params for t in ran if t.stage == "final" and t.name == "gru")
    assert len({t.seed for t in ran if t.stage == "final" and t.name == "gru"}) == 2
    assert len({t.params["learning_rate"] for t in trials}) == 7


def test_the_same_trials_whatever_ends_first(tmp_path):
    runs = []
    for k, order in enumerate((lambda t: t, lambda t: t[::-1], lambda t: sorted(t, key=lambda one: one.key))):
        folder = tmp_path / str(k)
        folder.mkdir()
        runs.append({t.key for t in drain(scheduled(small_labelled(), folder, NAMES, trials=7), order)})
    assert runs[0] == runs[1] == runs[2]


def test_what_is_finished_is_not_run_again(tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    every = drain(scheduled(small_labelled(), whole, NAMES, trials=4))
    broken = tmp_path / "broken"
    broken.mkdir()
    schedule, first = scheduled(small_labelled(), broken, NAMES, trials=4), []
    while len(first) < 11:
        trial = schedule.take()
        first.append(trial)
        schedule.give(fake(trial))
    second = drain(scheduled(small_labelled(), broken, NAMES, trials=4))
    assert sorted(t.key for t in (*first, *second)) == sorted(t.key for t in every)
    assert drain(scheduled(small_labelled(), broken, NAMES, trials=4)) == []


def test_another_plan_is_not_gone_on_with(tmp_path):
    Store(tmp_path, {"data": "a", "settings": {"seeds": 3}})
    Store(tmp_path, {"data": "a", "settings": {"seeds": 3}})
    with pytest.raises(CompareError, match="has another data"):
        Store(tmp_path, {"data": "b", "settings": {"seeds": 3}})
    with pytest.raises(CompareError, match="has another settings"):
        Store(tmp_path, {"data": "a", "settings": {"seeds": 4}})
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(CompareError, match="damaged"):
        Store(tmp_path, {"data": "a", "settings": {"seeds": 3}})


def test_time_spent_before_counts(tmp_path):
    store = Store(tmp_path, {})
    time.sleep(0.05)
    store.slot("tune", 3.0)
    again = Store(tmp_path, {})
    assert 0.05 <= again.spent < 5
    assert again.slot("tune", 99.0) == 3.0


def test_an_outcome_survives_the_file():
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((), np.float32)}
    outcome = Outcome("k", 0.25, 1.5, [0.5, 0.125], 7, 1.5, 3, "time", [[1, 2.0, 3.0, 4.0]], arrays=arrays)
    again = decode(encode(outcome))
    assert {n: a.tolist() for n, a in again.arrays.items()} == {n: a.tolist() for n, a in arrays.items()}
    assert again.to_json() == outcome.to_json()
    assert np.isnan(decode(encode(Outcome("k", float("nan"), ended="failed"))).valid)


def test_out_of_time_the_rest_is_cut_and_said(tmp_path):
    schedule = scheduled(small_labelled(), tmp_path, NAMES, trials=4, budget=10.0)
    for _ in range(3):
        schedule.give(fake(schedule.take()))
    schedule.started -= 6.0  # tuning is over
    assert schedule.take().stage == "final"
    schedule.started -= 3.0
    assert schedule.finished
    said = " ".join(schedule.cut())
    assert "tuning trials: logistic 1 of 4; gru 1 of 4; feedforward 1 of 4" in said
    assert "final runs: majority 0 of 1" in said


def test_every_kind_has_its_first_turn_before_any_has_its_second(tmp_path):
    names = ["rnn", "lstm", "gru", "logistic", "feedforward", "cnn", "transformer"]
    schedule = scheduled(small_labelled(), tmp_path, names, trials=2, budget=600.0)
    kinds = ["recurrent", "linear", "feedforward", "cnn", "transformer"]
    ran = drain(schedule)
    first = [t for t in ran if t.stage == "tune"][:7]
    assert sorted(t.candidate["kind"] for t in first[:5]) == sorted(kinds)
    assert [t.name for t in first if t.candidate["kind"] == "recurrent"] == ["lstm", "gru", "rnn"]
    finals = [t for t in ran if t.stage == "final"]
    assert {t.candidate["kind"] for t in finals[:6]} == {*kinds, "naive"}
    assert [t.number for t in finals] == sorted(t.number for t in finals)


def test_without_time_to_tune_the_usual_settings_are_taken_and_naive_ones_are_there(tmp_path):
    bench = small_labelled()
    schedule = scheduled(bench, tmp_path, ["gru"], trials=2, budget=600.0)
    schedule.started -= 0.6 * 600  # tuning is over before it began
    ran = drain(schedule)
    assert [t.stage for t in ran] == ["final"] * 3
    assert ran[1].params == Study(CANDIDATES["gru"], bench, 2, 0).ask()
    (tmp_path / "late").mkdir()
    schedule = scheduled(bench, tmp_path / "late", ["gru"], budget=600.0)
    schedule.started -= 700
    assert schedule.finished
    assert [t.name for t in schedule.naive_left()] == ["majority"]


def test_trials_share_the_time(tmp_path):
    schedule = scheduled(small_labelled(), tmp_path, NAMES, trials=4, budget=120.0, workers=2)
    tune = schedule.take()
    assert tune.seconds == pytest.approx(0.55 * 100 * 2 / 12, rel=0.05)
    assert schedule.deadline - schedule.started <= 120


def test_failed_trials_do_not_end_a_study():
    study = Study(CANDIDATES["gru"], small_labelled(), 6, 0)
    asked = 0
    while not study.done:
        while study.ask() is not None:
            asked += 1
        for n in range(asked):
            if n not in study.results:
                study.tell(n, float("nan") if n % 2 else 1.0 + n)
    assert asked == 6
    assert study.best() == study.params[0]


def test_a_round_waits_for_its_results():
    study = Study(CANDIDATES["cnn"], small_labelled(), 10, 0)
    first = [study.ask() for _ in range(ROUND)]
    assert all(first)
    assert study.ask() is None
    study.tell(2, 0.3)
    study.tell(0, 0.2)
    assert study.ask() is None
    study.tell(1, 0.1)
    assert study.ask() is not None


def test_what_is_tuned():
    assert set(space(CANDIDATES["gru"], small_forecast())) == {"learning_rate", "layers", "dropout", "window"}
    assert set(space(CANDIDATES["gru"], small_labelled())) == {"learning_rate", "layers", "dropout"}
    assert set(space(CANDIDATES["cnn"], small_labelled())) == {"learning_rate", "dropout", "window"}
    assert set(space(CANDIDATES["linear"], small_forecast())) == {"alpha", "window"}
    assert space(CANDIDATES["last"], small_forecast()) == {}


def test_a_candidate_that_fails_leaves_the_others_alone(tmp_path):
    bench = small_labelled()
    schedule = scheduled(bench, tmp_path, ["cnn", "gru"], parameters=220)
    Here(bench).run(schedule)
    assert "expected 220 within 5%" in next(iter(schedule.tuned["cnn"].values())).error
    assert schedule.finals["cnn"] == {}
    assert len(schedule.finals["gru"]) == 2


def test_the_board_shows_the_leaderboard_so_far(tmp_path):
    from rich.console import Console

    from recurra.compare.progress import Board, leaderboard

    schedule = scheduled(small_labelled(), tmp_path, NAMES, trials=2)
    for _ in range(4):
        schedule.give(fake(schedule.take()))
    running = schedule.take()
    rows = leaderboard(schedule)
    assert sum(row[2] for row in rows) == 4
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    board = Board()
    with board:
        board(schedule)
    console = Console(width=120)
    with console.capture() as shown:
        console.print(board._table(schedule))
    text = shown.get()
    assert f"{running.name} " in text
    assert "1 running" in text
    assert "4 of 12 trainings" in text
    assert "best so far" in text


def test_a_fault_of_any_kind_is_an_outcome(monkeypatch):
    from compare_trials import tune

    from recurra.compare.run_trial import run_trial

    bench = small_labelled().without_test()
    monkeypatch.setattr(type(bench.task), "loss", lambda self, output, targets: 1 / 0)
    outcome = run_trial(tune("gru"), bench)
    assert outcome.ended == "failed"
    assert outcome.error == "ZeroDivisionError: division by zero"
    assert np.isnan(outcome.valid)


def test_what_failed_is_tried_again(tmp_path):
    schedule = scheduled(small_labelled(), tmp_path, ["gru"], trials=1, seeds=1)
    trial = schedule.take()
    schedule.give(Outcome(trial.key, float("nan"), ended="failed", error="out of memory"))
    again = scheduled(small_labelled(), tmp_path, ["gru"], trials=1, seeds=1)
    assert again.take() == trial


def test_a_budget_that_is_used_up_still_has_its_results(tmp_path):
    """Going on when there is no time left takes in all that was finished, and runs nothing."""
    schedule = scheduled(small_labelled(), tmp_path, NAMES, trials=2, budget=20.0)
    ran = drain(schedule)
    again = scheduled(small_labelled(), tmp_path, NAMES, trials=2, budget=20.0)
    again.started -= 100
    again.replay()
    assert again.finished
    assert again.take() is None
    assert again.cut() == []
    assert again.progress() == (len(ran), len(ran))


def test_what_is_not_finished_is_run_after_the_rest_was_taken_in(tmp_path):
    schedule, first = scheduled(small_labelled(), tmp_path, NAMES, trials=4), []
    for _ in range(8):
        first.append(schedule.take())
        schedule.give(fake(first[-1]))
    again = scheduled(small_labelled(), tmp_path, NAMES, trials=4)
    again.replay()
    assert again.progress()[0] == 8
    assert not again.running
    assert not {t.key for t in drain(again)} & {t.key for t in first}
    assert again.cut() == []
