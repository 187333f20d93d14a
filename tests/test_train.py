"""The training loop: what it learns, when it stops, and that a run killed at any moment ends as one that was not."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from helpers import TESTS
from recurra.errors import CheckpointError, TrainingError
from recurra.train import Settings, learning_rate, train

UPDATES = 6


class Problem:
    """A small network with dropout and recurrent state carried from batch to batch."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.cell, self.out = torch.nn.GRUCell(2, 5), torch.nn.Linear(5, 1)
        self.module = torch.nn.ModuleList([self.cell, torch.nn.Dropout(0.4), self.out])
        self.x = torch.randn(UPDATES * 4, 3, 2, generator=torch.Generator().manual_seed(2))
        self.state = None

    def batches(self, epoch):
        shift = int(np.random.default_rng(epoch).integers(len(self.x)))
        self.state = None
        return self.x.roll(shift, 0).split(4)

    def loss(self, batch):
        state, loss = self.state, 0.0
        for x in batch:
            state = self.cell(x, state)
            loss = loss + (self.out(self.module[1](state)) - x.sum(1, keepdim=True)).square().mean()
        self.state = state.detach()
        return loss

    def validate(self):
        self.state = None
        return {"valid_error": float(self.loss(self.x[:8]).detach()), "twice": 2.0}

    def run(self, epochs=7, progress=None, **options):
        settings = Settings(epochs=epochs, learning_rate=0.02, warm_up=5, **options.pop("settings", {}))
        return train(
            self.module, self.batches, self.loss, self.validate, settings, updates=UPDATES, progress=progress, **options
        )

    def weights(self) -> bytes:
        return b"".join(t.numpy().tobytes() for t in self.module.state_dict().values())


def test_it_learns_and_leaves_the_best_weights() -> None:
    problem = Problem()
    history = problem.run(epochs=20)
    errors = [epoch["valid_error"] for epoch in history.epochs]
    assert history.ended == "complete"
    assert errors[-1] < 0.5 * errors[0]
    assert history.best_error == min(errors) == errors[history.best_epoch - 1]
    assert problem.validate()["valid_error"] == history.best_error
    assert [epoch["epoch"] for epoch in history.epochs] == list(range(1, 21))
    assert all(epoch["twice"] == 2 and epoch["train_loss"] > 0 for epoch in history.epochs)
    assert not problem.module.training


def test_it_stops_early_with_the_weights_of_the_best_epoch() -> None:
    problem, errors = Problem(), iter([5.0, 3.0, 4.0, 3.5, 3.0, 1.0])
    kept = []

    def validate():
        kept.append(problem.weights())
        return {"valid_error": next(errors)}

    problem.validate = validate
    history = problem.run(epochs=6, settings={"patience": 3})
    assert (history.ended, history.best_epoch, len(history.epochs)) == ("early", 2, 5)
    assert problem.weights() == kept[1]


def test_the_same_seed_gives_the_same_weights_whatever_is_drawn_outside() -> None:
    one, other, third = Problem(), Problem(), Problem()
    one.run()
    torch.rand(17)
    before = torch.random.get_rng_state()
    other.run()
    assert torch.equal(before, torch.random.get_rng_state())
    third.run(settings={"seed": 1})
    assert one.weights() == other.weights() != third.weights()


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_a_run_that_stopped_after_an_epoch_ends_like_one_that_did_not(tmp_path, stop) -> None:
    class StopError(Exception):
        pass

    def halt(p):
        if p.epoch == stop + 1 and p.update == 3:
            raise StopError

    whole, part, rest = Problem(), Problem(), Problem()
    expected = whole.run(checkpoint=tmp_path / "other")
    with pytest.raises(StopError):
        part.run(checkpoint=tmp_path / "run", progress=halt)
    seen = []
    history = rest.run(checkpoint=tmp_path / "run", resume=True, progress=lambda p: seen.append(p.epoch))
    assert min(seen) == stop + 1
    assert rest.weights() == whole.weights()
    assert history == expected
    again = Problem()
    assert again.run(checkpoint=tmp_path / "run", resume=True) == expected
    assert again.weights() == whole.weights()


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
from test_train import Problem
problem = Problem()
def slow(p):
    print(p.epoch, p.update, flush=True)
    time.sleep(0.01)
