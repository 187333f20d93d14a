"""One step of a network as a column: the input below, its layers above one another, the output on top.

All columns of a network have the same rows, whether folded or unrolled, so that they stand on one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from recurra.cells.printing import latex_name
from recurra.draw.fonts import measure
from recurra.draw.labels import cell_of, words_of
from recurra.draw.lanes import ENTER, LANE, LEAVE, arriving, leaving
from recurra.draw.rows import BAR, LINE, LOOP, NAME, NODE, NOTE, PILL, WEIGHT, Rows
from recurra.draw.scene import Arrow, Box, Dot, Label, Scene
from recurra.draw.structure import shape_text
from recurra.draw.themes import state_role

_LONG = 60.0  # points: what is longer is broken where there is little room


@dataclass
class Column:
    """What was drawn: the boxes of each layer by direction, and the sides."""

    x: float
    left: float
    right: float
    boxes: dict[int, list[Box]] = field(default_factory=dict)
    outlet: Box | None = None


class Columns(Rows):
    """The drawing of single columns."""

    def draw(
        self, scene: Scene, x: float, t: str, inlet: str, outlet: str, folded: bool = False, split: bool = False
    ) -> Column:
        """Draw the column at x of step t; without an inlet or outlet the layers that belong to it are left out.

        With `split` the uppermost recurrent layer's directions are left open above; `cross` joins them.
        """
        first, last = self.network.first, self.network.last
        width = self.folded_width() if folded else self.width
        shift = width / 4 + 5 if self.network.bidirectional else 0.0
        column = Column(x, x - self.reach, x + self.reach)
        below: list[tuple[float, float]] = []  # where lines go on upwards
        tops: dict[int, float] = {}  # the heights from which they do
        if inlet:
            fork = self.forks(0)
            box = self._pill(scene, x, 0.0, inlet, "input", 2 * shift + 18 if fork else 0.0, self.labels.prime)
            below = self._tops(box, shift if fork else 0.0)
            tops[-1] = below[0][1]
            if folded and self.network.input_width is not None:
                text = shape_text([self.network.input_width])
                scene.labels.append(Label(box.bounds.right + 5, 0, text, NOTE, "muted", "start"))
        for i, layer in enumerate(self.network.layers):
            if (i < first and not inlet) or (i > last and not outlet):
                continue
            boxes = self._boxes(scene, i, x, t, width, shift, folded)
            column.boxes[i] = boxes
            below = below if self.straight(i) else [(x, self.levels[i].bottom + ENTER)]
            self._upwards(scene, i, below, boxes, folded)
            if i == last and split:
                below = [(boxes[0].x, boxes[0].bounds.top)] if outlet else []
                continue
            below = [(b.x, b.bounds.top) for b in boxes]
            bar = self.levels[i].bar
            if bar is not None:
                below = self._bar(scene, i, x, bar, below, shift)
            elif len(boxes) == 1 and self.forks(i + 1):
                below = self._tops(boxes[0], shift)
            tops[i] = below[0][1]
            if layer.cell and folded:
                self._loops(scene, i, boxes)
        if outlet:
            joined = self.joins(len(self.network.layers))
            box = self._pill(scene, x, self.output_y, outlet, "output", 2 * shift + 18 if joined else 0.0)
            column.outlet = box
            self._upwards(scene, len(self.network.layers), below, [box], folded)
        self._beside(scene, column, tops, x - self.half(folded))
        return column

    def _beside(self, scene: Scene, column: Column, tops: dict[int, float], edge: float) -> None:
        """The lines on the lanes left of an edge, between rows that are drawn."""
        for lane in self.lanes:
            if lane.source not in tops or lane.target not in column.boxes:
                continue
            out, back = leaving(self.lanes, lane.source), arriving(self.lanes, lane.target)
            start = tops[lane.source]
            y = start - LEAVE * (len(out) - out.index(lane))
            far, to = edge - LANE * (lane.lane + 1), column.boxes[lane.target][0].bounds
            points = [(column.x, y), (far, y)]
            if self.straight(lane.source + 1) or lane != out[0]:
                scene.dots.append(Dot(column.x, y))
            else:
                points.insert(0, (column.x, start))
            if self.straight(lane.target) or len(back) > 1:
                between = min(8.0, 20.0 / len(back))
                end = (to.top + to.bottom) / 2 + between * ((len(back) - 1) / 2 - back.index(lane))
                points += [(far, end), (to.left, end)]
            else:
                end = to.bottom + ENTER
                points += [(far, end), (column.x, end), (column.x, to.bottom)]
            scene.arrows.append(Arrow(tuple(points), "page"))

    def connect(self, scene: Scene, before: Column, after: Column, whole: bool = True) -> None:
        """The arrows of all states from one step to the next, with what multiplies them.

        Where they are not `whole`, steps are left out between.
        """
        for i in self.labels.recurrent():
            for direction, (a, b) in enumerate(zip(before.boxes[i], after.boxes[i], strict=True)):
                left, right = a.bounds.right, b.bounds.left
                for (s, y), text in zip(
                    self.state_heights(i, direction), self.labels.arrows(i, direction), strict=True
                ):
                    ends = ((left, y), (right, y)) if direction == 0 else ((right, y), (left, y))
                    scene.arrows.append(Arrow(ends, state_role(s)))
                    middle = (left + right) / 2 + self._free(direction)
                    if whole:
                        scene.labels.append(Label(middle, y - 8.5, text, WEIGHT, state_role(s)))
                    else:
                        scene.labels.append(Label(middle, y, "···", WEIGHT, state_role(s), bold=True, over=True))

    def _free(self, direction: int) -> float:
        """How far a label moves from the vertical lines that cross its arrow."""
        return (0.0 if not self.shift else 5.0 if direction == 0 else -5.0) - self.aside / 2

    def begin(self, scene: Scene, drawn: Sequence[Column], count: int, from_label: bool, ends: bool) -> None:
        """The states before the first step and after the last of `count`; of a second direction on the other sides."""
        for i in self.labels.recurrent():
            for direction, (first, last) in enumerate(zip(drawn[0].boxes[i], drawn[-1].boxes[i], strict=True)):
                start, stop = ("0", str(count)) if direction == 0 else (str(count + 1), "1")
                near, far = (first, last) if direction == 0 else (last, first)
                sign = 1 if direction == 0 else -1
                a = near.x - sign * near.width / 2
                b = far.x + sign * far.width / 2
                sides = ("end", "start") if direction == 0 else ("start", "end")
                for s, y in self.state_heights(i, direction):
                    texts = [self.labels.states(i, direction, t)[s] for t in (start, stop)]
                    if from_label or direction:
                        scene.arrows.append(Arrow(((a - sign * self.ends, y), (a, y)), state_role(s)))
                        where = a - sign * (self.ends + 4)
                        scene.labels.append(Label(where, y, texts[0], NODE, state_role(s), sides[0]))
                    if ends:
                        scene.arrows.append(Arrow(((b, y), (b + sign * self.ends, y)), state_role(s)))
                        where = b + sign * (self.ends + 4)
                        scene.labels.append(Label(where, y, texts[1], NODE, state_role(s), sides[1]))

    def cross(self, scene: Scene, drawn: Sequence[Column]) -> None:
        """Many-to-one of two directions: the second ends its reading at the first step, and goes over to the last."""
        last = self.network.last
        start, end = drawn[0].boxes[last][1], drawn[-1].boxes[last][1]
        above = drawn[-1].boxes.get(last + 1, [drawn[-1].outlet])[0]
        assert above is not None
        level = start.bounds.top - 14
        points = ((start.x, start.bounds.top), (start.x, level), (end.x, level), (end.x, above.bounds.bottom))
        scene.arrows.append(Arrow(points, "page"))

    def _pill(self, scene: Scene, x: float, y: float, text: str, role: str, least: float, dashed: bool = False) -> Box:
        width = max(36.0, least, measure(text, NODE).width + 16)
        return scene.box(Box(x, y, width, PILL, role, "pill", dashed), Label(x, y, text, NODE, role))

    def _tops(self, box: Box, shift: float) -> list[tuple[float, float]]:
        top = box.bounds.top
        return [(box.x - shift, top), (box.x + shift, top)] if shift else [(box.x, top)]

    def _bar(
        self, scene: Scene, i: int, x: float, y: float, below: Sequence[tuple[float, float]], shift: float
    ) -> list[tuple[float, float]]:
        bar = scene.box(Box(x, y, 2 * shift + 16, BAR, "join"))
        scene.arrows += [Arrow(((a, top), (a, bar.bounds.bottom)), "page", False) for a, top in below]
        return self._tops(bar, shift if self.forks(i + 1) else 0.0)

    def _boxes(self, scene: Scene, i: int, x: float, t: str, width: float, shift: float, folded: bool) -> list[Box]:
        layer, level = self.network.layers[i], self.levels[i]
        if not layer.cell:
            least = 2 * shift + 18 if self.joins(i) or self.forks(i + 1) else 36.0
            wide = max(least, measure(layer.name, NAME).width + 16)
            label = Label(x, level.y, layer.name, NAME, "map")
            return [scene.box(Box(x, level.y, wide, level.height, "map"), label)]
        boxes = []
        for direction in range(layer.directions):
            side = 0.0 if layer.directions == 1 else shift * (1 if direction else -1)
            y = level.y if direction == 0 or level.second is None else level.second
            box = Box(x + side, y, width, level.height, "recurrent")
            states = self.labels.states(i, direction, t)
            if folded:
                lines = [*words_of(layer.name), self.labels.state_line(i, direction, t)]
                labels = [
                    Label(
                        box.x,
                        y + 16 * (k - (len(lines) - 1) / 2),
                        text,
                        NAME,
                        "recurrent",
                        "middle",
                        text in layer.name,
                    )
                    for k, text in enumerate(lines)
                ]
            else:
                labels = [
                    Label(box.x, height, text, NODE, state_role(s) if len(states) > 1 else "recurrent")
                    for (s, height), text in zip(self.state_heights(i, direction), states, strict=True)
                ]
            boxes.append(scene.box(box, *labels))
        return boxes

    def _upwards(
        self, scene: Scene, i: int, below: Sequence[tuple[float, float]], boxes: Sequence[Box], folded: bool
    ) -> None:
        """The lines into a row, with its weights beside them: all with their shapes, or W alone."""
        two = len(below) == 2 and len(boxes) == 2
        for k, (x, y) in enumerate(below):
            to = boxes[k] if two else boxes[0]
            if self.straight(i):
                scene.arrows.append(Arrow(((x, y), (x, to.bounds.bottom)), "page"))
            texts = self.labels.inputs(i, k) if folded else self.labels.short_inputs(i, k)
            if k and not two:
                continue  # two lines into one box: one label
            left = two and k == 0
            at = x if two or len(boxes) == 2 else max(self._right_line(i, boxes[0], folded), x)
            lowest = self.above_below(i) - 5 if folded or len(texts) < 2 else y
            stair = LINE * (0.5 - k) if two else 0.0  # or it would meet the label of the next column
            for line, text in enumerate(texts):
                height = lowest + LINE * (line - (len(texts) - 1)) if folded else self.middle_below(i) + stair
                role = "page" if text.startswith("$") else "muted"
                anchor, side = ("end", -6.0) if left else ("start", 6.0)
                scene.labels.append(Label(at + side, height, text, WEIGHT if not folded else NOTE, role, anchor))

    def _right_line(self, i: int, box: Box, folded: bool) -> float:
        """The right one of the lines into a box."""
        width = self.folded_width() if folded else self.width
        return box.x + (width / 4 + 5 if self.joins(i) else 0.0)

    def _loops(self, scene: Scene, i: int, boxes: Sequence[Box]) -> None:
        """The feedback: from the side of a box and back into it, one for each state, the first outermost."""
        layer = self.network.layers[i]
        cell = cell_of(layer)
        count = len(cell.states)
        for direction, box in enumerate(boxes):
            sign = -1 if len(boxes) == 2 and direction == 0 else 1
            side = box.x + sign * box.width / 2
            names = [f"${latex_name(state)}$" for state in cell.states]
            reach = 0.0  # of the loop within: beside each line, inwards, stands its state, so that no line is broken
            for s, name in reversed(list(enumerate(names))):
                room = max(LOOP, measure(name, NOTE).width + 7.0)
                room = max(room, 20.0) if s == count - 1 else room
                reach += room
                half, far = 9.0 + 7.0 * (count - 1 - s), side + sign * reach
                points = ((side, box.y - half), (far, box.y - half), (far, box.y + half), (side, box.y + half))
                scene.arrows.append(Arrow(points, state_role(s)))
                scene.labels.append(Label(far - sign * room / 2, box.y, name, NOTE, state_role(s)))
            texts = self.labels.loops(i, direction)
            if self.broken:
                texts = [line for text in texts for line in _broken(text)]
            x = side + sign * (reach + 9.0)
            for line, text in enumerate(texts):
                y = box.y + LINE * (line - (len(texts) - 1) / 2)
                scene.labels.append(Label(x, y, text, NOTE, "page", "start" if sign > 0 else "end"))


def _broken(text: str) -> list[str]:
    """A symbol and its shape in two lines, where they are long."""
    symbol, bracket, shape = text.partition(" [")
    return [symbol, bracket.strip() + shape] if measure(text, NOTE).width > _LONG else [text]
