"""Every kind of picture can be read where it is shown 400 pixels wide: its smallest letters are 8 pixels there."""

from __future__ import annotations

import re
from itertools import islice

import numpy as np
import pytest
from golden_pictures import NAMES, inside_of, pictures
from matplotlib.text import Text
from torch import nn

from helpers import ALL_CELLS, generator
from recurra import Weights, cells, draw
from recurra.draw.columns import Columns
from recurra.draw.scene import LEGIBLE
from recurra.draw.unrolled import TASKS, _arrangements, network_scene, plan
from recurra.torch import GRU, LSTM, Recurrent, Stack

ONE_WAY = {
    "layers": Stack(LSTM(3, 16, num_layers=3), nn.Linear(16, 2)),
    "large": LSTM(1024, 2048, 2),
    "embedded": Stack(nn.Embedding(9, 6), GRU(6, 8, 2), nn.Linear(8, 9), nn.Softmax(-1)),
    "projected": Stack(nn.Linear(3, 7), nn.Tanh(), Recurrent("lstm_projected", 7, 9, proj_size=4)),
}
BOTH_WAYS = {
    "both": nn.LSTM(2, 4, bidirectional=True),
    "both layers": LSTM(2, 64, num_layers=3, bidirectional=True),
    "mixed": Stack(LSTM(3, 8), Recurrent("lstm_peephole", 8, 4, bidirectional=True), LSTM(8, 5), nn.LayerNorm(5)),
}
ENCODERS = {"small": LSTM(3, 16), "layers": LSTM(3, 16, 3), "both layers": BOTH_WAYS["both layers"]}
STEPS = [(2, 3), (7, 6), (100, 100)]
# Every encoder with every decoder, and each of both with all steps that it has room for.
PAIRS = [(e, d, STEPS[(i + j) % 3]) for i, e in enumerate(ENCODERS) for j, d in enumerate(ONE_WAY)]


def letters(picture: draw.Picture) -> float:
    """In pixels, of the picture itself: the smallest text in the figure, and the figure's width."""
    figure = picture.figure()
    texts = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    return min(t.get_fontsize() for t in texts) * 400 / (72 * figure.get_figwidth())


@pytest.mark.parametrize("name", ["rnn", "inside_minlstm", "at_work"])
def test_a_file_is_as_wide_as_its_figure(name: str) -> None:
    picture = pictures()[name]
    width = re.search(r'viewBox="0 0 ([\d.]+) ', picture.svg())
    assert width is not None
    assert float(width[1]) == pytest.approx(72 * picture.figure().get_figwidth(), rel=1e-4)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "wide"])
def test_pictures_are_legible(name: str) -> None:
    picture = pictures()[name]
    assert letters(picture) >= LEGIBLE
    if picture.scene is not None:
        assert letters(picture) == pytest.approx(picture.scene.letters(), rel=1e-3)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("own", ALL_CELLS, ids=lambda c: c.name)
def test_cells_are_legible(own, task: str) -> None:
    assert network_scene(*plan(own, 5, task), task).letters() >= LEGIBLE


@pytest.mark.parametrize("steps", [1, 5, 200])
@pytest.mark.parametrize(
    ("name", "task"), [(n, t) for n in ONE_WAY | BOTH_WAYS for t in TASKS[: 3 if n in ONE_WAY else 2]]
)
def test_modules_are_legible(name: str, task: str, steps: int) -> None:
    assert network_scene(*plan((ONE_WAY | BOTH_WAYS)[name], steps, task), task).letters() >= LEGIBLE


@pytest.mark.parametrize(("encoder", "decoder", "steps"), PAIRS)
def test_an_encoder_with_its_decoder_is_legible(encoder: str, decoder: str, steps: tuple[int, int]) -> None:
    scene = network_scene(*plan((ENCODERS[encoder], ONE_WAY[decoder]), steps, "encoder-decoder"), "encoder-decoder")
    assert scene.letters() >= LEGIBLE
    assert scene.overlaps() == []


@pytest.mark.parametrize("own", ALL_CELLS, ids=lambda c: c.name)
def test_insides_are_legible(own) -> None:
    assert inside_of(own).letters() >= LEGIBLE


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_states_are_legible(scale: float) -> None:
    weights = Weights.random(cells.lstm, 3, 100, rng=generator("legible"))
    picture = draw.states((cells.lstm, weights), scale * np.random.default_rng(0).normal(size=(300, 3)))
    assert letters(picture) >= LEGIBLE


def test_the_law_can_be_broken() -> None:
    for wide in (draw.network(BOTH_WAYS["mixed"], 6, wide=True), draw.cell(ALL_CELLS[-2], wide=True)):
        assert letters(wide) < LEGIBLE


def test_what_does_not_fit_is_left_out() -> None:
    written = [t.text for t in network_scene(*plan("gru", 40, "many-to-many"), "many-to-many").labels]
    assert {"$x_{1}$", "$x_{2}$", "$x_{40}$", "$h_{40}$", "···"} <= set(written)
    assert "$x_{20}$" not in written
    assert "unrolled over 40 steps" in written
    whole = [t.text for t in network_scene(*plan("gru", 40, "many-to-many"), "many-to-many", wide=True).labels]
    assert "$x_{20}$" in whole
    assert "···" not in whole


@pytest.mark.parametrize("task", ["many-to-many", "many-to-one"])
@pytest.mark.parametrize("name", BOTH_WAYS)
def test_no_arrangement_overlaps(name: str, task: str) -> None:
    rows = [Columns(n) for n in plan(BOTH_WAYS[name], 6, task)[0]]
    for scene in _arrangements(rows, [6], task):
        assert scene.overlaps() == []


def test_no_arrangement_of_an_encoder_with_its_decoder_overlaps() -> None:
    networks, steps = plan((BOTH_WAYS["both layers"], ONE_WAY["layers"]), (4, 5), "encoder-decoder")
    rows = [Columns(n, prime=k == 1) for k, n in enumerate(networks)]
    found = list(islice(_arrangements(rows, steps, "encoder-decoder"), 12))
    assert len({round(s.bounds().width) for s in found}) > 3
    for scene in found:
        assert scene.overlaps() == []


def test_an_encoder_stands_above_its_decoder() -> None:
    """In two lines, with one wire from the bar behind the encoder to that before the decoder."""
    scene = network_scene(*plan((ENCODERS["layers"], ONE_WAY["layers"]), (5, 5), "encoder-decoder"), "encoder-decoder")
    encoder, decoder = sorted((b for b in scene.boxes if b.role == "join"), key=lambda b: b.y)
    wires = [a for a in scene.arrows if len(a.points) == 4 and a.points[0] == (encoder.x, encoder.bounds.bottom)]
    assert [a.points[-1] for a in wires] == [(decoder.x, decoder.bounds.top)]
    inputs = [b.y for b in scene.boxes if b.role == "input" and not b.dashed]
    own = [b.y for b in scene.boxes if b.role == "input" and b.dashed]
    assert max(inputs) < max(own)
