"""Remedies: what each changes, that trainings are matched, and that the best is kept."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from networks import Reader, noise, recall, vanilla
from torch import Tensor, nn

from recurra import doctor
from recurra.doctor.remedies import Facts, Setup, applied
from recurra.doctor.text import trial_row
from recurra.doctor.wrappers import BothWays, Truncated
from recurra.errors import DoctorError
from recurra.torch import GRU, LSTM, RNN, Recurrent, Stack


@pytest.fixture(scope="module")
def cured() -> doctor.Retraining:
    torch.manual_seed(0)
    sick = doctor.examine(vanilla(), *recall(25), lag=24)
    assert {"vanishing", "forgetting too early"} <= sick.kinds
    return doctor.retrain(vanilla, lambda: recall(25), findings=sick, steps=100, learning_rate=5e-3, clip=1.0)


def test_a_sick_network_is_cured(cured: doctor.Retraining) -> None:
    by_name = {t.name: t for t in cured.trials}
    assert by_name["orthogonal"].loss < 0.5 * cured.before.loss
    assert cured.best.loss == min(t.loss for t in cured.trials)
    assert cured.best.loss < 0.3 * cured.before.loss
    assert "vanishing" in cured.before.findings.kinds
    assert "vanishing" not in by_name["orthogonal"].findings.kinds
    assert {"gated_cell", "layer_norm", "residual", "time_reversal", "bidirectional"} <= set(by_name)
    assert any(len(t.remedies) > 1 for t in cured.trials)
    best = cured.best.module
    torch.manual_seed(9)
    x, y = recall(25)
    assert float(nn.functional.mse_loss(best(x), y).detach()) < 0.5


def test_results_are_shown(cured: doctor.Retraining) -> None:
    data = json.loads(json.dumps(cured.to_dict(), allow_nan=False))
    assert data["best"] == list(cured.best.remedies)
    assert data["steps"] == 100
    text = str(cured)
    assert all(t.name.split(" + ")[0] in text for t in cured.trials)
    assert "after 100 steps the loss is" in text
    assert len([trial_row(t) for t in (cured.before, *cured.trials)]) == 1 + len(cured.trials)


def test_trainings_are_matched_and_leave_nothing_behind() -> None:
    """Every training sees the same batches; torch's random numbers go on as if nothing had been."""
    seen: list[list[float]] = []

    def data() -> tuple[Tensor, Tensor]:
        x, y = recall(12)
        seen[-1].append(float(x.sum()))
        return x, y

    def make() -> nn.Module:
        seen.append([])
        return vanilla()

    seen.append([])
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    findings = doctor.examine(vanilla(), *recall(12), lag=11)
    torch.random.set_rng_state(state)
    doctor.retrain(make, data, findings=findings, steps=4)
    assert torch.equal(state, torch.random.get_rng_state())
    trained = [s for s in seen[1:] if s]
    assert len(trained) > 3
    assert all(s == trained[0] for s in trained)
    assert len(trained[0]) == 4


def test_a_pair_of_data_and_a_loop_of_ones_own() -> None:
    torch.manual_seed(0)
    x = torch.randn(10, 15, 1)
    tried = doctor.retrain(vanilla, (x, x[0]), steps=3)
    assert tried.before.findings.layers[0].rows == 3
    setups: list[Setup] = []

    def train(module: nn.Module, setup: Setup) -> float:
        setups.append(setup)
        return 1.0 if setup.clip is None else 0.5

    sick = doctor.Findings([doctor.Finding("exploding", "rnn", "", "", ("clipping", "learning_rate"))], lag=5)
    tried = doctor.retrain(vanilla, (x, x[0]), findings=sick, train=train, learning_rate=0.5)
    assert tried.best.remedies == ("clipping",)
    assert [p.learning_rate for p in setups] == [0.5, 0.5, 0.05]
    with pytest.raises(DoctorError, match=r"y \(14, 1\)"):
        doctor.retrain(vanilla, (x, x[0, :14]))


