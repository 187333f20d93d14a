"""Where the parts of a circuit stand: in columns from left to right, in an order with few crossings, in lines that are
straight where they can be.

The order within the columns is igraph's (Sugiyama's method); what it does not know, and is done here, is that boxes
have sizes, that wires end at certain sides of a box, and that the path of a state should be a straight line.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations

import numpy as np

from recurra.draw.circuit import Part
from recurra.errors import need

OP = 22.0  # diameter of + and ×
GAP = 12.0  # between the parts of a column
WIRE = 4.0  # half the room of a wire that passes through a column
APPROACH = 10.0  # between an operation and the wire that turns to it from above or below
PORT = 14.0  # between the inputs of a box
PATH = 16.0  # the weight of a state's path, where other wires have 1
_REWEIGHTED = 4
_TOGETHER = 1e-3  # the price of a column's height, beside 1 for that of a bend: parts that may float stand close
_HAIR = 4.0  # bends that are taken out


@dataclass(eq=False)
class Vertex:
    """A part, or (part -1) a wire that passes through a column.

    Attributes:
        part: the index of the part.
        net: the part whose value leaves it.
        layer: its column.
        up, down: the room it needs above and below its middle.
        y: its middle.
    """

    part: int
    net: int
    layer: int
    up: float = WIRE
    down: float = WIRE
    y: float = 0.0


@dataclass(eq=False)
class Edge:
    """A piece of a wire between neighbouring columns: into the `port`-th input of a part, or on through a column."""

    start: Vertex
    end: Vertex
    port: int = -1
    weight: float = 1.0
    side: str = "left"
    offset: float = 0.0


@dataclass
class Layout:
    """All vertices by column, in order from the top, and the pieces of wires between them."""

    columns: list[list[Vertex]] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    def into(self, vertex: Vertex) -> list[Edge]:
        """The pieces that end at a vertex."""
        return [e for e in self.edges if e.end is vertex]


def laid_out(
    parts: Sequence[Part], heights: Sequence[float], ports: Sequence[float], paths: Mapping[int, Sequence[int]]
) -> Layout:
    """The places of all parts of a circuit.

    Args:
        parts: from `circuit_of`.
        heights: of each part.
        ports: from one input of a part to the next.
        paths: for each state, by its index, the parts on its way through the step.

    Raises:
        MissingExtraError: igraph or SciPy is not installed.
    """
    need("the inside of a cell", "igraph", "scipy", extra="draw")
    layers = _layers(parts)
    layout = _with_wires(parts, layers, paths)
    _order(layout, parts, paths)
    for column in layout.columns:
        for vertex in column:
            if vertex.part >= 0:
                vertex.up = vertex.down = heights[vertex.part] / 2
                _place_ports(layout, vertex, parts[vertex.part], ports[vertex.part])
    _straighten(layout)
    return layout


def _layers(parts: Sequence[Part]) -> list[int]:
    """The column of each part: sources first, gates of sources in one column, results last."""
    first_gate = 2 if any(p.kind == "join" or (p.kind == "unary" and _all_sources(p, parts)) for p in parts) else 1
    layers: list[int] = []
    for part in parts:
        least = {"source": 0, "gate": first_gate}.get(part.kind, 1)
        layers.append(max([least, *(layers[i] + 1 for i in part.inputs if i >= 0)]) if part.kind != "source" else 0)
    last = max(layers)
    for i in reversed(range(len(parts))):
        users = [layers[j] for j, p in enumerate(parts) if i in p.inputs]
        if parts[i].kind == "result":
            layers[i] = last
        elif parts[i].kind == "leaf":
            layers[i] = min(users) - 1
    return layers


def _all_sources(part: Part, parts: Sequence[Part]) -> bool:
    return all(parts[i].kind == "source" for i in part.inputs)


def _with_wires(parts: Sequence[Part], layers: Sequence[int], paths: Mapping[int, Sequence[int]]) -> Layout:
    """Vertices and edges; a wire to a far column passes through all between, once for all its ends."""
    layout = Layout([[] for _ in range(max(layers) + 1)])
    vertices = [Vertex(i, i, layer) for i, layer in enumerate(layers)]
    for vertex in vertices:
        layout.columns[vertex.layer].append(vertex)
    on_path = {(a, b) for path in paths.values() for a, b in itertools.pairwise(path)}
    passing: dict[tuple[int, int], Vertex] = {}
    for j, part in enumerate(parts):
        for port, i in enumerate(part.inputs):
            if i < 0:
                continue
            weight = PATH if (i, j) in on_path else 1.0
            before = vertices[i]
            for layer in range(layers[i] + 1, layers[j]):
                if (i, layer) not in passing:
                    passing[i, layer] = Vertex(-1, i, layer)
                    layout.columns[layer].append(passing[i, layer])
                    layout.edges.append(Edge(before, passing[i, layer], -1, 4.0))
                if weight > 4:
                    next(e for e in layout.edges if e.end is passing[i, layer]).weight = weight
                before = passing[i, layer]
            layout.edges.append(Edge(before, vertices[j], port, weight))
    return layout


def _order(layout: Layout, parts: Sequence[Part], paths: Mapping[int, Sequence[int]]) -> None:
    """Order each column: from igraph's order, and from that of the states, neighbours change places while it helps."""
    starts = [_igraph_order(layout), _state_order(layout, parts, paths)]
    starts.append([column[::-1] for column in starts[0]])
    layout.columns = min((_improved(layout, s, parts) for s in starts), key=lambda found: found[0])[1]


