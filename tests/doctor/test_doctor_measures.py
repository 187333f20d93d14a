"""What is measured, against torch's own automatic differentiation and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import noise, seeded
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from recurra import doctor
from recurra.doctor.activity import is_gated, keeper_gates, keeping
from recurra.doctor.jacobian import jacobian
from recurra.doctor.walk import finished
from recurra.torch import GRU, LSTM, Recurrent, Stack
from recurra.torch.observe import Observer, longest
from user_cells import CELLS

CELL = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}


def stepped(layer: nn.RNNBase, x: Tensor, suffix: str = "_l0") -> tuple[list[tuple[Tensor, ...]], Tensor]:
    """The states after each step, whose gradients are kept, and the outputs: a loop over torch's own cell."""
    make = next(c for kind, c in CELL.items() if isinstance(layer, kind))
    cell = make(x.shape[-1], layer.hidden_size, dtype=x.dtype)
    own = {n: getattr(layer, n + suffix) for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    cell.load_state_dict({n: p.detach() for n, p in own.items()})
    state = tuple(x.new_zeros(x.shape[1], layer.hidden_size) for _ in range(2 if make is nn.LSTMCell else 1))
    states = []
    for step in x:
        new = cell(step, state if len(state) > 1 else state[0])
        # Copies: h of a step is computed from its c, and here each state stands for itself.
        state = tuple(s.clone() for s in (new if isinstance(new, tuple) else (new,)))
        for s in state:
            s.retain_grad()
        states.append(state)
    return states, torch.stack([s[0] for s in states])


def norms_of(states: list[tuple[Tensor, ...]]) -> np.ndarray:
    """Of the gradients of each step's states together."""
    zero = torch.zeros_like
    return np.array(
        [float(torch.stack([(s.grad if s.grad is not None else zero(s)).norm() for s in g]).norm()) for g in states]
    )


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_gradient_against_torch(kind: type) -> None:
    torch.manual_seed(3)
    layer, x = kind(3, 7).double(), noise(23, 5)
    weight = torch.randn(23, 5, 7, generator=seeded("w"), dtype=torch.float64)
    (seen,) = doctor.examine(layer, x, loss=lambda out, _: (out[0] * weight).sum()).layers
    states, output = stepped(layer, x)
    (output * weight).sum().backward()
    np.testing.assert_allclose(seen.flow.by_step, norms_of(states), rtol=1e-10)
    states, output = stepped(layer, x)
    (output[-1] * weight[-1]).sum().backward()
    np.testing.assert_allclose(seen.flow.norms, norms_of(states)[::-1], rtol=1e-10)
    assert seen.flow.lags == [*range(23)]


def test_two_layers_against_torch() -> None:
    """The lower layer's gradient comes through the upper one."""
    torch.manual_seed(3)
    layer, x = nn.LSTM(3, 7, num_layers=2).double(), noise(19, 5)
    weight = torch.randn(19, 5, 7, generator=seeded("w"), dtype=torch.float64)
    lower, upper = doctor.examine(layer, x, loss=lambda out, _: (out[0] * weight).sum() + out[1][1].sum()).layers
    first, between = stepped(layer, x)
    second, output = stepped(layer, between, "_l1")
    ((output * weight).sum() + first[-1][1].sum() + second[-1][1].sum()).backward()
    np.testing.assert_allclose(lower.flow.by_step, norms_of(first), rtol=1e-10)
    np.testing.assert_allclose(upper.flow.by_step, norms_of(second), rtol=1e-10)
    assert (lower.name, upper.name) == ("LSTM layer 0", "LSTM layer 1")


def test_bidirectional_and_batch_first_against_torch() -> None:
    torch.manual_seed(3)
    layer, x = nn.GRU(3, 7, bidirectional=True, batch_first=True).double(), noise(17, 5)
    weight = torch.randn(5, 17, 14, generator=seeded("w"), dtype=torch.float64)
    ahead, back = doctor.examine(layer, x.transpose(0, 1), loss=lambda out, _: (out[0] * weight).sum()).layers
    states, output = stepped(layer, x)
    (output * weight[..., :7].transpose(0, 1)).sum().backward()
    np.testing.assert_allclose(ahead.flow.by_step, norms_of(states), rtol=1e-10)
    states, output = stepped(layer, x.flip(0), "_l0_reverse")
    (output * weight[..., 7:].transpose(0, 1).flip(0)).sum().backward()
    np.testing.assert_allclose(back.flow.by_step, norms_of(states), rtol=1e-10)
    assert back.reverse
    assert back.name.endswith("backward")


def test_packed_and_ragged_look_at_the_longest_rows() -> None:
    torch.manual_seed(3)
    layer, x, lengths = nn.GRU(3, 7).double(), noise(17, 5), torch.tensor([4, 17, 9, 17, 1])
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    (one,) = doctor.examine(layer, packed, loss=lambda out, _: out[0].data.square().sum()).layers
    ours = GRU(3, 7).double()
    ours.load_state_dict(layer.state_dict())
    (whole,) = doctor.examine(ours, x[:, [1, 3]], loss=lambda out, _: out[0].square().sum()).layers
    assert (one.rows, one.steps) == (2, 17)
    np.testing.assert_allclose(one.flow.by_step, whole.flow.by_step, rtol=1e-10)
    ragged = Recurrent("gru", 3, 7, dtype=torch.float64)
    ragged.load_state_dict(layer.state_dict())

    class Ragged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = ragged

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            return self.inner(x, lengths=lengths)[0]

    findings = doctor.examine(Ragged(), (x, lengths), loss=lambda out, _: out.square().sum())
    np.testing.assert_allclose(findings.layers[0].flow.by_step, whole.flow.by_step, rtol=1e-10)
    assert findings.network.memory is None


def test_resets_cut() -> None:
    torch.manual_seed(3)
    layer, x = Recurrent("lstm", 3, 7, initial_state="learned", dtype=torch.float64), noise(20, 3)
    with torch.no_grad():
        layer.initial_h_l0.normal_()
        layer.initial_c_l0.normal_()
    reset = torch.zeros(20, 3, dtype=torch.bool)
    reset[6, 0] = reset[13, 1] = reset[2, 2] = True

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x, reset=reset)[0]

    (seen,) = doctor.examine(Cut(), x, loss=lambda out, _: out.square().sum()).layers
    (whole,) = doctor.examine(layer, x[2:, 2:], loss=lambda out, _: out[0].square().sum()).layers
    assert (seen.steps, seen.rows) == (18, 1)
    np.testing.assert_allclose(seen.flow.by_step, whole.flow.by_step, rtol=1e-10)


