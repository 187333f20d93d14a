"""The inside of one cell: its gates and the paths of its states, with its equations beside them."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from recurra.cells.cell import Cell
from recurra.draw.circuit import Part, circuit_of
from recurra.draw.equations import equations_of, wrapped
from recurra.draw.fonts import measure
from recurra.draw.layered import OP, PORT, Layout, laid_out
from recurra.draw.scene import Arrow, Box, Dot, Label, Scene
from recurra.draw.themes import state_role
from recurra.draw.wiring import wired

_TEXT, _TAG, _SMALL = 12.0, 12.0, 10.0  # points
_BESIDE = 500.0  # the widest that a cell and equations beside it may be
_GAP = 26.0
_COST = {"op": 1, "unary": 1, "leaf": 1, "source": 1, "result": 1, "gate": 8, "join": 8}


def inside_scene(cell: Cell) -> Scene:
    """Draw a cell's circuit and write its equations."""
    title = f"inside {cell.name}: {', '.join(cell.states)} before and after a step"
    parts = circuit_of(cell)
    scene = Scene(title)
    _draw_circuit(scene, parts, cell.name)
    _write_equations(scene, cell)
    return scene


def _draw_circuit(scene: Scene, parts: Sequence[Part], name: str) -> None:
    paths = state_paths(parts)
    sizes = [_size(p) for p in parts]
    layout = laid_out(parts, [h for _, h in sizes], dict(paths))
    middles, wires, dots = wired(layout, [w for w, _ in sizes])
    roles = _roles(parts, paths)
    _frame(scene, layout, middles, sizes, name)
    for wire in wires:
        scene.arrows.append(
            Arrow(wire.points, roles.get(wire.net, "op"), wire.head and parts[wire.target].kind != "join")
        )
    scene.dots += [Dot(x, y, roles.get(net, "op")) for net, (x, y) in dots]
    for vertex in (v for column in layout.columns for v in column if v.part >= 0):
        _draw_part(scene, parts[vertex.part], middles[vertex.layer], vertex.y, sizes[vertex.part])


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


def _size(part: Part) -> tuple[float, float]:
    """Width and height."""
    text = measure(part.text, _TEXT).width
    if part.kind == "join":
        return 5.0, PORT * len(part.inputs) + 6.0
    if part.kind == "op":
        return OP, OP if len(part.inputs) <= 3 else PORT * len(part.inputs)
    if part.ports:
        words = max(measure(word, _SMALL).width for word in part.ports)
        return words + text + 24.0, PORT * len(part.ports) + 8.0
    if part.kind == "gate":
        width = max(text, measure(part.tag, _TAG, True).width)
        return max(44.0 if part.tag else 34.0, width + 14.0), max(
            38.0 if part.tag else 28.0, PORT * len(part.inputs) + 8.0
        )
    least = {"source": 34.0, "result": 34.0, "unary": 26.0, "leaf": 20.0}[part.kind]
    return max(least, text + 14.0), 26.0 if part.state >= 0 or part.kind == "source" else 22.0


def _draw_part(scene: Scene, part: Part, x: float, y: float, size: tuple[float, float]) -> None:
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
        left, right = x - size[0] / 2, x + size[0] / 2
        labels.append(Label(right - 8, y, part.text, _TEXT, role, "end"))
        middle = (len(part.ports) - 1) / 2
        for k, word in enumerate(part.ports):
            labels.append(Label(left + 6, y + (k - middle) * PORT, word, _SMALL, role, "start"))
    elif part.tag and part.kind == "gate":
        labels.append(Label(x, y - 8, part.tag, _TAG, role, bold=True))
        labels.append(Label(x, y + 8, part.text, _TEXT, role))
    elif part.text:
        labels.append(Label(x, y, part.text, 14.0 if part.kind == "op" else _TEXT, role))
    scene.box(Box(x, y, *size, role, shape), *labels)


def _frame(
    scene: Scene, layout: Layout, middles: Sequence[float], sizes: Sequence[tuple[float, float]], name: str
) -> None:
    """What is behind all but the states and the input, with the cell's name above."""
    inner = [v for column in layout.columns[1:-1] for v in column]
    half = [max(sizes[v.part][0] if v.part >= 0 else 0.0 for v in layout.columns[k]) / 2 for k in (1, -2)]
    left, right = middles[1] - half[0] - 10, middles[-2] + half[1] + 10
    top, bottom = min(v.y - v.up for v in inner) - 12, max(v.y + v.down for v in inner) + 12
    scene.boxes.append(Box((left + right) / 2, (top + bottom) / 2, right - left, bottom - top, "frame", "frame"))
    scene.labels.append(Label((left + right) / 2, top - 12, name, 13.0, "page", "middle", True))


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
