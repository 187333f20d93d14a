"""The parts that a picture of a network is arranged from: the folded network, the unrolled one, the names of weights.

In a block y is 0 at the middle of the input, save in an unrolled encoder-decoder of two lines, where that is the
encoder's.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from recurra.draw.columns import Column, Columns
from recurra.draw.fonts import measure
from recurra.draw.rows import NOTE, PILL
from recurra.draw.scene import Arrow, Box, Label, Scene
from recurra.draw.themes import state_role

_GROUND = PILL + 10  # the middle of the captions
_PAIR = 24.0  # between a folded encoder and its decoder
_BRIDGE = 26.0  # from the bar between encoder and decoder to the decoder
_BAND = 40.0  # between the encoder and the decoder below it
_CELL, _ROW = 16.0, 17.0  # between the columns of the names, and from row to row


def folded_block(rows: Sequence[Columns], task: str) -> Scene:
    """The folded network: one column with its loops and shapes, or an encoder's and a decoder's."""
    scene = Scene("")
    folded, right = [], 0.0
    for k, columns in enumerate(rows):
        folded.append(_folded(scene, columns, right + (_PAIR if k else 0.0), task, k == len(rows) - 1))
        over, right = right + _PAIR / 3, scene.bounds().right
    if len(rows) == 2:
        _folded_bridge(scene, rows, folded, over)
    scene.labels.append(Label(scene.bounds().right / 2, _GROUND, "folded", NOTE, "muted"))
    return scene


def _folded(scene: Scene, columns: Columns, left: float, task: str, last: bool) -> Column:
    """One column with loops and shapes, from `left` on."""
    inlet = "$y_{t-1}$" if columns.labels.prime else "$x$" if task == "one-to-many" else "$x_t$"
    outlet = "" if not last else "$y$" if task == "many-to-one" else "$y_t$"
    trial = Scene("")
    columns.draw(trial, 0.0, "t", inlet, outlet, folded=True)
    return columns.draw(scene, left - trial.bounds().left, "t", inlet, outlet, folded=True)


def _folded_bridge(scene: Scene, rows: Sequence[Columns], folded: Sequence[Column], x: float) -> None:
    """From the top of the encoder over to the decoder's first recurrent layer."""
    start = folded[0].boxes[rows[0].network.last][-1].bounds
    end = folded[1].boxes[rows[1].network.first][0].bounds
    middle, y, over = (start.left + start.right) / 2, (end.top + end.bottom) / 2, start.top - 20
    if abs(over - y) < 2 * NOTE:
        over = y  # one line across, without a step
    turns = () if over == y else ((x, over), (x, y))
    points = ((middle, start.top), (middle, over), *turns, (end.left, y))
    scene.arrows.append(Arrow(points, state_role(0)))
    scene.labels.append(Label((middle + x) / 2, over - 10, "context", NOTE, "muted"))


def unrolled_block(
    rows: Sequence[Columns], steps: Sequence[int], shown: Sequence[int], task: str, lines: int = 1
) -> Scene:
    """The unrolled network.

    Args:
        rows: one network, or an encoder and its decoder.
        steps: how many each has.
        shown: how many of them are drawn: the first ones and the last, with an ellipsis between.
        task: as `draw.network` takes it.
        lines: 2 for a decoder below its encoder, not behind it.
    """
    scene, drawn = _unrolled(rows, 0, steps[0], shown[0], task)
    if len(rows) == 2:
        scene = _with_decoder(scene, drawn, rows, _unrolled(rows, 1, steps[1], shown[1], task), lines)
    many = " + ".join(map(str, steps))
    bounds = scene.bounds()
    x, y = (bounds.left + bounds.right) / 2, bounds.bottom - PILL / 2 + _GROUND
    scene.labels.append(Label(x, y, f"unrolled over {many} step{'s' if many != '1' else ''}", NOTE, "muted"))
    return scene


def _unrolled(rows: Sequence[Columns], k: int, count: int, shown: int, task: str) -> tuple[Scene, list[Column]]:
    """The steps of one network, and the arrows of its states from each to the next."""
    scene, columns, pair = Scene(""), rows[k], len(rows) == 2
    final = columns.network.layers[columns.network.last]
    across = task == "many-to-one" and final.directions == 2 and count > 1  # both directions end their reading
    drawn = []
    times = [*range(shown - 1), count - 1]
    for place, t in enumerate(times):
        enters = t == 0 or task != "one-to-many"
        leaves = (t == count - 1 or task != "many-to-one") and not (pair and k == 0)
        inlet = "" if not enters else f"$y_{{{t}}}$" if columns.labels.prime else f"$x_{{{t + 1}}}$"
        if task == "one-to-many":
            inlet = "$x$" if enters else ""
        outlet = "" if not leaves else "$y$" if task == "many-to-one" else f"$y_{{{t + 1}}}$"
        drawn.append(columns.draw(scene, place * columns.pitch, str(t + 1), inlet, outlet, split=across))
    for (s, before), (t, after) in itertools.pairwise(zip(times, drawn, strict=True)):
        columns.connect(scene, before, after, whole=t == s + 1)
    columns.begin(scene, drawn, count, from_label=k == 0, ends=not (pair and k == 0))
    if across:
        columns.cross(scene, drawn)
    return scene, drawn


