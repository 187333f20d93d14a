"""What a picture is made of, before anything is painted: boxes, arrows and labels in their places.

Units are points; x grows to the right and y downwards. A scene knows its own bounds and what overlaps in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.draw.fonts import measure

Point = tuple[float, float]
MARGIN = 12.0  # points around a picture
SHOWN = 400.0  # pixels: the narrowest at which a picture has to be read, on a phone or beside a text
LEGIBLE = 8.0  # pixels of the smallest letters there


class Bounds(NamedTuple):
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """From side to side."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """From top to bottom."""
        return self.bottom - self.top


@dataclass(frozen=True)
class Box:
    """A shape around (x, y): `round` (a box with round corners), `pill`, or `frame` (behind everything)."""

    x: float
    y: float
    width: float
    height: float
    role: str
    shape: str = "round"
    dashed: bool = False

    @cached_property
    def bounds(self) -> Bounds:
        """Its rectangle."""
        w, h = self.width / 2, self.height / 2
        return Bounds(self.x - w, self.y - h, self.x + w, self.y + h)


@dataclass(frozen=True)
class Label:
    """A text whose middle line is at y and whose `anchor` (start, middle, end) is at x; `$...$` is mathematics.

    With `over` it stands on a line, which is interrupted for it.
    """

    x: float
    y: float
    text: str
    size: float = 11.0
    role: str = "page"
    anchor: str = "middle"
    bold: bool = False
    over: bool = False

    @property
    def baseline(self) -> float:
        """Where the letters stand: capitals are then centred on y, and neighbours on one line share their baseline."""
        return self.y + 0.36 * self.size

    @cached_property
    def bounds(self) -> Bounds:
        """The rectangle of its ink."""
        width, ascent, descent = measure(self.text, self.size, self.bold)
        left = self.x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor]
        return Bounds(left, self.baseline - ascent, left + width, self.baseline + descent)


@dataclass(frozen=True)
class Arrow:
    """A line with right-angled, rounded bends, and a head at its end unless told otherwise."""

    points: tuple[Point, ...]
    role: str = "page"
    head: bool = True
    dashed: bool = False

    @cached_property
    def segments(self) -> tuple[Bounds, ...]:
        """Each straight piece as a flat rectangle."""
        ends = zip(self.points, self.points[1:], strict=False)
        return tuple(Bounds(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)) for (x0, y0), (x1, y1) in ends)


@dataclass(frozen=True)
class Dot:
    """Where a line branches."""

    x: float
    y: float
    role: str = "page"


@dataclass
class Scene:
    """A picture: what is in it, and what it says of itself to those who cannot see it."""

    title: str
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    key: Scene | None = None  # the legend, which is no part of what is drawn

    def box(self, box: Box, *lines: Label) -> Box:
        """Add a box with labels on it."""
        self.boxes.append(box)
        self.labels.extend(lines)
        return box

    def bounds(self) -> Bounds:
        """The rectangle around everything."""
        parts = [b.bounds for b in self.boxes] + [t.bounds for t in self.labels]
        parts += [s for a in self.arrows for s in a.segments]
        parts += [self.key.bounds()] if self.key else []
        lefts, tops, rights, bottoms = zip(*parts, strict=True)
        return Bounds(min(lefts), min(tops), max(rights), max(bottoms))

    def letters(self) -> float:
        """The size of the smallest letters in pixels, where the picture is shown 400 pixels wide.

        >>> round(Scene("", [Box(0, 0, 576, 40, "op")], labels=[Label(0, 0, "word", 12.0)]).letters(), 6)
        8.0
        """
        smallest: float = min(t.size for t in (*self.labels, *(self.key.labels if self.key else ())))
        return smallest * SHOWN / (self.bounds().width + 2 * MARGIN)

    def moved(self, dx: float, dy: float) -> Scene:
        """The same picture elsewhere."""
        return Scene(
            self.title,
            [replace(b, x=b.x + dx, y=b.y + dy) for b in self.boxes],
            [replace(a, points=tuple((x + dx, y + dy) for x, y in a.points)) for a in self.arrows],
            [replace(d, x=d.x + dx, y=d.y + dy) for d in self.dots],
            [replace(t, x=t.x + dx, y=t.y + dy) for t in self.labels],
            self.key.moved(dx, dy) if self.key else None,
        )

    def add(self, other: Scene) -> None:
        """Put another scene into this one."""
        self.boxes += other.boxes
        self.arrows += other.arrows
        self.dots += other.dots
        self.labels += other.labels

    def overlaps(self) -> list[str]:
        """What a reader would stumble over: texts that touch other texts, lines, or boxes that are not theirs.

        >>> scene = Scene("two words in one place", labels=[Label(0, 0, "one"), Label(4, 0, "two")])
        >>> scene.overlaps()
        ["'one' meets 'two'"]
        """
        found = [*self._texts_on_texts(), *self._texts_on_lines()]
        found += [*self._boxes_on_boxes(), *self._lines_through_boxes()]
        return found + (self.key.overlaps() if self.key else [])

    def _solid(self) -> list[Box]:
        return [b for b in self.boxes if b.shape != "frame"]

    def _lines(self) -> NDArray[np.float64]:
        return _rectangles(s for a in self.arrows for s in a.segments)

    def _texts_on_texts(self) -> Iterator[str]:
        inks = _rectangles(t.bounds for t in self.labels)
        for i, j in np.argwhere(np.triu(_meeting(inks, inks, 0.5), 1)):
            yield f"{self.labels[i].text!r} meets {self.labels[j].text!r}"

    def _texts_on_lines(self) -> Iterator[str]:
        solid, inks = self._solid(), _rectangles(t.bounds for t in self.labels)
        boxes = _rectangles(b.bounds for b in solid)
        within = _within(inks, boxes)
        for i, j in np.argwhere(_meeting(inks, boxes, 0.5) & ~within):
            yield f"{self.labels[i].text!r} sticks out of a box at {solid[j].x:.0f}, {solid[j].y:.0f}"
        covered = [bool(row.any()) for row in within]  # boxes are painted over lines
        crossed = _crossing(self._lines(), inks).sum(0)
        for label, inside, count in zip(self.labels, covered, crossed, strict=True):
            if count and not inside and not (label.over and count == 1):
                yield f"{label.text!r} is on a line"

    def _boxes_on_boxes(self) -> Iterator[str]:
        solid = self._solid()
        boxes = _rectangles(b.bounds for b in solid)
        for i, j in np.argwhere(np.triu(_meeting(boxes, boxes), 1)):
            yield f"boxes meet at {solid[i].x:.0f}, {solid[i].y:.0f} and {solid[j].x:.0f}, {solid[j].y:.0f}"

    def _lines_through_boxes(self) -> Iterator[str]:
        solid = self._solid()
        inner = _rectangles(b.bounds for b in solid) + np.array([1, 1, -1, -1])
        for _, j in np.argwhere(_crossing(self._lines(), inner)):
            yield f"a line goes through the box at {solid[j].x:.0f}, {solid[j].y:.0f}"


def _rectangles(bounds: Iterable[Bounds]) -> NDArray[np.float64]:
    """[N, 4] of left, top, right and bottom."""
    return np.array(list(bounds), np.float64).reshape(-1, 4)


def _meeting(a: NDArray[np.float64], b: NDArray[np.float64], slack: float = 0.0) -> NDArray[np.bool_]:
    """[N, M]: which of N rectangles share more than `slack` in both directions with which of M."""
    shared = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2])
    return np.asarray((shared > slack).all(-1))


def _crossing(lines: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N, M]: which of N lines, which have no width, enter which of M rectangles."""
    return np.asarray(((lines[:, None, :2] < boxes[:, 2:]) & (lines[:, None, 2:] > boxes[:, :2])).all(-1))


def _within(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N, M]: which of N rectangles are inside which of M."""
    return np.asarray(((a[:, None, :2] >= b[:, :2]) & (a[:, None, 2:] <= b[:, 2:])).all(-1))
