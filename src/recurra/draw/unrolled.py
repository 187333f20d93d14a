"""A network folded, with its feedback loops, and beside it unrolled over time."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from recurra.draw.columns import Column, Columns
from recurra.draw.fonts import measure
from recurra.draw.rows import NOTE, PILL
from recurra.draw.scene import Arrow, Box, Label, Scene
from recurra.draw.structure import Network, read
from recurra.draw.themes import state_role
from recurra.errors import DrawError

TASKS = ("many-to-many", "many-to-one", "one-to-many", "encoder-decoder")
MOST_STEPS = 200
_BRIDGE = 26.0  # from the bar between encoder and decoder to the decoder
_LEGEND, _CAPTION = 10.5, 12.0  # points
_CELL = 16.0  # between the columns of the legend


def plan(thing: Any, unrolled: int | Sequence[int], task: str) -> tuple[list[Network], list[int]]:
    """The networks to draw side by side (two of an encoder-decoder), and the steps of each.

    Raises:
        DrawError: the task is unknown or does not fit the network, or there are not enough steps.
    """
    if task not in TASKS:
        near = difflib.get_close_matches(str(task), TASKS, 1, 0.4)
        cure = f"did you mean {near[0]!r}?" if near else "choose one of them"
        raise DrawError(f"task is {task!r}, expected one of {', '.join(TASKS)}: {cure}")
    pair = task == "encoder-decoder"
    things = list(thing) if isinstance(thing, tuple) else [thing, thing] if pair else [thing]
    if len(things) != (2 if pair else 1):
        raise DrawError(f"{len(things)} networks are given for {task}: a pair (encoder, decoder) is an encoder-decoder")
    networks = [read(t) for t in things]
    if pair:
        encoder = networks[0]
        if isinstance(thing, tuple) and encoder.last < len(encoder.layers) - 1:
            raise DrawError(
                f"the encoder ends with {encoder.layers[-1].name}, expected a recurrent layer, whose state the decoder "
                "takes: give it without what comes after"
            )
        networks[0] = replace(encoder, layers=encoder.layers[: encoder.last + 1])
    reads_ahead = networks[-1] if task in ("one-to-many", "encoder-decoder") else None
    if reads_ahead is not None and reads_ahead.bidirectional:
        raise DrawError(
            f"{reads_ahead.name} is bidirectional, but {task} makes its outputs one after the other, and the last is "
            "not there when the first is made: use one direction, or many-to-many"
        )
    return networks, _steps(unrolled, task, pair)


def _steps(unrolled: int | Sequence[int], task: str, pair: bool) -> list[int]:
    numbers = list(unrolled) if isinstance(unrolled, Sequence) else [unrolled]
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= MOST_STEPS for n in numbers)
    if not whole or len(numbers) not in ((1, 2) if pair else (1,)) or (pair and numbers == [1]):
        least = "at least 2, or a pair of numbers of at least 1" if pair else "a whole number of at least 1"
        raise DrawError(f"unrolled is {unrolled!r}, expected {least} (and at most {MOST_STEPS}) for {task}")
    if pair and len(numbers) == 1:
        return [numbers[0] - numbers[0] // 2, numbers[0] // 2]
    return numbers


def title_of(networks: Sequence[Network], steps: Sequence[int], task: str) -> str:
    """What is to be seen, in one line."""
    names = " and ".join(dict.fromkeys(n.name for n in networks))
    many = " and ".join(map(str, steps))
    special = "" if task == "many-to-many" else f", {task}"
    return f"{names}{special}, folded, and unrolled over {many} step{'s' if many != '1' else ''}"


def network_scene(networks: Sequence[Network], steps: Sequence[int], task: str) -> Scene:
    """Draw the folded and the unrolled network on one ground line."""
    scene = Scene(title_of(networks, steps, task))
    rows = [Columns(n, prime=k == 1) for k, n in enumerate(networks)]
    edges = [0.0]
    folded = []
    for k, columns in enumerate(rows):
        folded.append(_folded(scene, columns, edges[-1] + (24.0 if k else 0.0), task, k == len(rows) - 1))
        edges.append(scene.bounds().right)
    if len(rows) == 2:
        _folded_bridge(scene, rows, folded, edges[1] + 8)
    ground = PILL + 10
    scene.labels.append(Label(edges[-1] / 2, ground, "folded", _CAPTION, "muted"))
    scene.labels.append(Label(edges[-1] + 17, rows[0].levels[networks[0].first].y, "=", 22.0, "muted"))
    start = edges[-1] + 34
    drawn: list[list[Column]] = []
    for k, (columns, count) in enumerate(zip(rows, steps, strict=True)):
        apart = 2 * _BRIDGE + (rows[0].margin if networks[0].bidirectional else 0.0)
        drawn.append(_unrolled(scene, columns, count, start + (apart if k else 0.0), task, k))
        start = drawn[-1][-1].right
    if len(rows) == 2:
        _bridge(scene, rows, drawn)
    many = " + ".join(map(str, steps))
    caption = f"unrolled over {many} step{'s' if many != '1' else ''}"
    scene.labels.append(Label((drawn[0][0].x + drawn[-1][-1].x) / 2, ground, caption, _CAPTION, "muted"))
    _legend(scene, rows, ground + 24)
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


def _unrolled(scene: Scene, columns: Columns, count: int, left: float, task: str, k: int) -> list[Column]:
    """All steps of one network, and the arrows of its states from each to the next."""
    pair = task == "encoder-decoder"
    left += columns.reach + (0.0 if k else columns.margin)
    final = columns.network.layers[columns.network.last]
    across = task == "many-to-one" and final.directions == 2 and count > 1  # both directions end their reading
    drawn = []
    for t in range(count):
        x = left + t * columns.pitch
        enters = t == 0 or task != "one-to-many"
        leaves = (t == count - 1 or task != "many-to-one") and not (pair and k == 0)
        inlet = "" if not enters else f"$y_{{{t}}}$" if columns.labels.prime else f"$x_{{{t + 1}}}$"
        if task == "one-to-many":
            inlet = "$x$" if enters else ""
        outlet = "" if not leaves else "$y$" if task == "many-to-one" else f"$y_{{{t + 1}}}$"
        drawn.append(columns.draw(scene, x, str(t + 1), inlet, outlet, split=across))
    for before, after in itertools.pairwise(drawn):
        columns.connect(scene, before, after)
    columns.begin(scene, drawn, from_label=k == 0, ends=not (pair and k == 0))
    if across:
        columns.cross(scene, drawn)
    return drawn


def _bridge(scene: Scene, rows: Sequence[Columns], drawn: Sequence[Sequence[Column]]) -> None:
    """The encoder's last states go into one bar, and all the decoder's first states come out of it."""
    encoder, decoder = rows
    first, last = drawn[0][0], drawn[0][-1]
    x = drawn[1][0].left - _BRIDGE
    ends = [(s, y) for layer in encoder.passing() for s, y in encoder.state_heights(layer, 0)]
    begins = [(i, s, y) for i in decoder.labels.recurrent() for s, y in decoder.state_heights(i, 0)]
    heights = [y for _, y in ends] + [y for _, _, y in begins]
    top, bottom = min(heights) - 9, max(heights) + 9
    scene.boxes.append(Box(x, (top + bottom) / 2, 5.0, bottom - top, "join"))
    for layer in encoder.passing():
        for s, y in encoder.state_heights(layer, 0):
            scene.arrows.append(Arrow(((last.boxes[layer][0].bounds.right, y), (x - 2.5, y)), state_role(s), False))
    for i, s, y in begins:
        scene.arrows.append(Arrow(((x + 2.5, y), (drawn[1][0].boxes[i][0].bounds.left, y)), state_role(s)))
    final = encoder.network.last
    if encoder.network.layers[final].directions == 2:
        box = first.boxes[final][1].bounds
        over = min(box.top, top) - 14
        middle = (box.left + box.right) / 2
        scene.arrows.append(Arrow(((middle, box.top), (middle, over), (x, over), (x, top)), state_role(0), False))
        scene.labels.append(Label((middle + x) / 2, over - 10, "context", NOTE, "muted"))
    else:
        scene.labels.append(Label(x, top - 10, "context", NOTE, "muted"))


def _legend(scene: Scene, rows: Sequence[Columns], y: float) -> None:
    """A table of what the user's program calls the weights: a row for each layer, or two where one is too wide."""
    bounds = scene.bounds()
    table = [row for columns in rows for row in columns.labels.own_names()]
    if not table:
        return
    most = max(map(len, table))
    for count in (most, (most + 1) // 2, 2, 1):
        lines = [row[k : k + count] for row in table for k in range(0, len(row), count)]
        widths = [max((measure(r[k], _LEGEND).width for r in lines if k < len(r)), default=0.0) for k in range(count)]
        if sum(widths) + _CELL * (count - 1) <= bounds.right - bounds.left:
            break
    left = (bounds.left + bounds.right - sum(widths) - _CELL * (count - 1)) / 2
    for row, line in enumerate(lines):
        for k, text in enumerate(line):
            x = left + sum(widths[:k]) + _CELL * k
            scene.labels.append(Label(x, y + 16 * row, text, _LEGEND, "muted", "start"))
