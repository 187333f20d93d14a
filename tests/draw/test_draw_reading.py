"""What a picture says to its reader: letters for one thing each, bridges where wires cross, unbroken loops, a legend;
and the file for LaTeX."""

from __future__ import annotations

import re

import pytest
from golden_pictures import NAMES, inside_of, pictures

from helpers import ALL_CELLS
from recurra import draw
from recurra.cells import cell, gru, lstm, sigmoid, tanh
from recurra.draw.inside import inside_scene
from recurra.draw.outline import crossings, outline
from recurra.draw.scene import Arrow, Bounds, Scene
from recurra.draw.unrolled import network_scene, plan
from recurra.errors import DrawError
from recurra.torch import GRU, LSTM


@cell(source="tests: states with the letters of biases, and a long name")
def letters(x, h, slow_state, d, b, *, p):
    f = sigmoid(x.f + h.f + p.f * slow_state)
    return tanh(x.a + h.a) / (1 + b * b), f * slow_state, 0.9 * d + abs(x.g), b * f


CELLS = (*ALL_CELLS, letters)


def scenes() -> list[Scene]:
    found = [scene for picture in pictures().values() if (scene := picture.scene) is not None]
    found += [inside_of(own) for own in CELLS]
    return found + [network_scene(*plan(own, 3, "many-to-many"), "many-to-many") for own in CELLS]


@pytest.mark.parametrize("own", CELLS, ids=lambda c: c.name)
def test_no_bias_is_called_as_a_state_or_a_parameter(own) -> None:
    assert not set(own.biases) & {name.partition(".")[0] for name in (*own.states, *own.parameters)}
    first, second = own.biases
    assert first != second
    biases = set(re.findall(r"(?<=\+ )(\w)_\{\w+\}\)", own.latex()))
    assert biases <= {first, second}


def test_the_letters_of_biases() -> None:
    assert lstm.biases == gru.biases == ("b", "d")
    assert letters.biases == ("e", "k")
    assert "f_t &= \\sigma((W_{f} x_t + e_{f}) + (U_{f} h_{t-1} + k_{f})" in letters.latex()
    written = [t.text for t in draw.network("lstm").scene.labels]
    assert "$d$ [4H]" in written
    assert "$b$ [4H]" in written
    assert not [text for text in written if "c" in text and "[" in text]


def within(a: Bounds, b: Bounds) -> bool:
    return a.left >= b.left and a.top >= b.top and a.right <= b.right and a.bottom <= b.bottom


def near(a: tuple[float, float], b: tuple[float, float], least: float) -> bool:
    return abs(a[0] - b[0]) + abs(a[1] - b[1]) < least


def test_wires_that_cross_have_a_bridge() -> None:
    """Of two lines through a point only one goes through it; the other keeps away, and both end where they did."""
    seen = 0
    for scene in scenes():
        found = crossings(scene.arrows)
        for crossing in found:
            arrow = scene.arrows[crossing.arrow]
            start, curves = outline(arrow, [c for c in found if c.arrow == crossing.arrow])
            before = start
            for end, handles in curves:
                if handles is None:
                    within = [
                        min(p, q) - 0.5 < at < max(p, q) + 0.5
                        for p, q, at in zip(before, end, crossing.at, strict=True)
                    ]
                    assert not all(within), (scene.title, crossing)
                before = end
            assert start == arrow.points[0]
            assert near(before, arrow.points[-1], 6.0 if arrow.head else 1e-9)
            seen += 1
    assert seen > 40


def test_every_crossing_is_found() -> None:
    cross = (
        Arrow(((0, 20), (80, 20))),
        Arrow(((20, 0), (20, 40))),
        Arrow(((60, 40), (60, 0))),
        Arrow(((0, 20), (0, 60))),
    )
    assert [(c.arrow, c.at) for c in crossings(cross)] == [(0, (20, 20)), (0, (60, 20))]
    tight = Arrow(((0, 20), (20, 20))), Arrow(((11, 0), (11, 60)))  # its head is where its bridge would be
    assert [c.arrow for c in crossings(tight)] == [1]


def test_no_label_breaks_a_feedback_loop() -> None:
    for thing in (*CELLS, LSTM(3, 16, 2, bidirectional=True), GRU(3, 5)):
        scene = network_scene(*plan(thing, 3, "many-to-many"), "many-to-many")
        assert not [t for t in scene.labels if t.over], scene.title
        loops = [a for a in scene.arrows if len(a.points) == 4 and a.points[0][0] == a.points[-1][0]]
        assert loops
        for loop in loops:
            x, far = loop.points[0][0], loop.points[1][0]
            room = Bounds(min(x, far), min(p[1] for p in loop.points), max(x, far), max(p[1] for p in loop.points))
            named = [t for t in scene.labels if t.role == loop.role and within(t.bounds, room)]
            assert named, scene.title


@pytest.mark.parametrize("own", CELLS, ids=lambda c: c.name)
def test_the_legend_has_what_the_picture_has(own) -> None:
    scene = inside_of(own)
    assert scene.key is not None
    assert {b.role for b in scene.boxes if b.shape != "frame"} == {b.role for b in scene.key.boxes}
    assert scene.overlaps() == []
    assert min(b.bounds.top for b in scene.key.boxes) > max(t.bounds.bottom for t in scene.labels)
    without = inside_scene(own, legend=False)
    assert without.key is None
    assert len(without.boxes) == len(scene.boxes)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "at_work"])
def test_tikz(name: str, tmp_path) -> None:
    picture = pictures()[name]
    text = picture.save(tmp_path / "picture.tex").read_text()
    scene = picture.scene
    assert text.isascii() or re.search(r"[^\x00-\x7f]", "".join(t.text for t in scene.labels))
    assert not set(text) & set("−×·√…")  # LaTeX's own signs stand for them
    assert text.count("{") == text.count("}")
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    shapes = [*scene.boxes, *scene.key.boxes]
    assert len(re.findall(r"^\\path\[", text, re.MULTILINE)) == len(shapes)
    assert len(re.findall(r"^\\node\[", text, re.MULTILINE)) == len(scene.labels) + len(scene.key.labels)
    assert len(re.findall(r"^\\draw\[", text, re.MULTILINE)) == len(scene.arrows) + len(scene.key.arrows)
    used = set(re.findall(r"recurra-\w+-(?:fill|line|text)", text.partition(r"\begin{document}")[2]))
    assert used <= set(re.findall(r"\\definecolor\{(.*?)\}", text))
    unescaped = re.findall(r"(?<!\\)[#%&_](?![^$]*\$)", "".join(re.findall(r"\{([^{}$]*)\};$", text, re.MULTILINE)))
    assert not unescaped


def test_curves_have_no_tikz() -> None:
    with pytest.raises(DrawError, match=r"curves over time have no \.tex, expected \.svg, \.pdf or \.png"):
        pictures()["at_work"].data("tex")