def _igraph_order(layout: Layout) -> list[list[Vertex]]:
    import igraph

    vertices = [v for column in layout.columns for v in column]
    index = {v: k for k, v in enumerate(vertices)}
    graph = igraph.Graph(len(vertices), [(index[e.start], index[e.end]) for e in layout.edges], directed=True)
    places = graph.layout_sugiyama(layers=[v.layer for v in vertices], maxiter=200).coords
    return [sorted(column, key=lambda v: (places[index[v]][0], index[v])) for column in layout.columns]


def _state_order(layout: Layout, parts: Sequence[Part], paths: Mapping[int, Sequence[int]]) -> list[list[Vertex]]:
    """From the left on, each vertex at the mean height of what comes into it; the first state's path is lowest."""
    rank = {i: -state for state, path in paths.items() for i in path}
    if len(paths) > 1:
        rank |= dict.fromkeys(paths.get(0, ()), 2)
    on = {e.end for e in layout.edges if e.weight > PATH / 2}
    height: dict[Vertex, float] = {}
    columns = []
    for column in layout.columns:
        for v in column:
            before = [height[e.start] for e in layout.into(v)]
            own = parts[v.part].state if v.part >= 0 and parts[v.part].kind == "source" else 0
            height[v] = sum(before) / len(before) if before else -float(own)
        columns.append(sorted(column, key=lambda v: (round(height[v], 6), rank.get(v.net, 1) if v in on else 1)))
        height |= {v: float(k) for k, v in enumerate(columns[-1])}
    return columns


def _improved(layout: Layout, columns: list[list[Vertex]], parts: Sequence[Part]) -> tuple[float, list[list[Vertex]]]:
    """Take vertices out and put them elsewhere in their column, while crossings become fewer."""
    columns = [list(column) for column in columns]
    between: list[list[Edge]] = [[] for _ in columns]
    for e in layout.edges:
        between[e.start.layer].append(e)

    def cost(k: int) -> float:
        """Of what the order of column k has to do with."""
        beside = [n for n in (k - 1, k) if 0 <= n < len(columns) - 1]
        ends = _disorder(columns[k], parts) if k in (0, len(columns) - 1) else 0.0
        return ends + sum(_crossings(between[n], columns[n], columns[n + 1]) for n in beside)

    better = True
    while better:
        better = False
        for k, column in enumerate(columns):
            least = cost(k)
            for i, j in permutations(range(len(column)), 2):
                before = list(column)
                column.insert(j, column.pop(i))
                if (new := cost(k)) < least - 1e-9:
                    least, better = new, True
                else:
                    column[:] = before
    crossings = sum(_crossings(between[n], columns[n], columns[n + 1]) for n in range(len(columns) - 1))
    return crossings + _disorder(columns[0], parts) + _disorder(columns[-1], parts), columns


def _crossings(edges: Sequence[Edge], left: Sequence[Vertex], right: Sequence[Vertex]) -> float:
    """Crossings between two columns; those of a state's path count a little more."""
    place = {v: k for column in (left, right) for k, v in enumerate(column)}
    ends = [(place[e.start], place[e.end], 0.1 * (e.weight > PATH / 2)) for e in edges]
    pairs = combinations(ends, 2)
    return sum(1.0 + w + v for (a, b, w), (c, d, v) in pairs if (a - c) * (b - d) < 0)