problem.run(checkpoint=sys.argv[1], resume=True, progress=slow)
open(sys.argv[1] + ".weights", "wb").write(problem.weights())
"""


@pytest.mark.long
def test_a_run_that_is_killed_again_and_again_ends_like_one_that_is_not(tmp_path) -> None:
    whole, path = Problem(), tmp_path / "run"
    whole.run()
    command = [sys.executable, "-c", CHILD, str(path), str(TESTS)]
    kills = 0
    for lines in (9, 16):  # killed after so many updates, in different epochs and amid them
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert all(child.stdout.readline() for _ in range(lines))
        child.send_signal(signal.SIGKILL)
        child.stdout.close()
        kills += child.wait() == -signal.SIGKILL
    assert kills == 2
    assert path.exists()
    assert subprocess.run(command, capture_output=True, timeout=60, check=True).returncode == 0
    assert (tmp_path / "run.weights").read_bytes() == whole.weights()
    assert {p.name for p in tmp_path.iterdir() if not p.name.startswith(".run")} == {"run", "run.weights"}


def test_control_c_keeps_the_best_so_far(tmp_path) -> None:
    def interrupt(p):
        if p.epoch == 3 and p.update == 2:
            raise KeyboardInterrupt

    problem = Problem()
    history = problem.run(checkpoint=tmp_path / "run", progress=interrupt)
    assert (history.ended, len(history.epochs)) == ("interrupted", 2)
    assert problem.validate()["valid_error"] == history.best_error
    whole, rest = Problem(), Problem()
    whole.run()
    assert rest.run(checkpoint=tmp_path / "run", resume=True).ended == "complete"
    assert rest.weights() == whole.weights()


def test_control_c_before_the_first_epoch_ends_is_passed_on() -> None:
    def interrupt(p):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Problem().run(progress=interrupt)


def test_a_training_that_is_told_to_stop_keeps_the_best_so_far(tmp_path) -> None:
    asked, problem = [], Problem()
    history = problem.run(stop=lambda now: bool(asked.append(now.update)) or (now.epoch, now.update) == (3, 2))
    same = Problem()
    whole = same.run(epochs=7, stop=lambda now: now.epoch == 3)
    assert history.ended == whole.ended == "stopped"
    assert len(history.epochs) == 2
    assert asked == [1, 2, 3, 4, 5, 6, 6] * 2 + [1, 2]  # after every update and every validation
    assert problem.weights() == same.weights()


def test_a_training_that_is_told_to_stop_at_once_is_validated_all_the_same(tmp_path) -> None:
    problem = Problem()
    history = problem.run(epochs=1, stop=lambda now: now.update == 2, checkpoint=tmp_path / "checkpoint")
    assert (history.ended, len(history.epochs), history.best_epoch) == ("stopped", 1, 1)
    assert history.best_error == pytest.approx(problem.validate()["valid_error"])
    assert not (tmp_path / "checkpoint").exists()  # an epoch that is not whole could not be resumed with the same bits


def test_progress_says_where_training_is() -> None:
    seen = []
    Problem().run(epochs=3, progress=seen.append)
    updates = [*range(1, UPDATES + 1), UPDATES]  # and once more after the validation
    assert [(p.epoch, p.update) for p in seen] == [(e, u) for e in (1, 2, 3) for u in updates]
    assert all(p.epochs == 3 and p.updates == UPDATES and p.seconds_left >= 0 for p in seen)
    assert seen[0].last == {}
    assert (seen[-2].last["epoch"], seen[-1].last["epoch"]) == (2, 3)
    assert seen[-1].seconds_left == 0


def test_a_loss_that_is_no_number_ends_training() -> None:
    problem = Problem()
    problem.x[3, 0, 0] = math.inf
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at update \d of epoch 1; expected a finite number"):
        problem.run()
    problem = Problem()
    problem.validate = lambda: {"valid_error": math.nan}
    with pytest.raises(TrainingError, match="the validation error is nan in epoch 1"):
        problem.run()


def test_gradients_are_clipped() -> None:
    """A rate so small that a step is the gradient's size: with a tiny clip, first moments stay tiny."""
    problem = Problem()
    problem.run(epochs=1, settings={"clip": 1e-6})
    assert max(float(p.grad.abs().max()) for p in problem.module.parameters()) <= 1e-6


