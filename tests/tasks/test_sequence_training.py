"""How networks of whole sequences are trained: noise, targets for every step, and once more on everything."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import recurra
from recurra.errors import SettingError
from recurra.tasks.bench import Bench
from recurra.tasks.learn import loss_of
from recurra.train import Settings, train


def walks(count: int = 60, seed: int = 0) -> list[np.ndarray]:
    """Sequences of two columns, the second of which has missing values."""
    rng = np.random.default_rng(seed)
    found = [rng.normal(size=(int(n), 2)) for n in rng.integers(4, 12, count)]
    for x in found:
        x[rng.random(len(x)) < 0.3, 1] = np.nan
    return found


def rises(X: list[np.ndarray]) -> np.ndarray:
    return np.array(["up" if x[:, 0].sum() > 0 else "down" for x in X])


def bench_of(X: list[np.ndarray], y: object) -> Bench:
    task = recurra.Classifier().make_task()
    sequences = task.examples(X, y=y)
    splits = task.split(sequences, (0.7, 0.15, 0.15), 0)
    return Bench(task, sequences, splits, task.transform(sequences, splits))


class Seen(torch.nn.Module):
    """A network that keeps the rows that it was given."""

    whole = True

    def forward(self, rows, state, **_):
        self.rows = rows
        return torch.zeros(rows.shape[1], 2, requires_grad=True), None


def test_noise_is_added_to_numbers_and_not_to_flags() -> None:
    X = walks()
    bench, network = bench_of(X, rises(X)), Seen()
    batch = next(bench.task.batches(bench.transform, bench.pieces("train"), None, None, 24, 0).epoch(0))
    assert bench.transform.row_size == 3
    torch.manual_seed(0)
    loss_of(bench, network, noise=0.5)(batch)
    added = network.rows.numpy() - batch.rows
    assert added[..., 2].any() is np.False_
    assert 0.4 < added[..., :2].std() < 0.6
    loss_of(bench, network)(batch)
    assert (network.rows.numpy() == batch.rows).all()


def test_all_sequences_are_learned_from_once_the_report_is_made() -> None:
    X = walks()
    kept = {"hidden": 4, "epochs": 3}
    one, apart = (recurra.Classifier(**kept, refit=refit).fit(X, rises(X)) for refit in (True, False))
    assert (one.report_["refit"], apart.report_["refit"]) == (True, False)
    assert one.report_["table"] == apart.report_["table"]  # of the network that has not seen the test part
    means = [model.transform_.scalers[0].center for model in (one, apart)]
    assert means[0] == pytest.approx(np.concatenate(X)[:, 0].mean())
    assert means[0] != means[1]
    again = recurra.Classifier(**kept).fit(X, rises(X))
    assert (again.predict_proba(X) == one.predict_proba(X)).all()
    assert (apart.predict_proba(X) != one.predict_proba(X)).any()


def test_what_was_stopped_is_not_trained_again() -> None:
    X = walks()
    model = recurra.Classifier(hidden=4, epochs=9).fit(X, rises(X), stop=lambda p: p.epoch > 2)
    assert model.history_.ended == "stopped"
    assert not model.report_["refit"]


@pytest.mark.parametrize("pool", ["last", "all"])
def test_every_step_has_a_target(pool: str) -> None:
    rng = np.random.default_rng(1)
    X = [rng.normal(size=(int(n), 1)) for n in rng.integers(5, 30, 80)]
    y = [x[:, 0].cumsum() for x in X]
    y[3][2] = np.nan
    model = recurra.Regressor(hidden=16, noise=0.0, pool=pool, epochs=60, learning_rate=0.02).fit(X, y)
    assert model.report_["table"][0]["r2"] > 0.7
    found, live = model.predict(X[:5], steps="last"), model.live()
    for i, x in enumerate(X[:5]):
        steps = [live.step(row, str(i))["value"] for row in x]
        assert steps[-1] == found[i]
        assert np.corrcoef(steps[1:], y[i][1:])[0, 1] > 0.7 or i == 3
    every = np.concatenate([[live.step(row, f"again {i}")["value"] for row in x] for i, x in enumerate(X)])
    errors = every - np.concatenate(y)
    assert model.evaluate(X, y)["rmse"] == pytest.approx(np.sqrt(np.nanmean(errors**2)), rel=1e-4)


def test_targets_for_every_step_are_not_for_both_directions() -> None:
    X = walks()
    with pytest.raises(SettingError, match=r"y has a number for each step, .* expected bidirectional=False"):
        recurra.Regressor(bidirectional=True).fit(X, [x[:, 0].cumsum() for x in X])


def test_without_validation_the_last_epoch_counts() -> None:
    weight = torch.nn.Linear(1, 1, bias=False)
    history = train(
        weight, lambda epoch: [1.0], lambda b: (weight.weight - 5).square().sum(), None, Settings(epochs=4), updates=1
    )
    assert (history.ended, history.best_epoch) == ("complete", 4)
    assert [sorted(epoch) for epoch in history.epochs] == [["epoch", "train_loss"]] * 4


def test_sequences_may_be_transposed_arrays() -> None:
    """As a reader has them that keeps columns first."""
    X = walks()
    turned = [np.asfortranarray(x) for x in X]
    one, other = (recurra.Classifier(hidden=4, epochs=1).fit(x, rises(X)) for x in (X, turned))
    assert (one.predict_proba(X) == other.predict_proba(turned)).all()
