"""The shape of a line on paper: its bends are round, and where another line crosses it, it goes over it in a bridge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from recurra.draw.scene import Arrow, Point

BEND = 5.0  # radius of a bend
HEAD = (7.0, 3.2)  # length and half the width of an arrow's head
HOP = 4.0  # radius of a bridge
_ROUND = 0.5523  # of a radius: where the handles of a quarter of a circle are


class Crossing(NamedTuple):
    """Where two lines cross: the one that goes over the other, by its index, which of its pieces, and where."""

    arrow: int
    piece: int
    at: Point


class Curve(NamedTuple):
    """A piece of an outline that ends at `end`: straight without handles, else a cubic curve."""

    end: Point
    handles: tuple[Point, Point] | None = None


def crossings(arrows: Sequence[Arrow]) -> list[Crossing]:
    """Where lines cross; the one across goes over the one upwards, unless only that has the room.

    >>> crossings([Arrow(((0, 0), (40, 0))), Arrow(((20, -30), (20, 30)))])
    [Crossing(arrow=0, piece=0, at=(20, 0))]
    """
    pieces = [(i, k, a, b) for i, arrow in enumerate(arrows) for k, (a, b) in enumerate(pairwise(arrow.points))]
    across = [p for p in pieces if p[2][1] == p[3][1]]
    upwards = [p for p in pieces if p[2][0] == p[3][0]]
    found = []
    for i, k, a, b in across:
        for j, n, c, d in upwards:
            at = (c[0], a[1])
            rooms = [_room(arrows[i], k, at), _room(arrows[j], n, at)]
            if min(a[0], b[0]) < at[0] < max(a[0], b[0]) and min(c[1], d[1]) < at[1] < max(c[1], d[1]):
                over = rooms[0] >= min(HOP, rooms[1])
                found.append(Crossing(i, k, at) if over else Crossing(j, n, at))
    return found


def outline(arrow: Arrow, bridges: Sequence[Crossing] = ()) -> tuple[Point, list[Curve]]:
    """Where a line begins, and its pieces; of one with a head up to that, so that it does not stand out behind it."""
    points = list(arrow.points)
    if arrow.head:
        points[-1] = _towards(points[-1], points[-2], 0.8 * HEAD[0])
    curves: list[Curve] = []
    for k, (a, b) in enumerate(pairwise(points)):
        curves += _straight(a, [c.at for c in bridges if c.piece == k], arrow, k)
        if k + 2 < len(points):
            r = _radius(points, k + 1)
            begin, end = _towards(b, a, r), _towards(b, points[k + 2], r)
            curves += [Curve(begin), Curve(end, (_between(begin, b), _between(end, b)))]
        else:
            curves.append(Curve(b))
    return points[0], curves


def _straight(a: Point, bridges: Sequence[Point], arrow: Arrow, piece: int) -> Iterator[Curve]:
    """The bridges of a straight piece that begins at a, in their order."""
    ordered = sorted(bridges, key=lambda at: _distance(a, at))
    for n, (x, y) in enumerate(ordered):
        beside = [_distance(other, (x, y)) / 2 for other in (*ordered[:n], *ordered[n + 1 :])]
        r = min([HOP, _room(arrow, piece, (x, y)), *beside])
        (x0, y0), (x1, y1) = arrow.points[piece : piece + 2]
        u, v = _sign(x1 - x0), _sign(y1 - y0)
        n_x, n_y = (0.0, -1.0) if u else (1.0, 0.0)  # bridges go upwards, or to the right
        begin, end, top = (x - r * u, y - r * v), (x + r * u, y + r * v), (x + r * n_x, y + r * n_y)
        k = _ROUND * r
        yield Curve(begin)
        yield Curve(top, ((begin[0] + k * n_x, begin[1] + k * n_y), (top[0] - k * u, top[1] - k * v)))
        yield Curve(end, ((top[0] + k * u, top[1] + k * v), (end[0] + k * n_x, end[1] + k * n_y)))


def _room(arrow: Arrow, piece: int, at: Point) -> float:
    """How far the straight line goes on from a point of a piece, up to bends and the head."""
    points = arrow.points
    before = _radius(points, piece) if piece else 0.0
    last = piece + 2 == len(points)
    after = (HEAD[0] if arrow.head else 0.0) if last else _radius(points, piece + 1)
    return max(min(_distance(points[piece], at) - before, _distance(points[piece + 1], at) - after), 1.0)


def _radius(points: Sequence[Point], corner: int) -> float:
    """Of a bend, as far as the pieces beside it are long enough."""
    before, at, after = points[corner - 1 : corner + 2]
    return min(BEND, _distance(before, at) / 2, _distance(at, after) / 2)


def _sign(value: float) -> float:
    return float((value > 0) - (value < 0))


def _distance(a: Point, b: Point) -> float:
    return float(abs(a[0] - b[0]) + abs(a[1] - b[1]))


def _towards(a: Point, b: Point, r: float) -> Point:
    share = r / (_distance(a, b) or 1.0)
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])


def _between(end: Point, corner: Point) -> Point:
    """The handle of a cubic curve that is the quadratic one around a corner."""
    return end[0] + 2 / 3 * (corner[0] - end[0]), end[1] + 2 / 3 * (corner[1] - end[1])