def test_a_checkpoint_of_another_run_is_refused(tmp_path) -> None:
    Problem().run(epochs=2, checkpoint=tmp_path / "run", identity={"data": "a"})
    with pytest.raises(CheckpointError, match="other data, expected the same"):
        Problem().run(epochs=2, checkpoint=tmp_path / "run", identity={"data": "b"}, resume=True)
    with pytest.raises(CheckpointError, match="other settings"):
        Problem().run(epochs=3, checkpoint=tmp_path / "run", identity={"data": "a"}, resume=True)
    Problem().run(epochs=2, checkpoint=tmp_path / "run", identity={"data": "b"})  # without resume it begins anew


def test_a_damaged_checkpoint_is_refused(tmp_path) -> None:
    path = tmp_path / "run"
    Problem().run(epochs=1, checkpoint=path)
    whole = path.read_bytes()
    tensors = load_file(path)
    for content in (b"", b"garbage", whole[:-5], whole[: len(whole) // 2], b"PK" + whole):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="expected a checkpoint of recurra: train anew") as caught:
            Problem().run(epochs=1, checkpoint=path, resume=True)
        assert "\n" not in str(caught.value)
    save_file(tensors, path)  # without its manifest
    with pytest.raises(CheckpointError):
        Problem().run(epochs=1, checkpoint=path, resume=True)


def test_no_pickle_is_in_a_checkpoint(tmp_path) -> None:
    Problem().run(epochs=1, checkpoint=tmp_path / "run")
    tensors = load_file(tmp_path / "run")
    parts = {name.partition(".")[0] for name in tensors}
    assert parts == {"module", "best", "optimizer"}
    assert any(name.endswith("exp_avg_sq") for name in tensors)


def test_resume_without_a_checkpoint_begins(tmp_path) -> None:
    began = time.perf_counter()
    assert Problem().run(epochs=1, checkpoint=tmp_path / "new", resume=True).ended == "complete"
    assert (tmp_path / "new").exists()
    assert time.perf_counter() - began < 60


class Slope:
    """A module of one matrix and one bias, whose loss has the same gradient in all of its numbers for ever."""

    def __init__(self, gradient: float) -> None:
        self.gradient = gradient
        self.module = torch.nn.Linear(3, 2)
        with torch.no_grad():
            self.module.weight.fill_(0.75)
            self.module.bias.fill_(0.75)
        self.seen: list[tuple[float, float]] = []

    def train(self, settings: Settings) -> None:
        errors = iter(range(1000, 0, -1))

        def loss(_: int):
            self.seen.append((float(self.module.weight[0, 0].detach()), float(self.module.bias[0].detach())))
            return self.gradient * sum(p.sum() for p in self.module.parameters())

        train(
            self.module, lambda epoch: range(UPDATES), loss, lambda: {"error": next(errors)}, settings, updates=UPDATES
        )
        self.seen.append((float(self.module.weight[0, 0].detach()), float(self.module.bias[0].detach())))


def test_matrices_decay_and_nothing_else_does() -> None:
    """Without a gradient, AdamW's decay is all that moves."""
    settings = Settings(epochs=5, learning_rate=0.1, weight_decay=0.5, warm_up=1)
    slope = Slope(gradient=0.0)
    slope.train(settings)
    left = np.prod([1 - 0.5 * learning_rate(settings, u, UPDATES) for u in range(5 * UPDATES)])
    assert left < 0.5
    assert torch.allclose(slope.module.weight, torch.full((2, 3), 0.75 * float(left)))
    assert torch.equal(slope.module.bias, torch.full((2,), 0.75))


def test_the_rate_warms_up_and_falls() -> None:
    """Under a constant gradient each of Adam's steps is the learning rate itself."""
    settings = Settings(epochs=10, learning_rate=1e-2, weight_decay=0.0, warm_up=8)
    slope = Slope(gradient=1.0)
    slope.train(settings)
    steps = -np.diff([bias for _, bias in slope.seen])
    wanted = [learning_rate(settings, u, UPDATES) for u in range(10 * UPDATES)]
    np.testing.assert_allclose(steps, wanted, rtol=1e-3, atol=1e-6)
    assert steps[0] == pytest.approx(steps[7] / 8, rel=0.05)
    assert np.all(np.diff(steps[:8]) > 0)
    assert np.all(np.diff(steps[8:]) < 0)
