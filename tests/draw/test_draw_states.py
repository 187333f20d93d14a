"""A network at work: what is drawn is what the network computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from helpers import generator, random_weights
from recurra import cells, draw, reference, runtime
from recurra.draw.activity import observe
from recurra.draw.panels import panels_of
from recurra.errors import DrawError
from recurra.models.forecast import ForecastNetwork
from recurra.torch import LSTM, Branches, Recurrent, Stack, export

T = 17


def sequence(*shape: int) -> torch.Tensor:
    return torch.from_numpy(generator("states", shape).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("name", ["gru", "lstm_peephole", "lstm_projected"])
def test_a_cell_with_weights(name: str) -> None:
    own = cells.get(name)
    weights = random_weights(own, 3, 5, 4, rng=generator("drawn", name))
    x = generator("drawn x").normal(size=(T, 3))
    seen = observe((own, weights), x, None, 0)
    run = reference.forward(own, weights, x[:, None], None)
    for state, values in zip(own.states, run.states, strict=True):
        np.testing.assert_allclose(seen.states[state], values[:, 0], rtol=1e-9, atol=1e-12)
    assert list(seen.gates) == list(own.gates)
    for gate in own.gates:
        np.testing.assert_allclose(seen.gates[gate], run.gates[gate][:, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(seen.input, x)


def test_every_layer_of_a_module() -> None:
    module = Stack(nn.Linear(2, 3), Recurrent("lstm", 3, (7, 5), bidirectional=True, return_all=True), nn.Linear(10, 1))
    x = sequence(T, 4, 2)
    _, _, steps = module.get_submodule("1")(module.get_submodule("0")(x))
    for layer in (0, 1):
        seen = observe(module, x, layer, 2)
        for d, suffix in enumerate(("", " backwards")):
            own = steps[2 * layer + d]
            for named, drawn in ((own.states, seen.states), (own.gates, seen.gates)):
                for name, values in named.items():
                    np.testing.assert_allclose(drawn[name + suffix], values[:, 2].detach(), atol=2e-6)
    np.testing.assert_allclose(observe(module, x, None, 2).output, module(x)[:, 2].detach(), atol=1e-6)


def test_a_module_with_a_forward_and_states_of_its_own() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 5, batch_first=True)
            self.head = nn.Linear(5, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            start = torch.full((1, len(x), 5), 0.5)
            return self.head(self.rnn(2 * x, start)[0][:, -1])

    net, x = Net(), sequence(3, T, 3)
    net.train()
    seen = observe(net, x, None, 1)
    assert net.training
    h = net.rnn(2 * x, torch.full((1, 3, 5), 0.5))[0]
    np.testing.assert_allclose(seen.states["h"], h[1].detach(), atol=1e-6)
    np.testing.assert_array_equal(seen.input, x[1])
    assert seen.output.shape == (1, 2)
    figure = draw.states(net, x, row=1).figure()
    assert len(figure.axes) >= 2 + 1 + 3


def test_a_model_is_as_its_module(tmp_path) -> None:
    module = Stack(nn.Embedding(11, 4), LSTM(4, 6), nn.Linear(6, 2))
    export(module, tmp_path / "model.recurra")
    ids = torch.from_numpy(generator("ids").integers(0, 11, (T, 3)))
    ours, theirs = (observe(thing, ids, None, 1) for thing in (runtime.load(tmp_path / "model.recurra"), module))
    for a, b in ((ours.states, theirs.states), (ours.gates, theirs.gates)):
        assert list(a) == list(b)
        for name in a:
            np.testing.assert_allclose(a[name], b[name], atol=1e-6)
    np.testing.assert_allclose(ours.output, theirs.output, atol=1e-6)
    np.testing.assert_array_equal(ours.input, theirs.input)


def test_a_forecaster() -> None:
    module = ForecastNetwork("lstm", 3, 4, horizon=5, known=2, seasons=1, layers=2)
    model = runtime.Model(module.model_layers())
    x = sequence(T, 2, model.input_size)
    for layer in (0, 1):
        ours, theirs = (observe(thing, x, layer, 1) for thing in (model, module))
        np.testing.assert_allclose(ours.states["c"], theirs.states["c"], atol=1e-6)
        np.testing.assert_allclose(ours.output, theirs.output, atol=1e-5)


def test_layers_without_weights_before_a_recurrent_one() -> None:
    weights = random_weights(cells.gru, 2, 3, rng=generator("late"), dtype=np.float32)
    model = runtime.Model([runtime.Activation("tanh"), runtime.Recurrent(cells.gru, [weights])])
    x = sequence(T, 2).numpy()
    expected = reference.forward(cells.gru, weights, np.tanh(x)[:, None], None).output[:, 0]
    np.testing.assert_allclose(observe(model, x, None, 0).states["h"], expected, atol=1e-6)


def test_panels() -> None:
    module = Stack(LSTM(1, 6), nn.Linear(6, 1))
    picture = draw.states(module, sequence(T, 1, 1), theme="dark")
    panels = panels_of(observe(module, sequence(T, 1, 1), None, 0))
    assert [p.name for p in panels] == ["input", "output", "h", "c", "i", "f", "g", "o"]
    assert {p.name: p.limits for p in panels if p.name in "ifo"} == dict.fromkeys("ifo", (0.0, 1.0))
    low, high = next(p.limits for p in panels if p.name == "g")
    assert low == -high < 0
    assert picture.scene is None
    assert picture.svg() == draw.states(module, sequence(T, 1, 1), theme="dark").svg()
    assert "gate f [17, 6]" in picture.text()
    images = [
        axes.images[0] for axes in picture.figure().axes if axes.images and axes.images[0].get_array().shape[1] == T
    ]
    np.testing.assert_allclose(images[0].get_array(), panels[2].values.T, atol=1e-6)


@pytest.mark.parametrize(
    ("thing", "x", "options", "message"),
    [
        ("gru", sequence(T, 1), {}, "'gru' has no weights"),
        (Stack(LSTM(2, 3)), sequence(T, 1, 2), {"layer": 1}, "layer is 1, but there are 1 recurrent layers"),
        (Stack(LSTM(2, 3)), sequence(T, 4, 2), {"row": 4}, "row is 4, but x has 4 rows"),
        (Stack(LSTM(2, 3)), sequence(T, 4, 3), {}, "does not take x of shape"),
        (nn.Linear(2, 3), sequence(T, 2), {}, "no recurrent layer of Linear ran"),
    ],
)
def test_bad_input(thing, x, options, message) -> None:
    with pytest.raises(DrawError, match=message):
        draw.states(thing, x, **options)


def test_bad_sequences() -> None:
    weights = random_weights(cells.gru, 2, 3, rng=generator("bad"))
    for x, message in ((np.zeros((0, 2)), "at least one step"), (np.zeros((2, 2, 2, 2)), r"shape \(2, 2, 2, 2\)")):
        with pytest.raises(DrawError, match=message):
            draw.states((cells.gru, weights), x)


def test_layers_in_branches(tmp_path) -> None:
    module = Stack(nn.Linear(2, 5), Branches([[LSTM(5, 5)], [nn.Tanh(), Recurrent("gru", 5, 5)]], "subtract"))
    x = sequence(T, 3, 2)
    model = export(module, tmp_path / "m.recurra")
    front = module.get_submodule("0")(x)
    first, second = (chain(front) for chain in module.get_submodule("1").branches)
    for layer, wanted in enumerate((first, second)):
        for thing in (module, model):
            np.testing.assert_allclose(observe(thing, x, layer, 1).states["h"], wanted[:, 1].detach(), atol=2e-6)
