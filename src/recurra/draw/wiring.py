"""The wires of a circuit between its columns: right-angled, one trunk for each value, with as few crossings as can be.

Between two columns each value has a *track*, the x at which it goes up and down. Two wires never run on each other:
where one leaves at the height at which another arrives, the one that leaves has its track to the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, permutations
from typing import NamedTuple

from recurra.draw.layered import APPROACH, GAP, OP, Edge, Layout, Vertex
from recurra.draw.scene import Point

TRACK = 9.0  # between tracks
MARGIN = 11.0  # from a column to the next track
_CLOSE = 5.0  # wires nearer than that would seem one
_MOST_ORDERS = 7  # values whose tracks are tried in every order


class Net(NamedTuple):
    """One value between two columns: where it comes from, and the heights at which it arrives."""

    net: int
    left: float
    rights: tuple[float, ...]

    @property
    def low(self) -> float:
        """The least height."""
        return min(self.left, *self.rights)

    @property
    def high(self) -> float:
        """The greatest height."""
        return max(self.left, *self.rights)

    @property
    def straight(self) -> bool:
        """Whether it needs no track."""
        return self.high - self.low < 0.01


class Wire(NamedTuple):
    """A wire from a part to the input of another, as points, with a head where it ends."""

    net: int
    target: int
    points: tuple[Point, ...]
    head: bool


def wired(layout: Layout, widths: Sequence[float]) -> tuple[list[float], list[Wire], list[tuple[int, Point]]]:
    """The middle of each column, the pieces of all wires, and the dots (with their value) where wires branch."""
    levels = {id(e): _level(layout, e) for e in layout.edges}
    channels = [_nets(layout, k, levels) for k in range(len(layout.columns) - 1)]
    tracks = [_tracks(nets) for nets in channels]
    middles, edge_of_column = _columns(layout, widths, tracks)
    at = [
        {net: edge_of_column[k] + MARGIN + TRACK * t for net, t in channel.items()} for k, channel in enumerate(tracks)
    ]
    paths = [(e, _path(layout, e, levels, at, middles, widths)) for e in layout.edges if e.end.part >= 0]
    dots = [
        (n.net, (at[k][n.net], y))
        for k, nets in enumerate(channels)
        for n in nets
        if n.net in at[k]
        for y in _branches(n)
    ]
    return middles, _pieces(paths, dots), dots


def _level(layout: Layout, e: Edge) -> float:
    """The height at which a wire crosses to its end: that of the port, or one from which it turns up or down to it."""
    if e.side == "left":
        return e.end.y + e.offset
    column = layout.columns[e.end.layer]
    place, away = column.index(e.end), OP / 2 + APPROACH
    if e.side == "top":
        free = column[place - 1].y + column[place - 1].down + GAP / 2 if place else -1e9
        return min(max(e.start.y, free), e.end.y - away)
    free = column[place + 1].y - column[place + 1].up - GAP / 2 if place + 1 < len(column) else 1e9
    return max(min(e.start.y, free), e.end.y + away)


def _nets(layout: Layout, k: int, levels: dict[int, float]) -> list[Net]:
    found: dict[int, tuple[float, list[float]]] = {}
    for e in layout.edges:
        if e.start.layer == k:
            found.setdefault(e.start.net, (e.start.y, []))[1].append(levels[id(e)])
    return [Net(net, left, tuple(sorted(set(rights)))) for net, (left, rights) in found.items()]


def _tracks(nets: Sequence[Net]) -> dict[int, int]:
    """The track of each value that needs one, counted from the left."""
    bent = [n for n in nets if not n.straight]
    straight = [n for n in nets if n.straight]
    if len(bent) <= _MOST_ORDERS:
        order = min(permutations(bent), key=lambda o: _badness(o, straight))
    else:
        order = ()
        for n in bent:
            trials = [(*order[:i], n, *order[i:]) for i in range(len(order) + 1)]
            order = min(trials, key=lambda o: _badness(o, straight))
    tracks: dict[int, int] = {}
    for i, n in enumerate(order):
        taken = [tracks[m.net] for m in order[:i] if _meet(m, n)]
        tracks[n.net] = max(taken, default=-1) + 1
    return tracks


def _meet(a: Net, b: Net) -> bool:
    return a.low < b.high + _CLOSE and b.low < a.high + _CLOSE


def _badness(order: Sequence[Net], straight: Sequence[Net]) -> float:
    """Wires on each other count most, crossings next."""
    bad = 0.0
    for i, a in enumerate(order):
        for b in order[i + 1 :]:  # a's track is left of b's
            bad += 100.0 * sum(abs(a_right - b.left) < _CLOSE for a_right in a.rights)
            bad += sum(a.low < b.left < a.high for _ in (0,))
            bad += sum(b.low < y < b.high for y in a.rights)
    return bad


def _columns(
    layout: Layout, widths: Sequence[float], tracks: Sequence[dict[int, int]]
) -> tuple[list[float], list[float]]:
    """The middle and the right edge of each column."""
    middles, edges, x = [], [], 0.0
    for k, column in enumerate(layout.columns):
        width = max((widths[v.part] for v in column if v.part >= 0), default=0.0)
        middles.append(x + width / 2)
        edges.append(x + width)
        if k < len(tracks):
            last = max(tracks[k].values(), default=-1)
            x += width + 2 * MARGIN + (TRACK * last if last >= 0 else 0.0) + 3.0
    return middles, edges


def _path(
    layout: Layout,
    last: Edge,
    levels: dict[int, float],
    at: Sequence[dict[int, float]],
    middles: Sequence[float],
    widths: Sequence[float],
) -> list[Point]:
    """All points of the wire that ends with this piece, from the part where it begins."""
    way = [last]
    while way[0].start.part < 0:
        way.insert(0, next(e for e in layout.edges if e.end is way[0].start))
    first: Vertex = way[0].start
    points: list[Point] = [(middles[first.layer] + widths[first.part] / 2, first.y)]
    for e in way:
        level = levels[id(e)]
        if abs(level - e.start.y) > 0.01:
            x = at[e.start.layer][e.start.net]
            points += [(x, e.start.y), (x, level)]
    x, level, end = middles[last.end.layer], levels[id(last)], last.end
    if last.side == "left":
        points.append((x - widths[end.part] / 2, level))
    else:
        points += [(x, level), (x, end.y + (OP / 2 if last.side == "bottom" else -OP / 2))]
    return points


def _branches(n: Net) -> list[float]:
    """The heights at which a trunk has three or four arms."""
    if n.straight:
        return []
    heights = sorted({n.left, *n.rights})
    return [y for y in heights if (y == n.left) + (y in n.rights) + (y > n.low) + (y < n.high) > 2]


def _pieces(paths: Sequence[tuple[Edge, list[Point]]], dots: Sequence[tuple[int, Point]]) -> list[Wire]:
    """Every wire cut at its dots, each piece once: corners between dots are round, branches are sharp."""
    wires: dict[tuple[int, tuple[Point, ...]], Wire] = {}
    for e, path in paths:
        own = [dot for net, dot in dots if net == e.start.net]
        pieces = [[path[0]]]
        for a, b in pairwise(path):
            between = sorted((d for d in own if _on(d, a, b)), key=lambda d: abs(d[0] - a[0]) + abs(d[1] - a[1]))
            for dot in between:
                pieces[-1].append(dot)
                pieces.append([dot])
            if not between or between[-1] != b:
                pieces[-1].append(b)
        for k, piece in enumerate(pieces):
            points = tuple(p for i, p in enumerate(piece) if i == 0 or p != piece[i - 1])
            head = k == len(pieces) - 1
            if len(points) > 1:
                wires.setdefault((e.start.net, points), Wire(e.start.net, e.end.part, points, head))
    return list(wires.values())


def _on(dot: Point, a: Point, b: Point) -> bool:
    within = min(a[0], b[0]) <= dot[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= dot[1] <= max(a[1], b[1])
    return within and dot != a