def test_training_that_breaks_down_is_no_cure() -> None:
    sick = doctor.Findings([doctor.Finding("exploding", "rnn", "", "", ("clipping",))], lag=5)

    def broken(module: nn.Module, setup: Setup) -> float:
        return math.nan if setup.clip is not None else 2.0

    tried = doctor.retrain(vanilla, lambda: recall(8), findings=sick, train=broken)
    assert tried.best is tried.before
    assert "no remedy is better" in tried.verdict
    assert tried.to_dict()["trials"][0]["loss"] is None


FACTS = Facts(30, noise(20, 4, 3, torch.float32), 0, True, 0.7)


def treated(name: str, layer: object, facts: Facts = FACTS) -> nn.Module | None:
    setup = applied(name, Setup(lambda: Reader(layer(), 8), 0.1, None), facts)
    return None if setup is None else setup.make()


def test_gated_cell() -> None:
    assert isinstance(treated("gated_cell", lambda: nn.RNN(3, 8)).rnn, GRU)
    assert treated("gated_cell", lambda: Recurrent("rnn_relu", 3, 8, dtype=torch.float32)).rnn.cell.name == "gru"
    assert treated("gated_cell", lambda: LSTM(3, 8)) is None
    assert treated("gated_cell", lambda: Recurrent("mgu", 3, 8)) is None
    root = applied("gated_cell", Setup(lambda: RNN(3, 8, num_layers=2), 0.1, None), FACTS).make()
    assert isinstance(root, GRU)
    assert root.num_layers == 2


def test_forget_bias() -> None:
    layer = treated("forget_bias", lambda: LSTM(3, 8)).rnn
    b = (layer.bias_ih_l0 + layer.bias_hh_l0)[8:16]
    assert ((b >= 0) & (b <= math.log(30))).all()
    assert len(b.unique()) == 8
    fewer = treated("forget_bias", lambda: Recurrent("mgu", 3, 8)).rnn
    assert ((fewer.bias_ih_l0 + fewer.bias_hh_l0)[:8] <= 0).all()
    assert treated("forget_bias", lambda: RNN(3, 8)) is None


def test_orthogonal() -> None:
    U = treated("orthogonal", lambda: GRU(3, 8)).rnn.weight_hh_l0.detach().view(3, 8, 8)
    np.testing.assert_allclose(U @ U.mT, np.eye(8)[None].repeat(3, 0), atol=1e-5)
    assert torch.equal(treated("orthogonal", lambda: RNN(3, 8, nonlinearity="relu")).rnn.weight_hh_l0, torch.eye(8))
    assert treated("orthogonal", lambda: Recurrent("indrnn", 3, 8)) is None


def test_wrappers_compute_what_they_say() -> None:
    x = noise(20, 4, 3, torch.float32)
    model = treated("residual", lambda: GRU(3, 8))
    output = model.rnn(x)[0]
    torch.testing.assert_close(output, model.rnn.layer(x)[0] + x @ model.rnn.shortcut.weight.T)
    model = treated("layer_norm", lambda: GRU(3, 8))
    torch.testing.assert_close(model.rnn(x)[0].mean(-1), torch.zeros(20, 4), atol=1e-5, rtol=0)
    model = treated("input_scaling", lambda: GRU(3, 8), Facts(30, 5 * x + 3, 0, True, 1.0))
    torch.testing.assert_close(
        model(5 * x + 3), model.network((5 * x - 5 * x.mean((0, 1))) / (5 * x.std((0, 1), correction=0)))
    )
    model = treated("time_reversal", lambda: GRU(3, 8))
    torch.testing.assert_close(model(x), model.network(x.flip(0)))
    assert treated("time_reversal", lambda: GRU(3, 8), Facts(30, x, 0, False, 1.0)) is None
    both = BothWays(GRU(3, 8))
    output, state = both(x)
    torch.testing.assert_close(output[:-1], both.layer(x)[0][:-1] + both.other(x.flip(0))[0].flip(0)[:-1])
    torch.testing.assert_close(output[-1], both.layer(x)[0][-1] + both.other(x.flip(0))[0][-1])
    torch.testing.assert_close(state, both.layer(x)[1] + both.other(x.flip(0))[1])