@pytest.mark.parametrize(
    "cell", ["lstm_peephole", "lstm_projected", "gru_reset_before", "indrnn", "minlstm", *CELLS], ids=str
)
def test_any_cell_against_finite_differences(cell: object) -> None:
    """The Jacobian of a step, by moving each state."""
    torch.manual_seed(3)
    layer = Recurrent(cell, 3, 5, proj_size=4 if cell == "lstm_projected" else 0, dtype=torch.float64)
    with Observer(layer) as seen:
        layer(noise(9, 2))
    (call,) = seen.calls
    (trace,) = call.traces(longest(call, 2))
    run = finished(trace)
    J = jacobian(run, 4, 1)
    before = np.concatenate([s[1] for s in run.states[4]])

    def after(state: np.ndarray) -> np.ndarray:
        parts = np.split(state, np.cumsum([s.shape[1] for s in trace.begin])[:-1])
        h = tuple(torch.from_numpy(p)[None, None] for p in parts)
        with torch.no_grad():
            _, last = layer(noise(9, 2)[4:5, 1:], h if len(h) > 1 else h[0])
        return np.concatenate([s.numpy().ravel() for s in (last if isinstance(last, tuple) else (last,))])

    numeric = np.stack([(after(before + e) - after(before - e)) / 2e-6 for e in 1e-6 * np.eye(len(before))], axis=1)
    np.testing.assert_allclose(J, numeric, atol=2e-8)


def test_memory_against_a_plain_loop() -> None:
    torch.manual_seed(5)
    model = Stack(LSTM(3, 6), nn.Linear(6, 2)).double()
    x = noise(30, 4)
    memory = doctor.examine(model, x).network.memory
    move = x.std((0, 1), correction=0) * torch.tensor([1.0, -1.0, 1.0])
    for lag, change in zip(memory.lags, memory.changes, strict=True):
        other = x.clone()
        other[29 - lag] += move
        assert change == pytest.approx(float((model(other)[-1] - model(x)[-1]).norm().detach()), rel=1e-6, abs=1e-12)
    faint = [k for k, c in zip(memory.lags, memory.changes, strict=True) if c > 1e-3 * max(memory.changes)]
    assert memory.horizon == max(faint)


