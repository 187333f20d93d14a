"""Values over time as panels under one another: lines for a few features, heat maps for many units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurra.draw.activity import Activity
from recurra.draw.fonts import measure
from recurra.draw.render import SETTINGS, paper
from recurra.draw.text import values_text
from recurra.draw.themes import Colours, Theme, state_role
from recurra.errors import need
from recurra.formatting import number
from recurra.weights import Array

_MOST_LINES = 4  # features that are drawn as lines
_WIDTH, _TALL, _GAP, _TOP, _BOTTOM, _RIGHT = 520.0, 54.0, 10.0, 34.0, 34.0, 68.0  # points
_NUMBER = 62.0  # points: the room of numbers beside an axis, with what is around them
_SIZE, _TICK = 11.0, 10.5  # of letters, and of numbers


@dataclass(frozen=True)
class Panel:
    """One thing over time: `values` [T, units]; `kind` is input, output, state or gate."""

    name: str
    kind: str
    role: str
    values: Array

    @property
    def lines(self) -> bool:
        """Whether it is drawn as lines."""
        return self.kind in ("input", "output") and self.values.shape[1] <= _MOST_LINES

    @property
    def limits(self) -> tuple[float, float]:
        """What the ends of its colours stand for: 0 and 1 of a gate that stays within, else as much to both sides."""
        low, high = float(np.min(self.values)), float(np.max(self.values))
        if self.kind == "gate" and low >= 0 and high <= 1:
            return 0.0, 1.0
        most = max(abs(low), abs(high)) or 1.0
        return -most, most


def panels_of(activity: Activity) -> list[Panel]:
    """The panels of an activity, in their order from the top."""
    panels = [Panel("input", "input", "input", activity.input), Panel("output", "output", "output", activity.output)]
    order = {name.partition(" ")[0]: None for name in activity.states}
    roles = {name: state_role(k) for k, name in enumerate(order)}
    panels += [Panel(n, "state", roles[n.partition(" ")[0]], v) for n, v in activity.states.items()]
    return panels + [Panel(n, "gate", "gate", v) for n, v in activity.gates.items()]


def panels_text(title: str, panels: Sequence[Panel]) -> str:
    """All panels as bars."""
    return "\n\n".join([title, *(values_text(_spoken(p), p.values) for p in panels)]) + "\n"


def _spoken(panel: Panel) -> str:
    return f"{panel.kind} {panel.name}" if panel.kind in ("state", "gate") else panel.name


def panels_figure(title: str, panels: Sequence[Panel], theme: Theme) -> Any:
    """A Matplotlib figure with the panels on one axis of time."""
    need("a picture", "matplotlib", extra="draw")
    import matplotlib

    names = [_spoken(p) for p in panels]
    left = max(measure(name, _SIZE).width for name in names) + _NUMBER
    height = _TOP + _BOTTOM + len(panels) * _TALL + (len(panels) - 1) * _GAP
    with matplotlib.rc_context(SETTINGS):
        figure = paper(_WIDTH, height, theme)
        place: list[float] = [left / _WIDTH, 0.0, (_WIDTH - left - _RIGHT) / _WIDTH, _TALL / height]
        steps = max(len(p.values) for p in panels)
        for k, (panel, name) in enumerate(zip(panels, names, strict=True)):
            place[1] = 1 - (_TOP + (k + 1) * _TALL + k * _GAP) / height
            axes = figure.add_axes((place[0], place[1], place[2], place[3]))
            _paint(figure, axes, panel, theme, steps, place)
            figure.text(
                10 / _WIDTH, place[1] + place[3] / 2, name, size=_SIZE, color=theme[panel.role].text, va="center"
            )
            _dress(axes, theme, last=k == len(panels) - 1)
        centre = place[0] + place[2] / 2
        figure.text(centre, 1 - 20 / height, title, size=13, weight="bold", color=theme["page"].text, ha="center")
        figure.text(centre, 8 / height, "step", size=_SIZE, color=theme["muted"].text, ha="center")
    return figure


def _paint(figure: Any, axes: Any, panel: Panel, theme: Theme, steps: int, place: Sequence[float]) -> None:
    axes.set_facecolor(theme["frame"].fill)
    T, units = panel.values.shape
    first = steps - T + 1  # what has fewer steps is of the last ones
    if panel.lines:
        for k, style in zip(range(units), _styles(), strict=False):
            marker = "o" if T == 1 else ""
            axes.plot(
                np.arange(first, steps + 1),
                panel.values[:, k],
                style,
                marker=marker,
                color=theme[panel.role].line,
                lw=1.5,
            )
        axes.set_xlim(0.5, steps + 0.5)
        axes.margins(y=0.12)
        axes.locator_params(axis="y", nbins=3)
        axes.yaxis.set_major_formatter(lambda value, _: _number(value))
        return
    low, high = panel.limits
    box = (first - 0.5, steps + 0.5, units + 0.5, 0.5)
    image = axes.imshow(
        panel.values.T,
        cmap=_colours(theme, panel, low),
        vmin=low,
        vmax=high,
        aspect="auto",
        interpolation="none",
        extent=box,
    )
    axes.set_xlim(0.5, steps + 0.5)
    axes.set_yticks(sorted({1, units}))
    _within(axes.get_yticklabels(), ("top", "bottom") if units > 1 else ("center",))
    side = figure.add_axes((place[0] + place[2] + 8 / _WIDTH, place[1], 8 / _WIDTH, place[3]))
    bar = figure.colorbar(image, cax=side, ticks=[low, high])
    bar.ax.set_yticklabels([_number(float(f"{v:.2g}")) for v in (low, high)], size=_TICK, color=theme["muted"].text)
    bar.ax.tick_params(length=0, pad=3)
    _within(bar.ax.get_yticklabels(), ("bottom", "top"))
    bar.outline.set_edgecolor(theme["frame"].line)


def _number(value: float) -> str:
    """In a few letters, with a real minus.

    >>> [_number(v) for v in (-0.25, 120, 0, 2.5e-5, 1e9)]
    ['−0.25', '120', '0', '2.5e−5', '1e9']
    """
    return number(value, 4).replace("-", "−")


def _within(labels: Sequence[Any], sides: Sequence[str]) -> None:
    """Labels at the ends of an axis stay beside it, so that those of two panels do not meet."""
    for label, side in zip(labels, sides, strict=False):
        label.set_va(side)


def _styles() -> Iterator[str]:
    yield from ("-", "--", ":", "-.")


def _colours(theme: Theme, panel: Panel, low: float) -> Any:
    """From the page's colour to the panel's own; below zero to that of the opposite."""
    from matplotlib.colors import LinearSegmentedColormap

    own, page = theme[panel.role].line, theme["page"].fill
    if low == 0:
        return LinearSegmentedColormap.from_list("gate", [page, own])
    opposite: Colours = theme["output" if panel.role not in ("output", "state1") else "map"]
    return LinearSegmentedColormap.from_list("state", [opposite.line, page, own])


def _dress(axes: Any, theme: Theme, last: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    for spine in axes.spines.values():
        spine.set(color=theme["frame"].line, linewidth=1.0)
    axes.tick_params(colors=theme["muted"].text, labelsize=_TICK, length=2, labelbottom=last, bottom=last)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
