"""Planted leaks: each is found, or cannot happen."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from compare_benches import bench_of, sequences, small_forecast, small_labelled, table
from compare_trials import final, tune

from helpers import generator
from recurra.compare import compare
from recurra.compare.run_trial import run_trial
from recurra.errors import DataError, LeakageError
from recurra.tasks.classification.classifier import Classify
from recurra.tasks.forecasting.task import Forecast


def suspicions(columns, past=(), known_ahead=(), horizon=6):
    roles = {"target": "y", "time": "time", "past": past, "known_ahead": known_ahead}
    bench = bench_of(Forecast(horizon, seasons=(24,)), columns, **roles)
    return bench.task.suspicions(bench)


def test_honest_columns_are_not_suspected():
    assert suspicions(table(), past=["wind"], known_ahead=["open"]) == []


def test_a_column_of_the_targets_own_past_is_no_leak():
    columns = table()
    columns["before"] = np.roll(columns["y"], 3)
    assert suspicions(columns, past=["before"]) == []


@pytest.mark.parametrize("shift", [1, 4, 6])
@pytest.mark.parametrize("disguise", [lambda y: y, lambda y: -40 * y + 3, np.exp], ids=["plain", "scaled", "curved"])
def test_a_shifted_target_in_disguise_is_found(shift, disguise):
    columns = table()
    columns["innocent"] = disguise(np.roll(columns["y"], -shift))
    with pytest.raises(LeakageError, match=f"'innocent' is the target 'y' {shift} rows later, in disguise"):
        suspicions(columns, past=["innocent"])


def test_a_shifted_target_under_a_little_noise_is_found():
    columns = table(noise=0.3)
    columns["innocent"] = np.roll(columns["y"], -2) + 0.03 * generator("cover").normal(size=600)
    with pytest.raises(LeakageError, match="2 rows later"):
        suspicions(columns, past=["innocent"])


@pytest.mark.parametrize(("shift", "words"), [(0, "of the same time"), (-3, "3 rows earlier"), (2, "2 rows later")])
def test_a_known_ahead_column_may_not_be_the_target_of_the_horizon(shift, words):
    columns = table()
    columns["plan"] = 2 * np.roll(columns["y"], -shift)
    with pytest.raises(LeakageError, match=words):
        suspicions(columns, known_ahead=["plan"])


def test_a_feature_that_is_known_only_afterwards_is_suspected():
    """The mean of the day, written to each of its hours."""
    columns = table(noise=0.6)
    walk = np.cumsum(generator("walk").normal(size=25))
    columns["y"] = columns["y"] + np.repeat(walk, 24)
    columns["mean of the day"] = np.repeat(columns["y"].reshape(25, 24).mean(1), 24)
    said = suspicions(columns, past=["mean of the day"], horizon=24)
    assert len(said) == 1
    assert "'mean of the day' tells more of the future" in said[0]


def test_shuffled_rows_with_times_are_an_error():
    order = generator("shuffle").permutation(600)
    with pytest.raises(DataError, match="time"):
        suspicions({name: values[order] for name, values in table().items()})


def test_shuffled_rows_without_times_are_suspected():
    y = table()["y"][generator("shuffle").permutation(600)]
    bench = bench_of(Forecast(6, seasons=()), {"y": y}, target="y")
    said = bench.task.suspicions(bench)
    assert len(said) == 1
    assert "as if in random order" in said[0]


def changed_after(row):
    columns = table()
    for name in ("y", "wind"):
        columns[name][row:] = 1e4 * generator("poison").normal(size=600 - row)
    return columns


def test_tuning_does_not_see_the_test_part():
    """Whatever is in the test part, tuning has the same bits: the rows are not even there."""
    end = small_forecast().splits[0].valid_end
    honest, poisoned = (small_forecast(c).without_test() for c in (table(), changed_after(end)))
    assert len(honest.sequences[0]) == end
    assert honest.fingerprint == poisoned.fingerprint
    whole, part = small_labelled(), small_labelled().without_test()
    assert part.pieces("test") == []
    assert len(part.sequences) == len(whole.sequences) - len(whole.pieces("test"))


def test_scales_seasons_and_training_do_not_see_the_validation_part():
    """Whatever comes after the training part, the features and the loss of each epoch are the same."""
    end = small_forecast().splits[0].train_end
    outcomes = []
    for columns in (table(), changed_after(end)):
        bench = small_forecast(columns)
        outcomes.append((bench.transform.to_dict(), run_trial(tune("gru", epochs=1), bench.without_test())))
    (honest, a), (poisoned, b) = outcomes
    assert honest == poisoned
    assert not a.error
    assert a.history[0][1] == b.history[0][1]
    assert a.valid != b.valid


def test_imputation_and_scaling_of_sequences_see_the_training_part_alone():
    x, y = sequences()
    trained = [split.train_end > 0 for split in bench_of(Classify(), x, y=y).splits]
    changed = [s if seen else 1e3 * s + 7 for s, seen in zip(x, trained, strict=True)]
    a, b = (bench_of(Classify(), some, y=y).transform for some in (x, changed))
    assert a == b
    rows = np.concatenate([s for s, seen in zip(x, trained, strict=True) if seen])
    assert [s.center for s in a.scalers] == pytest.approx(rows.mean(0))
    assert [s.scale for s in a.scalers] == pytest.approx(rows.std(0))


@pytest.mark.parametrize("name", ["gru", "feedforward", "transformer"])
def test_no_window_of_training_reaches_over_the_split(name):
    """Every target of every training step is in the training part, also for windows that overlap."""
    from recurra.compare.candidates import CANDIDATES
    from recurra.compare.run_trial import network_of

    bench = small_forecast()
    end, N = bench.splits[0].train_end, bench.task.horizon
    network, _ = network_of(final(name), CANDIDATES[name], bench)
    asked = []
    targets = type(bench.transform).targets
    spied = replace(bench.transform)
    object.__setattr__(spied, "targets", lambda s, a, b: asked.append((a, b)) or targets(bench.transform, s, a, b))
    batches = bench.task.batches(spied, bench.pieces("train"), network.encoder, 4, 8, 0)
    count = sum(np.isfinite(batch.targets).all(-1).sum() for batch in batches.epoch(0))
    assert count == end - N
    assert max(b for _, b in asked) == end - N
    for part, other in (("train", "valid"), ("valid", "test")):
        assert max(p.stop - 1 for p in bench.pieces(part)) + N < min(p.start for p in bench.pieces(other)) + 1


def test_windows_of_one_recording_on_both_sides_of_a_split_are_found():
    rng = generator("recordings")
    x, y, groups = [], [], []
    for k in range(12):
        recording = np.cumsum(rng.normal(size=(80, 2)), 0)
        for start in range(0, 60, 5):
            x.append(recording[start : start + 20])
            y.append(k % 2)
            groups.append(k)
    apart = bench_of(Classify(), x, y=y)
    with pytest.raises(LeakageError, match=r"have steps in common with training sequences .* give `groups`"):
        apart.task.suspicions(apart)
    bench = bench_of(Classify(), x, y=y, groups=groups)
    assert bench.task.suspicions(bench) == []
    for k in range(12):
        assert len({bench.splits[i] for i in range(len(x)) if groups[i] == k}) == 1


def test_a_test_part_that_repeats_training_sequences_is_found():
    x, y = sequences()
    with pytest.raises(LeakageError, match="test sequences have steps in common"):
        compare(x, y, test=(x[:20], y[:20]), budget="10s")


def test_a_channel_that_is_the_label_is_found():
    x, y = sequences()
    number = {"low": 2.0, "middle": -1.0, "high": 7.5}
    rng = generator("label")
    told = [np.column_stack([s, number[name] + 1e-3 * rng.normal(size=len(s))]) for s, name in zip(x, y, strict=True)]
    for columns, leak in ((told, True), ([np.column_stack([s, np.full(len(s), rng.normal())]) for s in x], False)):
        bench = bench_of(Classify(), columns, y=y)
        with pytest.raises(LeakageError, match="column 2 is one number in each") if leak else nullcontext():
            bench.task.suspicions(bench)
