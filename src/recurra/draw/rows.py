"""Where the rows and columns of a network are: the heights of its layers, the widths of its boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from recurra.draw.fonts import measure
from recurra.draw.labels import Labels, cell_of, words_of
from recurra.draw.lanes import ENTER, LANE, LEAVE, lanes_of, leaving
from recurra.draw.structure import Network

PILL = 27.0  # height of inputs and outputs
MAP = 24.0  # height of a layer without a state
STATE = 19.0  # between the arrows of two states
BAR = 5.0  # thickness of the bar that puts two directions side by side
NODE, WEIGHT, NOTE, NAME = 15.0, 13.0, 13.0, 13.0  # points
LINE = 16.0  # between lines of labels
ENDS = 22.0  # of the arrows that come from before the first step and go on after the last
LOOP = 15.0  # between loops


@dataclass
class Level:
    """The row of a layer: the middle of its boxes (of the second direction's too), their height, its lower end."""

    y: float
    height: float
    bottom: float
    second: float | None = None
    bar: float | None = None  # of the bar above, where two directions go on into a recurrent layer

    @property
    def top(self) -> float:
        """The upper edge of its boxes."""
        return min(self.y, self.y if self.second is None else self.second) - self.height / 2


class Rows:
    """The places of a network's layers, alike in all columns; y is 0 at the middle of the input.

    Args:
        network: whose.
        prime: whether its states and weights are marked, as those of a second network.
        broken: whether the weights of its loops are written in more lines, which are shorter.

    Attributes:
        levels: of the layers, from the input on.
        output_y: the middle of the output.
        width: of a box with states.
        shift: from the middle of a column to the middles of its two directions.
        ends: the length of the arrows before the first step and after the last.
        margin: the room that those take, with their labels.
        pitch: from one column to the next.
        lanes: the lines beside a column.
        aside: the room on its left that those take.
    """

    def __init__(self, network: Network, prime: bool = False, broken: bool = False) -> None:
        self.network = network
        self.broken = broken
        self.labels = Labels(network, prime)
        self.lanes = lanes_of(network.layers)
        self.aside = LANE * (max(w.lane for w in self.lanes) + 1) + 4.0 if self.lanes else 0.0
        self.levels = list(self._levels())
        self.output_y = self._above(len(network.layers)) - PILL / 2
        labels = [measure(t, NODE).width for i in self.labels.recurrent() for t in self.labels.states(i, 0, "10")]
        self.width = max([40.0, *(w + 16 for w in labels)])
        self.shift = self.width / 4 + 5 if network.bidirectional else 0.0
        self.ends = ENDS + (10.0 if self.shift else 0.0) + self.aside
        self.margin = self.ends + 6.0 + max(labels)
        self.pitch = self._pitch()

    @property
    def reach(self) -> float:
        """From the middle of a column to the edge of all that it has."""
        return self.half(False) + self.aside

    def half(self, folded: bool) -> float:
        """From the middle of a column to the edge of its widest box, without what is beside it."""
        names = [measure(layer.name, NAME).width + 16 for layer in self.network.layers if not layer.cell]
        return max([self.shift + (self.folded_width() if folded else self.width) / 2, *(w / 2 for w in names)])

    def straight(self, i: int) -> bool:
        """Whether something comes to row i from the row below it."""
        return i >= len(self.network.layers) or 1 in self.network.layers[i].takes

    def passing(self) -> list[int]:
        """The layers whose last states an encoder passes on: all, but of two directions the uppermost only."""
        return [self.network.last] if self.network.bidirectional else self.labels.recurrent()

    def state_heights(self, i: int, direction: int) -> list[tuple[int, float]]:
        """Each state of a layer by its index, and the height of its arrow: the first lowest."""
        level, count = self.levels[i], len(cell_of(self.network.layers[i]).states)
        middle = level.y if direction == 0 or level.second is None else level.second
        return [(s, middle + ((count - 1) / 2 - s) * STATE) for s in range(count)]

    def _levels(self) -> Iterator[Level]:
        bottom = -PILL / 2
        for i, layer in enumerate(self.network.layers):
            bottom -= self.gap(i)
            height = MAP
            if layer.cell:
                lines = len(words_of(layer.name)) + 1
                height = max(
                    36.0, STATE * len(layer.cell.states) + (16 if layer.directions == 2 else 8), 16.0 * lines + 8
                )
            level = Level(bottom - height / 2, height, bottom)
            if layer.directions == 2:
                level.second = level.y - height - 16
            forked = layer.directions == 2 or self.forks(i + 1)
            goes_on = i < self.network.last and self.network.layers[i + 1].cell
            if layer.cell and ((forked and goes_on) or (layer.directions == 2 and leaving(self.lanes, i))):
                level.bar = level.top - 14
            bottom = level.top if level.bar is None else level.bar - BAR / 2
            yield level

    def _above(self, i: int) -> float:
        """The lower edge of what stands above layer i - 1."""
        level = self.levels[i - 1]
        return (level.top if level.bar is None else level.bar - BAR / 2) - self.gap(i)

    def gap(self, i: int) -> float:
        """The room below a row, for the labels of its weights."""
        lines = max(len(self.labels.inputs(i, 0)), 2 if self.forks(i) else 0)
        beside = LEAVE * len(leaving(self.lanes, i - 1)) + (0.0 if self.straight(i) else ENTER)
        return max(20.0, 10.0 + LINE * lines) + beside

    def _pitch(self) -> float:
        """From column to column: room for the labels between them, and for the boxes without a state."""
        arrows = [measure(t, WEIGHT).width for i in self.labels.recurrent() for t in self.labels.arrows(i, 0)]
        between = self.width + max([30.0, *(w + 16 for w in arrows)]) + (10.0 if self.shift else 0.0) + self.aside
        inputs = [
            measure(t, WEIGHT).width
            for i in self.labels.recurrent()
            if self.forks(i)
            for t in self.labels.short_inputs(i, 1)
        ]
        names = [measure(layer.name, NAME).width + 30 + self.aside for layer in self.network.layers if not layer.cell]
        return max([between, *names, *(2 * self.shift + w + 12 for w in inputs)])

    def forks(self, i: int) -> bool:
        """Whether layer i reads in both directions, so that two lines come up to it."""
        return i < len(self.network.layers) and self.network.layers[i].directions == 2

    def joins(self, i: int) -> bool:
        """Whether two lines come up from layer i - 1."""
        return self.forks(i - 1) if i else False

    def folded_width(self) -> float:
        """Of a box with the cell's name and its states."""
        words = [
            measure(w, NAME, True).width for i in self.labels.recurrent() for w in words_of(self.network.layers[i].name)
        ]
        states = [
            measure(self.labels.state_line(i, d, "t"), NODE).width for i in self.labels.recurrent() for d in (0, 1)
        ]
        return max([56.0, *(w + 18 for w in words + states)])

    def above_below(self, i: int) -> float:
        """The height of the lowest label below row i."""
        return self.middle_below(i) + (LINE * len(self.labels.inputs(i, 0)) + 1) / 2 - 2

    def middle_below(self, i: int) -> float:
        """The middle of the room below row i."""
        lower = self.levels[i].bottom if i < len(self.levels) else self.output_y + PILL / 2
        return lower + self.gap(i) / 2