@pytest.mark.parametrize("batch_first", [False, True])
def test_truncation(batch_first: bool) -> None:
    torch.manual_seed(0)
    layer = LSTM(3, 8, batch_first=batch_first)
    x = noise(20, 4, 3, torch.float32).requires_grad_()
    given = x.transpose(0, 1) if batch_first else x
    cut = Truncated(layer, 6)
    output, (h, _) = cut(given)
    torch.testing.assert_close(output, layer(given)[0])
    torch.testing.assert_close(h, layer(given)[1][0])
    (output[:, -1] if batch_first else output[-1]).sum().backward()
    reached = x.grad.abs().sum((1, 2)) > 0
    assert reached.tolist() == [False] * 14 + [True] * 6


def test_settings() -> None:
    setup = Setup(vanilla, 0.1, None)
    assert applied("clipping", setup, FACTS).clip == 0.7
    assert applied("learning_rate", setup, FACTS).learning_rate == pytest.approx(0.01)
    words = Facts(30, torch.zeros(4, 2, dtype=torch.int64), 0, True, 1.0)
    assert applied("input_scaling", setup, words) is None
    assert set(doctor.REMEDIES) == {r for rs in doctor.KINDS.values() for r in rs}


def test_remedies_find_layers_inside_others() -> None:
    model = lambda: Stack(RNN(3, 8), nn.Sequential(nn.Identity()), RNN(8, 8), nn.Linear(8, 1))  # noqa: E731
    setup = applied("gated_cell", Setup(model, 0.1, None), FACTS)
    kinds = [type(m) for m in setup.make().children()]
    assert kinds == [GRU, nn.Sequential, GRU, nn.Linear]
    twice = applied("layer_norm", setup, FACTS).make()
    assert twice(noise(5, 2, 3, torch.float32)).shape == (5, 2, 1)


def test_the_loss_is_that_of_the_weights_that_are_kept() -> None:
    """It is trained by the only loop, so the best epoch's weights remain, not the last's."""
    held_out = recall(8)
    sick = doctor.Findings([doctor.Finding("exploding", "rnn", "", "", ("clipping",))], lag=5)
    tried = doctor.retrain(vanilla, lambda: recall(8), findings=sick, held_out=held_out, steps=60, learning_rate=0.3)
    for trial in (tried.before, *tried.trials):
        error = nn.functional.mse_loss(trial.module(held_out[0]), held_out[1])
        assert trial.loss == pytest.approx(float(error.detach()), rel=1e-5)


def test_the_usual_norm_is_that_before_clipping() -> None:
    sick = doctor.Findings([doctor.Finding("exploding", "rnn", "", "", ("clipping",))], lag=5)
    tried = doctor.retrain(vanilla, lambda: recall(8), findings=sick, steps=20, clip=1e-4)
    assert 0.01 < tried.trials[0].setup.clip < 100


def test_chance_in_a_network_does_not_change_its_batches() -> None:
    seen: list[list[float]] = []

    class Noisy(nn.Module):
        def __init__(self, draws: int) -> None:
            super().__init__()
            self.reader, self.draws = vanilla(), draws

        def forward(self, x: Tensor) -> Tensor:
            torch.rand(self.draws)
            return self.reader(x)

    def data() -> tuple[Tensor, Tensor]:
        x, y = recall(6)
        seen[-1].append(float(x.sum()))
        return x, y

    sick = doctor.Findings([], lag=5)
    for draws in (1, 100):
        seen.append([])
        doctor.retrain(lambda draws=draws: Noisy(draws), data, findings=sick, steps=30)
    assert seen[0] == seen[1]
    assert len(seen[0]) == 4 + 30


def test_training_that_breaks_down_in_the_loop_is_infinite() -> None:
    x, y = recall(8)
    bad = x.clone()
    bad[3] = math.inf
    tried = doctor.retrain(vanilla, lambda: (bad, y), findings=doctor.Findings([]), held_out=(x, y), steps=3)
    assert tried.before.loss == math.inf
    assert "training broke down" in str(tried)
