"""The unrolled network: every kind without overlaps, with the real shapes and names of the real thing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from helpers import ALL_CELLS, generator, random_weights
from recurra import cells, draw, runtime
from recurra.draw.structure import loops, read
from recurra.draw.unrolled import TASKS, network_scene, plan
from recurra.errors import DrawError, ModelFileError
from recurra.models.forecast import ForecastNetwork
from recurra.torch import GRU, LSTM, Branches, Recurrent, Stack, export

STACKED = Stack(LSTM(3, 16, num_layers=3), nn.Linear(16, 2))
BOTH = Stack(nn.Embedding(50, 6), GRU(6, 8, 2, bidirectional=True), nn.Dropout(0.1), nn.Linear(16, 4), nn.Softmax(-1))
MIXED = Stack(LSTM(3, 8), Recurrent("lstm_peephole", 8, 4, bidirectional=True), LSTM(8, 5), nn.LayerNorm(5))
NARROW = Stack(nn.Linear(3, 7), nn.Tanh(), Recurrent("lstm_projected", 7, 9, proj_size=4))
THINGS = {"stacked": STACKED, "both": BOTH, "mixed": MIXED, "narrow": NARROW, "bi": nn.LSTM(2, 4, bidirectional=True)}


def scene(thing, unrolled=4, task="many-to-many"):
    return network_scene(*plan(thing, unrolled, task), task)


def texts(of) -> list[str]:
    return [t.text for t in of.labels]


@pytest.mark.parametrize("own", ALL_CELLS, ids=lambda c: c.name)
def test_no_cell_overlaps(own) -> None:
    for task in TASKS:
        assert scene(own, 3, task).overlaps() == []


@pytest.mark.parametrize("unrolled", [1, 5, 12])
@pytest.mark.parametrize("task", ["many-to-many", "many-to-one"])
@pytest.mark.parametrize("name", THINGS)
def test_no_module_overlaps(name: str, task: str, unrolled: int) -> None:
    assert scene(THINGS[name], unrolled, task).overlaps() == []


@pytest.mark.parametrize("encoder", [LSTM(3, 16), GRU(3, 8, 2, bidirectional=True), Recurrent("gru", 3, (8, 5))])
@pytest.mark.parametrize("decoder", [STACKED, Stack(nn.Embedding(9, 6), GRU(6, 8, 2), nn.Linear(8, 9)), "indrnn"])
def test_no_encoder_and_decoder_overlap(encoder, decoder) -> None:
    drawn = scene((encoder, decoder), (3, 2), "encoder-decoder")
    assert drawn.overlaps() == []
    assert texts(drawn).count("context") == 2


@pytest.mark.parametrize(
    ("task", "inputs", "outputs"),
    [
        ("many-to-many", ["$x_{1}$", "$x_{2}$", "$x_{3}$"], ["$y_{1}$", "$y_{2}$", "$y_{3}$"]),
        ("many-to-one", ["$x_{1}$", "$x_{2}$", "$x_{3}$"], ["$y$"]),
        ("one-to-many", ["$x$"], ["$y_{1}$", "$y_{2}$", "$y_{3}$"]),
    ],
)
def test_what_comes_in_and_goes_out(task: str, inputs: list[str], outputs: list[str]) -> None:
    drawn = scene(Stack(LSTM(3, 16), nn.Linear(16, 2)), 3, task)
    equals = next(t.x for t in drawn.labels if t.text == "=")
    unrolled = [
        t.text for t in sorted(drawn.labels, key=lambda t: t.x) if t.x > equals and t.role in ("input", "output")
    ]
    assert [t for t in unrolled if "x" in t] == inputs
    assert [t for t in unrolled if "y" in t] == outputs
    assert sum(t == "linear" for t in texts(drawn)) == 1 + len(outputs)
    assert {"$h_{0}$", "$h_{3}$", "$c_{0}$", "$c_{3}$", "$h_{2}$"} <= set(texts(drawn))


def test_shapes_and_names_are_the_modules_own() -> None:
    written = texts(scene(STACKED))
    for layer, inputs in enumerate([3, 16, 16]):
        assert f"$W^{{{layer + 1}}}$ [64, {inputs}]" in written
        assert f"$U^{{{layer + 1}}}$ [64, 16]" in written
        assert f"$U^{{{layer + 1}}}$ 0.weight_hh_l{layer}" in written
    assert {"$V$ [2, 16]", "$b$ [2]", "$V$ 1.weight", "[3]", "[2]"} <= set(written)
    assert written.count("$U^{2}$") == 3  # the same weights, at each of the three arrows between four steps
    assert written.count("$W^{2}$") == 4


def test_two_directions_have_weights_of_their_own() -> None:
    drawn = scene(BOTH)
    written = texts(drawn)
    for mark in (r"\rightarrow", r"\leftarrow"):
        assert f"$W^{{1{mark}}}$ [24, 6]" in written
        assert f"$W^{{2{mark}}}$ [24, 16]" in written
        assert written.count(f"$U^{{2{mark}}}$") == 3
    arrows = [a for a in drawn.arrows if a.role == "state0" and a.points[0][1] == a.points[-1][1]]
    assert any(a.points[0][0] > a.points[-1][0] for a in arrows)
    assert {"$h^{\\leftarrow}_{5}$", "$h^{\\rightarrow}_{0}$"} <= set(written)


def test_letters_where_there_are_no_sizes() -> None:
    assert {"$W$ [4H, I]", "$U$ [4H, P]", "$R$ [P, H]", "[P]"} <= set(texts(scene("lstm_projected")))
    assert "$u$ [H]" in texts(scene("indrnn"))


def test_loops_say_what_is_fed_back() -> None:
    named = {own.name: loops(own) for own in ALL_CELLS}
    assert named["lstm"] == [["U"], []]
    assert named["lstm_peephole"] == [["U"], ["p"]]
    assert named["gru_reset_before"] == [["U"]]
    assert named["minlstm"] == [[]]
    assert named["indrnn"] == [["u"]]
    assert named["entangled"] == [["U"], ["U", "a"]]


def test_a_model_and_its_file_and_its_module_are_one_picture(tmp_path) -> None:
    rng = generator("model")
    weights = random_weights(cells.gru, 3, 8, rng=rng, dtype=np.float32)
    V = rng.normal(size=(2, 8)).astype(np.float32)
    model = runtime.Model([runtime.Recurrent(cells.gru, [weights]), runtime.Linear(V), runtime.Activation("tanh")])
    runtime.save_model(model, tmp_path / "model.recurra")
    pictures = [draw.network(thing) for thing in (model, tmp_path / "model.recurra", str(tmp_path / "model.recurra"))]
    assert len({p.text() for p in pictures}) == 1
    assert {"$W$ [24, 3]", "$V$ [2, 8]", "tanh"} <= set(texts(pictures[0].scene))
    module = read(nn.Sequential(nn.GRU(3, 8), nn.Linear(8, 2, bias=False), nn.Tanh()))
    assert [(x.name, x.width) for x in module.layers[:2]] == [(x.name, x.width) for x in read(model).layers[:2]]


def test_torchs_own_layers_are_read() -> None:
    for layer, name in [
        (nn.RNN(2, 3), "rnn"),
        (nn.RNN(2, 3, nonlinearity="relu"), "rnn_relu"),
        (nn.LSTM(2, 3, proj_size=2), "lstm_projected"),
        (nn.GRUCell(2, 3), "gru"),
        (nn.LSTMCell(2, 3, bias=False), "lstm"),
        (nn.RNNCell(2, 3, nonlinearity="relu"), "rnn_relu"),
    ]:
        network = read(layer)
        assert [x.name for x in network.layers] == [name]
        assert network.layers[0].weights["W"] == tuple(next(iter(layer.parameters())).shape)
        assert ("b" in network.layers[0].weights) == bool(layer.bias)


def test_a_module_with_a_forward_of_its_own() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.GRU(3, 5, 2, batch_first=True)
            self.head = nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.encode(x)[0])

    assert [x.name for x in read(Net()).layers] == ["gru", "gru", "layer norm", "linear"]
    assert "$V$ head.1.weight" in texts(scene(Net()))


def test_a_forecaster_sets_numbers_aside_for_its_head() -> None:
    module = ForecastNetwork("gru", 3, 8, horizon=5, known=2, seasons=1, layers=2)
    for drawn in (scene(module, task="many-to-one"), scene(runtime.Model(module.model_layers()), task="many-to-one")):
        assert drawn.overlaps() == []
        assert {"forecast", "[3]", "[15] beside", "[8]", "$W^{1}$ [24, 3]"} <= set(texts(drawn))


def test_text() -> None:
    text = draw.network(STACKED, unrolled=3, task="many-to-one").text()
    assert text.count("[lstm]") == 9
    assert text.count("[linear]") == 1
    assert "W [64, 3]  U [64, 16]" in text
    both = draw.network(BOTH, unrolled=2).text()
    assert both.count("[gru]  ") == 8 - both.count("[gru]\n")
    assert " ← " in both
    assert " → " in both
    lines = draw.network("gru", unrolled=3).text().splitlines()
    column = lines[2].index("y₂")
    assert lines[3][column] == lines[5][column] == "↑"
    assert lines[6][column : column + 2] == "x₂"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gruu",), "did you mean 'gru'"),
        (("zzz",), "the cells are rnn"),
        ((3,), "int cannot be drawn, expected a cell"),
        ((nn.Linear(2, 2),), "has the layers linear, expected a recurrent one"),
        ((nn.Sequential(nn.LSTM(2, 3), nn.Linear(4, 1)),), "1 takes 4 features, but 3 come"),
        (("gru", 0), "unrolled is 0, expected a whole number of at least 1"),
        (("gru", -3), "unrolled is -3"),
        (("gru", 2.5), "unrolled is 2.5"),
        (("gru", True), "unrolled is True"),
        (("gru", 100_000), "at most 200"),
        (("gru", (2, 3)), "unrolled is"),
        (("gru", 5, "many-to-may"), "did you mean 'many-to-many'"),
        (("gru", 1, "encoder-decoder"), "at least 2, or a pair"),
        ((nn.GRU(2, 3, bidirectional=True), 3, "one-to-many"), "use one direction, or many-to-many"),
        ((nn.GRU(2, 3, bidirectional=True), 4, "encoder-decoder"), "GRU is bidirectional"),
        (((STACKED, "gru"), 4, "encoder-decoder"), "the encoder ends with linear"),
        ((("gru", "gru"), 4), "2 networks are given for many-to-many"),
        (("gru", 3, "many-to-one", "drak"), "did you mean 'dark'"),
    ],
)
def test_bad_input(arguments: tuple, message: str) -> None:
    with pytest.raises(DrawError, match=message):
        draw.network(*arguments)


def test_a_file_that_is_no_model(tmp_path) -> None:
    (tmp_path / "notes.recurra").write_text("no model")
    with pytest.raises(ModelFileError):
        draw.network(tmp_path / "notes.recurra")
    with pytest.raises(OSError, match=r"missing\.recurra"):
        draw.network(tmp_path / "missing.recurra")


GATED = Branches([[GRU(8, 8), nn.Tanh()], [nn.Linear(8, 8), nn.Sigmoid()]], "multiply")
DEEP = Branches([[], [GRU(8, 8), Branches([[], [nn.Linear(8, 8), nn.Tanh()]])], [], [LSTM(8, 8)]], "join")
BESIDE = {
    "residual": Stack(Branches([[], [LSTM(3, 3)]]), nn.Linear(3, 1)),
    "gated": Stack(nn.Linear(3, 8), GATED, LSTM(8, 4)),
    "deep": Stack(nn.Linear(3, 8), DEEP, nn.Linear(32, 1)),
    "twice": Stack(Branches([[], []]), GRU(3, 4)),
}


@pytest.mark.parametrize("task", ["many-to-many", "many-to-one", "one-to-many"])
@pytest.mark.parametrize("name", BESIDE)
def test_branches_go_past_each_other(name: str, task: str) -> None:
    assert scene(BESIDE[name], 3, task).overlaps() == []


def test_each_branch_leads_from_where_it_begins_to_where_it_ends(tmp_path) -> None:
    export(BESIDE["deep"], tmp_path / "m.recurra")
    for network in (read(BESIDE["deep"]), read(str(tmp_path / "m.recurra"))):
        names = [layer.name for layer in network.layers]
        assert names == ["linear", "gru", "linear", "tanh", "+", "lstm", "join", "linear"]
        taken = [tuple(names[i - d] for d in layer.takes) for i, layer in enumerate(network.layers) if i]
        assert taken == [
            *[("linear",), ("gru",), ("linear",), ("gru", "tanh"), ("linear",)],
            *[("linear", "+", "linear", "lstm"), ("join",)],
        ]
        assert [layer.width for layer in network.layers if layer.width] == [8, 8, 8, 8, 8, 32, 1]
    drawn = scene(BESIDE["deep"], 1)
    sides = {(b.bounds.left, b.y): b for b in drawn.boxes if b.role == "map"}
    arrives = [
        next(t.text for t in drawn.labels if (t.x, t.y) == (b.x, b.y))
        for a in drawn.arrows
        for (left, y), b in sides.items()
        if a.points[-1][0] == left and abs(a.points[-1][1] - y) < b.height / 2
    ]
    assert sorted(arrives) == ["+"] * 2 + ["join"] * 6  # in the folded network and in its only step
    assert "takes linear, +, linear, lstm" in draw.network(BESIDE["deep"], 2).text()


def test_two_directions_beside_other_layers_are_refused() -> None:
    with pytest.raises(DrawError, match="gru reads in both directions beside other layers"):
        read(Stack(Branches([[nn.Linear(3, 8)], [GRU(3, 4, bidirectional=True)]])))