def _disorder(column: Sequence[Vertex], parts: Sequence[Part]) -> float:
    """States out of their order count less than a crossing each: the first is lowest, the input below it."""
    ranks = [parts[v.part].state for v in column if v.part >= 0 and parts[v.part].kind in ("source", "result")]
    return sum(0.8 for a, b in combinations(ranks, 2) if a < b)


def _place_ports(layout: Layout, vertex: Vertex, part: Part, apart: float) -> None:
    """Where each wire meets a part: at the left side of a box; at three sides of an operation."""
    place = {v: k for column in layout.columns for k, v in enumerate(column)}
    edges = layout.into(vertex)
    if not part.ports:
        edges.sort(key=lambda e: place[e.start])
    if part.kind == "op" and len(edges) in (2, 3):
        main = 1 if len(edges) == 3 else max((0, 1), key=lambda k: (edges[k].weight, -k))
        for k, e in enumerate(edges):
            if k != main:
                e.side, e.weight = ("top" if k < main else "bottom"), 0.3 * min(e.weight, 1)
                e.offset = (OP / 2 + APPROACH) * (-1 if k < main else 1)
        if main > 0:
            vertex.up += APPROACH + WIRE
        if main < len(edges) - 1:
            vertex.down += APPROACH + WIRE
        return
    count = len(part.ports) or len(edges)
    for k, e in enumerate(edges):
        e.offset = ((e.port if part.ports else k) - (count - 1) / 2) * apart


def _straighten(layout: Layout) -> None:
    """Give every vertex its height: with room between, and the wires as straight as that allows.

    What is made small is the sum of the wires' bends, each by its length and weight: a linear program, in which most
    wires are quite straight and a few bend. One long bend is better than two short ones, so the weights are lessened by
    the bends found before.
    """
    from scipy.optimize import linprog

    vertices = [v for column in layout.columns for v in column]
    index = {v: k for k, v in enumerate(vertices)}
    pairs = [pair for column in layout.columns for pair in itertools.pairwise(column)]
    room = np.array([a.down + GAP + b.up for a, b in pairs])
    apart = np.zeros((len(pairs), len(vertices)))
    for row, (a, b) in enumerate(pairs):
        apart[row, index[a]], apart[row, index[b]] = -1.0, 1.0
    bends = np.zeros((len(layout.edges), len(vertices)))
    for row, e in enumerate(layout.edges):
        bends[row, index[e.start]], bends[row, index[e.end]] = 1.0, -1.0
    offsets = np.array([e.offset for e in layout.edges])
    weights = np.array([e.weight for e in layout.edges])
    # The unknowns are the heights, and for each wire a size that its bend has on neither side more than.
    sizes = np.eye(len(weights))
    limits = np.block([[bends, -sizes], [-bends, -sizes], [-apart, np.zeros((len(pairs), len(weights)))]])
    at_most = np.concatenate([offsets, -offsets, -room])
    y, scale = np.zeros(len(vertices)), weights
    for _ in range(_REWEIGHTED):
        prices = np.concatenate([_TOGETHER * apart.sum(0), scale])
        y = linprog(prices, limits, at_most, method="highs").x[: len(vertices)]
        scale = weights / np.maximum(np.abs(bends @ y - offsets), 1.0) ** 0.5
    for v, height in zip(vertices, y, strict=True):
        v.y = float(height)
    _snap(layout)


def _snap(layout: Layout) -> None:
    """What a wire misses by a hair is moved onto it, with all that is straight behind it, where there is room."""
    groups = {v: [v] for column in layout.columns for v in column}
    for e in sorted(layout.edges, key=lambda e: -e.weight):
        miss = e.start.y - e.end.y - e.offset
        if e.side != "left" or abs(miss) > _HAIR or groups[e.start] is groups[e.end]:
            continue
        behind, ahead = groups[e.start], groups[e.end]
        for group, way in ((ahead, miss), (behind, -miss)):
            _move(group, way)
            if _roomy(layout):
                joined = behind + ahead
                groups |= dict.fromkeys(joined, joined)
                break
            _move(group, -way)


def _move(vertices: Sequence[Vertex], way: float) -> None:
    for v in vertices:
        v.y += way


def _roomy(layout: Layout) -> bool:
    """Whether neighbours are as far apart as they should be, save a hair."""
    pairs = (pair for column in layout.columns for pair in itertools.pairwise(column))
    return all(b.y - a.y >= a.down + b.up + GAP - _HAIR for a, b in pairs)
