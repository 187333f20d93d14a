"""The inside of one cell: its gates and the paths of its states, with its equations beside them.

Steps go from left to right, or downwards where the circuit is so long that it could not be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from recurra.cells.cell import Cell
from recurra.draw.circuit import Part, circuit_of
from recurra.draw.equations import equations_of, wrapped
from recurra.draw.fonts import measure
from recurra.draw.key import circuit_key
from recurra.draw.layered import OP, PORT, Layout, laid_out
from recurra.draw.scene import LEGIBLE, Arrow, Box, Dot, Label, Point, Scene
from recurra.draw.themes import state_role
from recurra.draw.wiring import wired

_TEXT = 12.0  # points
_BESIDE = 500.0  # the widest that a cell and equations beside it may be
_GAP = 26.0
_COST = {"op": 1, "unary": 1, "leaf": 1, "source": 1, "result": 1, "gate": 8, "join": 8}


def inside_scene(cell: Cell, wide: bool = False, legend: bool = True) -> Scene:
    """Draw a cell's circuit and write its equations; from left to right if it is legible so, or to be `wide`."""
    across = _drawn(cell, False, legend)
    if wide or across.letters() >= LEGIBLE:
        return across
    return max(across, _drawn(cell, True, legend), key=Scene.letters)


def _drawn(cell: Cell, down: bool, legend: bool) -> Scene:
    scene = Scene(f"inside {cell.name}: {', '.join(cell.states)} before and after a step")
    _draw_circuit(scene, circuit_of(cell), cell.name, down)
    _write_equations(scene, cell)
    if legend:
        scene.key = circuit_key(scene, cell)
    return scene


def _draw_circuit(scene: Scene, parts: Sequence[Part], name: str, down: bool) -> None:
    """All is laid out from left to right; where it is to go down, x and y change places."""
    paths = state_paths(parts)
    sizes = [_size(p, down) for p in parts]
    across, along = ([size[k] for size in sizes] for k in ((0, 1) if down else (1, 0)))
    layout = laid_out(parts, across, [_port(p, down) for p in parts], dict(paths))
    middles, wires, dots = wired(layout, along)
    roles = _roles(parts, paths)
    _frame(scene, layout, middles, along, name, down)
    for wire in wires:
        points = tuple(_turned(p, down) for p in wire.points)
        scene.arrows.append(Arrow(points, roles.get(wire.net, "op"), wire.head and parts[wire.target].kind != "join"))
    scene.dots += [Dot(*_turned(at, down), roles.get(net, "op")) for net, at in dots]
    for vertex in (v for column in layout.columns for v in column if v.part >= 0):
        at = _turned((middles[vertex.layer], vertex.y), down)
        _draw_part(scene, parts[vertex.part], at, sizes[vertex.part], down)


def _turned(at: Point, down: bool) -> Point:
    return (at[1], at[0]) if down else at


def state_paths(parts: Sequence[Part]) -> list[tuple[int, list[int]]]:
    """For each state by its index, its way from before the step to after it, past as few gates as there are."""
    found = []
    for end, result in enumerate(parts):
        starts = [i for i, p in enumerate(parts) if p.kind == "source" and p.state == result.state]
        if result.kind == "result" and starts:
            path = _cheapest(parts, starts[0], end)
            if path:
                found.append((result.state, path))
    return found


def _cheapest(parts: Sequence[Part], start: int, end: int) -> list[int]:
    users = [[j for j, p in enumerate(parts) if i in p.inputs] for i in range(len(parts))]
    queue, done = [(0, start, [start])], set[int]()
    while queue:
        cost, i, path = heappop(queue)
        if i == end:
            return path
        if i not in done:
            done.add(i)
            for j in users[i]:
                heappush(queue, (cost + _COST[parts[j].kind], j, [*path, j]))
    return []


def _roles(parts: Sequence[Part], paths: Sequence[tuple[int, list[int]]]) -> dict[int, str]:
    """The colour of each value: of the input, of a state before the step and on its way, and after the step."""
    roles = {p.inputs[0]: state_role(p.state) for p in reversed(parts) if p.kind == "result"}
    for state, path in reversed(paths):
        if all(parts[i].kind not in ("gate", "join") for i in path):
            roles |= dict.fromkeys(path[:-1], state_role(state))
    sources = {i: state_role(p.state) if p.state >= 0 else "input" for i, p in enumerate(parts) if p.kind == "source"}
    return roles | sources


def _port(part: Part, down: bool) -> float:
    """From one input of a box to the next: words stand below one another, or side by side."""
    return max([PORT, *(measure(word, _TEXT).width + 8.0 for word in part.ports)]) if down else PORT