def _with_decoder(
    scene: Scene, drawn: Sequence[Column], rows: Sequence[Columns], decoder: tuple[Scene, list[Column]], lines: int
) -> Scene:
    """An encoder with its decoder: the last states of the one go into a bar, and the first of the other come out of it.

    In two lines each has a bar of its own, and a wire leads from the first down to the second.
    """
    below, first = decoder[0], decoder[1][0]
    ends = [y for layer in rows[0].passing() for _, y in rows[0].state_heights(layer, 0)]
    begins = [y for i in rows[1].labels.recurrent() for _, y in rows[1].state_heights(i, 0)]
    x = drawn[-1].right + (rows[0].margin if rows[0].network.bidirectional else 0.0) + _BRIDGE
    if lines == 1:
        bar = _bar(scene, x, ends + begins)
        _into_bar(scene, rows[0], drawn, bar)
        _out_of_bar(below, rows[1], first, first.left - _BRIDGE)
        scene.add(below.moved(x + _BRIDGE - first.left, 0.0))
        return scene
    bar = _bar(scene, x, ends)
    _into_bar(scene, rows[0], drawn, bar)
    second = _bar(below, first.left - _BRIDGE, begins)
    _out_of_bar(below, rows[1], first, second.x)
    dx, dy = drawn[0].left - first.left, scene.bounds().bottom + _BAND - below.bounds().top
    level, end = scene.bounds().bottom + 0.6 * _BAND, second.x + dx
    way = ((x, bar.bounds.bottom), (x, level), (end, level), (end, second.bounds.top + dy))
    scene.arrows.append(Arrow(way, state_role(0), False))
    scene.add(below.moved(dx, dy))
    return scene


def _bar(scene: Scene, x: float, heights: Sequence[float]) -> Box:
    top, bottom = min(heights) - 9, max(heights) + 9
    return scene.box(Box(x, (top + bottom) / 2, 5.0, bottom - top, "join"))


def _into_bar(scene: Scene, encoder: Columns, drawn: Sequence[Column], bar: Box) -> None:
    """From the last step, and over the top from the first, where a second direction ends its reading."""
    for layer in encoder.passing():
        for s, y in encoder.state_heights(layer, 0):
            ends = ((drawn[-1].boxes[layer][0].bounds.right, y), (bar.bounds.left, y))
            scene.arrows.append(Arrow(ends, state_role(s), False))
    final, top = encoder.network.last, bar.bounds.top
    if encoder.network.layers[final].directions == 1:
        scene.labels.append(Label(bar.x, top - 10, "context", NOTE, "muted"))
        return
    box = drawn[0].boxes[final][1].bounds
    over, middle = min(box.top, top) - 14, (box.left + box.right) / 2
    way = ((middle, box.top), (middle, over), (bar.x, over), (bar.x, top))
    scene.arrows.append(Arrow(way, state_role(0), False))
    scene.labels.append(Label((middle + bar.x) / 2, over - 10, "context", NOTE, "muted"))


def _out_of_bar(scene: Scene, decoder: Columns, first: Column, x: float) -> None:
    for i in decoder.labels.recurrent():
        for s, y in decoder.state_heights(i, 0):
            scene.arrows.append(Arrow(((x + 2.5, y), (first.boxes[i][0].bounds.left, y)), state_role(s)))


def names_block(rows: Sequence[Columns], width: float) -> Scene | None:
    """A table of what the user's program calls the weights: a row for each layer, or more where one is too wide.

    Returns nothing where it has no names of its own. Its upper left corner is at (0, 0).
    """
    table = [row for columns in rows for row in columns.labels.own_names()]
    if not table:
        return None
    most = max(map(len, table))
    for count in dict.fromkeys((most, (most + 1) // 2, 2, 1)):
        lines = [row[k : k + count] for row in table for k in range(0, len(row), count)]
        widths = [max((measure(r[k], NOTE).width for r in lines if k < len(r)), default=0.0) for k in range(count)]
        if sum(widths) + _CELL * (count - 1) <= width:
            break
    scene = Scene("")
    for row, line in enumerate(lines):
        for k, text in enumerate(line):
            x = sum(widths[:k]) + _CELL * k
            scene.labels.append(Label(x, _ROW * (row + 0.5), text, NOTE, "muted", "start"))
    return scene
