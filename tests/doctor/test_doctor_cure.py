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
from recurra.doctor.treatments import BothWays, Case, Plan, Truncated, treat
from recurra.errors import DoctorError
from recurra.torch import GRU, LSTM, RNN, Recurrent, Stack


@pytest.fixture(scope="module")
def cured() -> doctor.Cures:
    torch.manual_seed(0)
    sick = doctor.examine(vanilla(), *recall(25), lag=24)
    assert {"vanishing", "forgetting too early"} <= sick.kinds
    return doctor.cure(vanilla, lambda: recall(25), findings=sick, steps=100, learning_rate=5e-3, clip=1.0)


def test_a_sick_network_is_cured(cured: doctor.Cures) -> None:
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


def test_results_are_shown(cured: doctor.Cures) -> None:
    data = json.loads(json.dumps(cured.to_dict(), allow_nan=False))
    assert data["best"] == list(cured.best.remedies)
    assert data["steps"] == 100
    text = str(cured)
    assert all(t.name.split(" + ")[0] in text for t in cured.trials)
    assert "after 100 steps the loss is" in text
    assert len(cured.rows()) == 1 + len(cured.trials)


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
    doctor.cure(make, data, findings=findings, steps=4)
    assert torch.equal(state, torch.random.get_rng_state())
    trained = [s for s in seen[1:] if s]
    assert len(trained) > 3
    assert all(s == trained[0] for s in trained)
    assert len(trained[0]) == 4


def test_a_pair_of_data_and_a_loop_of_ones_own() -> None:
    torch.manual_seed(0)
    x = torch.randn(10, 15, 1)
    cures = doctor.cure(vanilla, (x, x[0]), steps=3)
    assert cures.before.findings.layers[0].rows == 3
    plans: list[Plan] = []

    def train(module: nn.Module, plan: Plan) -> float:
        plans.append(plan)
        return 1.0 if plan.clip is None else 0.5

    sick = doctor.Findings([doctor.Finding("exploding", "rnn", "", "", ("clipping", "learning_rate"))], lag=5)
    cures = doctor.cure(vanilla, (x, x[0]), findings=sick, train=train, learning_rate=0.5)
    assert cures.best.remedies == ("clipping",)
    assert [p.learning_rate for p in plans] == [0.5, 0.5, 0.05]
    with pytest.raises(DoctorError, match=r"y \(14, 1\)"):
        doctor.cure(vanilla, (x, x[0, :14]))


def test_training_that_breaks_down_is_no_cure() -> None:
    sick = doctor.Findings([doctor.Finding("exploding", "rnn", "", "", ("clipping",))], lag=5)

    def broken(module: nn.Module, plan: Plan) -> float:
        return math.nan if plan.clip is not None else 2.0

    cures = doctor.cure(vanilla, lambda: recall(8), findings=sick, train=broken)
    assert cures.best is cures.before
    assert "no remedy is better" in cures.verdict
    assert cures.to_dict()["trials"][0]["loss"] is None


CASE = Case(30, noise(20, 4, 3, torch.float32), 0, True, 0.7)


def treated(name: str, layer: object, case: Case = CASE) -> nn.Module | None:
    plan = treat(name, Plan(lambda: Reader(layer(), 8), 0.1, None), case)
    return None if plan is None else plan.make()


def test_gated_cell() -> None:
    assert isinstance(treated("gated_cell", lambda: nn.RNN(3, 8)).rnn, GRU)
    assert treated("gated_cell", lambda: Recurrent("rnn_relu", 3, 8, dtype=torch.float32)).rnn.cell.name == "gru"
    assert treated("gated_cell", lambda: LSTM(3, 8)) is None
    assert treated("gated_cell", lambda: Recurrent("mgu", 3, 8)) is None
    root = treat("gated_cell", Plan(lambda: RNN(3, 8, num_layers=2), 0.1, None), CASE).make()
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
    model = treated("input_scaling", lambda: GRU(3, 8), Case(30, 5 * x + 3, 0, True, 1.0))
    torch.testing.assert_close(
        model(5 * x + 3), model.network((5 * x - 5 * x.mean((0, 1))) / (5 * x.std((0, 1), correction=0)))
    )
    model = treated("time_reversal", lambda: GRU(3, 8))
    torch.testing.assert_close(model(x), model.network(x.flip(0)))
    assert treated("time_reversal", lambda: GRU(3, 8), Case(30, x, 0, False, 1.0)) is None
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
    plan = Plan(vanilla, 0.1, None)
    assert treat("clipping", plan, CASE).clip == 0.7
    assert treat("learning_rate", plan, CASE).learning_rate == pytest.approx(0.01)
    words = Case(30, torch.zeros(4, 2, dtype=torch.int64), 0, True, 1.0)
    assert treat("input_scaling", plan, words) is None
    assert set(doctor.REMEDIES) == {r for rs in doctor.KINDS.values() for r in rs}


def test_remedies_find_layers_inside_others() -> None:
    model = lambda: Stack(RNN(3, 8), nn.Sequential(nn.Identity()), RNN(8, 8), nn.Linear(8, 1))  # noqa: E731
    plan = treat("gated_cell", Plan(model, 0.1, None), CASE)
    kinds = [type(m) for m in plan.make().children()]
    assert kinds == [GRU, nn.Sequential, GRU, nn.Linear]
    twice = treat("layer_norm", plan, CASE).make()
    assert twice(noise(5, 2, 3, torch.float32)).shape == (5, 2, 1)
