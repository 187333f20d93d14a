"""The lines beside a column: from what branches off below to what it is put together with above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from recurra.draw.structure import Layer

LANE = 9.0  # between two lines beside a column, and from a box to the first
LEAVE = 7.0  # above a row, to the height at which a line leaves
ENTER = 13.0  # below a row, to the height at which a line comes back


class Lane(NamedTuple):
    """A line from above one row (-1 is the input) to another, on one of the lanes from the column outwards."""

    source: int
    target: int
    lane: int


def lanes_of(layers: Sequence[Layer]) -> list[Lane]:
    """Those of a network, the shorter ones nearer to the column; what comes from the row below needs none.

    >>> lanes_of([Layer("a"), Layer("b"), Layer("+", takes=(3, 1)), Layer("+", takes=(4, 1))])
    [Lane(source=-1, target=2, lane=0), Lane(source=-1, target=3, lane=1)]
    """
    wires = []
    for i, layer in enumerate(layers):
        straight = layer.takes.index(1) if 1 in layer.takes else None
        wires += [(i - d, i) for k, d in enumerate(layer.takes) if k != straight]
    found: list[Lane] = []
    for source, target in sorted(wires, key=lambda w: (w[1] - w[0], w)):
        taken = {w.lane for w in found if w.source < target and source < w.target}
        found.append(Lane(source, target, next(n for n in range(len(wires)) if n not in taken)))
    return found


def leaving(lanes: Sequence[Lane], row: int) -> list[Lane]:
    """Those that leave above a row, from the nearest lane on."""
    return sorted((w for w in lanes if w.source == row), key=lambda w: w.lane)


def arriving(lanes: Sequence[Lane], row: int) -> list[Lane]:
    """Those that come to a row."""
    return sorted((w for w in lanes if w.target == row), key=lambda w: w.lane)