def _size(part: Part, down: bool) -> tuple[float, float]:
    """Width and height."""
    text = measure(part.text, _TEXT).width
    side = _port(part, down) * (len(part.ports) or len(part.inputs))  # of all inputs
    if part.kind == "join":
        return (side + 6.0, 5.0) if down else (5.0, side + 6.0)
    if part.kind == "op":
        long = OP if len(part.inputs) <= 3 else side
        return (long, OP) if down else (OP, long)
    if part.ports:
        words = max(measure(word, _TEXT).width for word in part.ports)
        return (max(side, text + 8.0) + 4.0, 42.0) if down else (words + text + 24.0, side + 8.0)
    if part.kind == "gate":
        width = max(44.0 if part.tag else 34.0, max(text, measure(part.tag, _TEXT, True).width) + 14.0)
        height = 38.0 if part.tag else 28.0
        return (max(width, side + 8.0), height) if down else (width, max(height, side + 8.0))
    least = {"source": 34.0, "result": 34.0, "unary": 26.0, "leaf": 20.0}[part.kind]
    return max(least, text + 14.0), 26.0 if part.state >= 0 or part.kind == "source" else 22.0


def _draw_part(scene: Scene, part: Part, at: Point, size: tuple[float, float], down: bool) -> None:
    x, y = at
    role = {"source": "input"}.get(part.kind, part.kind)
    role = (
        "op"
        if role == "unary"
        else "join"
        if part.kind == "join"
        else state_role(part.state)
        if part.state >= 0
        else role
    )
    shape = "pill" if part.kind in ("source", "result", "op", "leaf") else "round"
    labels = []
    if part.ports:
        beside = Label(x + size[0] / 2 - 8, y, part.text, _TEXT, role, "end")
        labels.append(Label(x, y + 9, part.text, _TEXT, role) if down else beside)
        for k, word in enumerate(part.ports):
            offset = (k - (len(part.ports) - 1) / 2) * _port(part, down)
            beside = Label(x - size[0] / 2 + 6, y + offset, word, _TEXT, role, "start")
            labels.append(Label(x + offset, y - 10, word, _TEXT, role) if down else beside)
    elif part.tag and part.kind == "gate":
        labels.append(Label(x, y - 8, part.tag, _TEXT, role, bold=True))
        labels.append(Label(x, y + 8, part.text, _TEXT, role))
    elif part.text:
        labels.append(Label(x, y, part.text, 14.0 if part.kind == "op" else _TEXT, role))
    scene.box(Box(x, y, *size, role, shape), *labels)


def _frame(
    scene: Scene, layout: Layout, middles: Sequence[float], along: Sequence[float], name: str, down: bool
) -> None:
    """What is behind all but the states and the input, with the cell's name above."""
    inner = [v for column in layout.columns[1:-1] for v in column]
    half = [max(along[v.part] if v.part >= 0 else 0.0 for v in layout.columns[k]) / 2 for k in (0, 1, -2)]
    ends = (middles[1] - half[1] - 10, middles[-2] + half[2] + 10)
    sides = (min(v.y - v.up for v in inner) - 12, max(v.y + v.down for v in inner) + 12)
    (left, right), (top, bottom) = (sides, ends) if down else (ends, sides)
    scene.boxes.append(Box((left + right) / 2, (top + bottom) / 2, right - left, bottom - top, "frame", "frame"))
    highest = middles[0] - half[0] if down else top
    scene.labels.append(Label((left + right) / 2, highest - 12, name, 13.0, "page", "middle", True))


def _write_equations(scene: Scene, cell: Cell) -> None:
    """Beside the circuit where both are narrow, else below it; left sides end where right sides begin."""
    bounds = scene.bounds()
    width = bounds.right - bounds.left
    rows = [(f"${left} =$", right) for left, right in equations_of(cell)]
    indent = max(measure(left, _TEXT).width for left, _ in rows) + 5
    longest = max(measure(f"${right}$", _TEXT).width for _, right in rows)
    if width + _GAP + indent + longest <= _BESIDE:
        block = _block(rows, indent, longest)
        own = block.bounds()
        middle = (bounds.top + bounds.bottom - own.top - own.bottom) / 2
        scene.add(block.moved(bounds.right + _GAP, middle))
        return
    blocks = [_block(rows, indent, max(width, 260) - indent)]
    if 2 * (indent + longest) + _GAP <= width and len(rows) > 3:
        half = (len(rows) + 1) // 2
        blocks = [_block(rows[:half], indent, longest), _block(rows[half:], indent, longest)]
    x = (bounds.left + bounds.right - sum(b.bounds().right for b in blocks) - _GAP * (len(blocks) - 1)) / 2
    for block in blocks:
        scene.add(block.moved(x, bounds.bottom + 16))
        x += block.bounds().right + _GAP


def _block(rows: Sequence[tuple[str, str]], indent: float, width: float) -> Scene:
    """Equations from (0, 0) on, whose right sides begin at `indent` and are at most `width` wide."""
    block, y = Scene(""), 0.0
    for left, right in rows:
        for k, line in enumerate(wrapped(right, _TEXT, width)):
            text = f"${line}$" if k == 0 else rf"$\quad {line}$"
            extent = measure(text, _TEXT)
            height = max(20.0, extent.ascent + extent.descent + 6.0)
            y += height
            middle = y - height / 2
            if k == 0:
                block.labels.append(Label(indent - 5, middle, left, _TEXT, "page", "end"))
            block.labels.append(Label(indent, middle, text, _TEXT, "page", "start"))
    return block