def test_memory_of_a_layer_against_a_plain_loop() -> None:
    torch.manual_seed(5)
    layer = LSTM(3, 6)
    model = Stack(layer, nn.Linear(6, 2)).double()
    x = noise(30, 4)
    memory = doctor.examine(model, x).layers[0].memory
    move = x.std((0, 1), correction=0) * torch.tensor([1.0, -1.0, 1.0])
    for lag, change in zip(memory.lags, memory.changes, strict=True):
        other = x.clone()
        other[29 - lag] += move
        assert change == pytest.approx(
            float((layer(other)[0][-1] - layer(x)[0][-1]).norm().detach()), rel=1e-6, abs=1e-12
        )


def test_words_are_moved_to_other_words() -> None:
    torch.manual_seed(5)
    model = Stack(nn.Embedding(11, 4), GRU(4, 6), nn.Linear(6, 11))
    x = torch.randint(0, 11, (30, 4), generator=seeded("words"))
    findings = doctor.examine(model, x, x.roll(-1, 0))
    assert findings.network.memory.changes[0] > 0
    assert findings.network.inputs == []
    loss = nn.functional.cross_entropy(model(x).flatten(0, 1), x.roll(-1, 0).flatten())
    assert findings.network.loss == pytest.approx(float(loss.detach()), rel=1e-5)


def test_norm_of_the_gradient_before_and_after_clipping() -> None:
    torch.manual_seed(5)
    model = Stack(LSTM(3, 6, num_layers=2), nn.Linear(6, 2))
    x = noise(15, 4, dtype=torch.float32)
    findings = doctor.examine(model, x, torch.ones(15, 4, 2), clip=0.01)
    nn.functional.mse_loss(model(x), torch.ones(15, 4, 2)).backward()
    total = float(torch.stack([p.grad.norm() for p in model.parameters()]).norm())
    assert findings.network.gradient == pytest.approx(total, rel=1e-5)
    assert findings.network.clipped == 0.01
    for layer, suffix in zip(findings.layers, ("_l0", "_l1"), strict=True):
        own = [p.grad.norm() for n, p in model.named_parameters() if n.endswith(suffix)]
        assert layer.weight_gradient == pytest.approx(float(torch.stack(own).norm()), rel=1e-5)


def test_what_keeps_a_state() -> None:
    from recurra.cells import get

    assert keeper_gates(get("lstm")) == {"f": 1.0}
    assert keeper_gates(get("gru")) == {"z": 1.0}
    assert keeper_gates(get("mgu")) == {"f": -1.0}
    assert keeper_gates(get("lstm_coupled")) == {"i": -1.0}
    assert keeper_gates(get("minlstm")) == {"f": 1.0, "i": -1.0}
    assert keeper_gates(get("ugrnn")) == {"g": 1.0}
    assert not is_gated(get("rnn"))
    assert not is_gated(get("indrnn"))
    assert keeping(get("rnn_relu")) == {}


def test_growth_and_size_of_states_against_torch() -> None:
    torch.manual_seed(5)
    layer, x = nn.LSTM(3, 6).double(), noise(12, 4)
    (seen,) = doctor.examine(layer, x).layers
    states, _ = stepped(layer, x)
    expected = [np.sqrt(np.mean([float(s.detach().square().mean()) for s in group])) for group in states]
    np.testing.assert_allclose(seen.activity.norms, expected, rtol=1e-12)
    assert seen.activity.largest == pytest.approx(max(float(s.detach().abs().max()) for g in states for s in g))
    assert seen.activity.kept["c"] == pytest.approx(_forget(layer, x, states))


def _forget(layer: nn.LSTM, x: Tensor, states: list[tuple[Tensor, ...]]) -> float:
    before = torch.stack([torch.zeros_like(states[0][0]), *(s[0] for s in states[:-1])])
    rows = slice(6, 12)
    sums = x @ layer.weight_ih_l0[rows].T + before @ layer.weight_hh_l0[rows].T
    return float(torch.sigmoid(sums + layer.bias_ih_l0[rows] + layer.bias_hh_l0[rows]).mean().detach())


def test_nothing_of_the_module_changes() -> None:
    torch.manual_seed(5)
    model = Stack(Recurrent("gru", 3, 6, stateful=True), nn.Dropout(0.5), nn.Linear(6, 1)).train()
    x = noise(10, 4, dtype=torch.float32)
    model(x)
    carried = next(iter(model.children()))._carried
    before, state = {n: p.clone() for n, p in model.state_dict().items()}, torch.random.get_rng_state()
    first = doctor.examine(model, x).to_dict()
    assert torch.equal(state, torch.random.get_rng_state())
    assert doctor.examine(model, x).to_dict() == first
    assert next(iter(model.children()))._carried is carried
    assert model.training
    assert all(torch.equal(before[n], p) for n, p in model.state_dict().items())
