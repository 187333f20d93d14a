"""The legend of a picture: what its shapes and colours stand for, of those that it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recurra.cells.cell import Cell
from recurra.cells.printing import latex_name
from recurra.draw.fonts import measure
from recurra.draw.scene import Arrow, Box, Label, Scene
from recurra.draw.themes import state_role

_WIDE, _HIGH, _ROW, _GAP, _BESIDE = 18.0, 11.0, 18.0, 16.0, 5.0  # points: of a sample, between rows, entries, texts

# Of each role and shape, in the order in which they stand.
_CIRCUIT = (
    ("input", "pill", "input"),
    ("gate", "round", "gate, of a weighted sum"),
    ("op", "pill", "+ and ×, number by number"),
    ("op", "round", "of one value"),
    ("leaf", "pill", "one for each unit"),
    ("join", "round", "side by side"),
)
_NETWORK = (
    ("input", "pill", "input"),
    ("output", "pill", "output"),
    ("recurrent", "round", "recurrent layer"),
    ("map", "round", "layer without a state"),
    ("join", "round", "side by side"),
)


def circuit_key(scene: Scene, cell: Cell) -> Scene:
    """Of the inside of a cell, below it."""
    states = [(state_role(k), "pill", f"state ${latex_name(name)}$") for k, name in enumerate(cell.states)]
    return _below(scene, [*_there(scene, _CIRCUIT[:1]), *states, *_there(scene, _CIRCUIT[1:])], 12.0)


def network_key(scene: Scene, states: Sequence[str]) -> Scene:
    """Of a network, whose states have these names, below it."""
    lines = [(state_role(k), "line", f"state ${name}$") for k, name in enumerate(states)]
    return _below(scene, [*_there(scene, _NETWORK), *lines], 13.0)


def _there(scene: Scene, entries: tuple[tuple[str, str, str], ...]) -> Iterator[tuple[str, str, str]]:
    found = {(b.role, b.shape) for b in scene.boxes}
    return (entry for entry in entries if entry[:2] in found)


def _below(scene: Scene, entries: list[tuple[str, str, str]], size: float) -> Scene:
    """In rows as wide as the picture."""
    bounds, key = scene.bounds(), Scene("")
    x, y = bounds.left, bounds.bottom + 14.0 + _HIGH / 2
    for role, shape, text in entries:
        width = _WIDE + _BESIDE + measure(text, size).width
        if x > bounds.left and x + width > bounds.right:
            x, y = bounds.left, y + _ROW
        if shape == "line":
            key.arrows.append(Arrow(((x, y), (x + _WIDE, y)), role))
        else:
            key.boxes.append(Box(x + _WIDE / 2, y, 5.0 if role == "join" else _WIDE, _HIGH, role, shape))
        key.labels.append(Label(x + _WIDE + _BESIDE, y, text, size, "muted", "start"))
        x += width + _GAP
    return key
