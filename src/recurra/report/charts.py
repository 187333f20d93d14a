"""Charts of a page: Matplotlib figures turned into inline SVG.

They are drawn in `COLOURS`, and each of those becomes a variable of the page's style, so one picture serves the light
and the dark theme; their text stays text.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recurra.draw.themes import PAGE, by_name
from recurra.errors import need
from recurra.report.page import Chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {name: light for name, (light, _) in PAGE.items()}
LINES = ("accent", "second", "third", "fourth", "muted")
BARS = ("accent", "muted", "second", "third", "fourth")
DASHED = (0, (2, 1.5))
_DASHES = ("solid", (0, (4, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))


@dataclass(frozen=True)
class Line:
    """One line of a chart; without a label it is not in the legend.

    Attributes:
        label: what it is called.
        x, y: its points; NaN is a gap.
        colour: a key of `COLOURS`.
        dash: as Matplotlib takes it.
        width: in points.
        marker: at each point, or "".
    """

    label: str
    x: ArrayLike
    y: ArrayLike
    colour: str = "accent"
    dash: Any = "solid"
    width: float = 1.5
    marker: str = ""


def told_apart(i: int) -> dict[str, Any]:
    """Colour and dash of the i-th line of several."""
    colours = LINES[:4]
    return {"colour": colours[i % len(colours)], "dash": _DASHES[i // len(colours) % len(_DASHES)]}


def axes(width: float = 4.7, height: float = 2.5, **labels: str) -> tuple[Figure, Any]:
    """A figure of one chart in the house's style and its axes; sizes in inches, `labels` as `Axes.set` takes them.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    need("a chart", "matplotlib", extra="draw")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.add_subplot()
    ax.set(**labels)
    styled(ax)
    return figure, ax


def styled(ax: Any) -> None:
    """Give axes the house's style."""
    ax.grid(axis="y", color=COLOURS["line"], linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(COLOURS["line"])
    ax.tick_params(which="both", length=0, labelsize=8.5, labelcolor=COLOURS["muted"])
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=COLOURS["muted"], fontsize=8.5)


def draw_lines(ax: Any, curves: Sequence[Line]) -> None:
    """Draw lines on some axes."""
    for one in curves:
        ax.plot(
            one.x,
            one.y,
            color=COLOURS[one.colour],
            linestyle=one.dash,
            linewidth=one.width,
            marker=one.marker,
            markersize=2.5,
            label=one.label or None,
        )


def lines(
    caption: str,
    curves: Sequence[Line],
    *,
    x: str,
    y: str,
    height: float = 2.5,
    from_zero: bool = False,
    log: bool = False,
    floor: float = 0.0,
    marks: Sequence[tuple[str, float]] = (),
    whole: bool = False,
    wide: bool = False,
    to: float | None = None,
) -> Chart:
    """A chart of lines.

    Args:
        caption: what is to be seen, with its numbers.
        curves: from the first in the legend on.
        x, y: what the axes measure.
        height: in inches.
        from_zero: whether the vertical axis begins at zero.
        log: whether it is logarithmic.
        floor: a logarithmic axis goes no lower.
        marks: dotted lines across: ("x" or "y", where).
        whole: whether the horizontal axis has whole numbers only.
        wide: whether it is as wide as the page.
        to: where the vertical axis ends; None: by the curves.
    """
    figure, ax = axes(9.6 if wide else 4.7, height, xlabel=x, ylabel=y)
    draw_lines(ax, curves)
    if log:
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        ax.set_ylim(max(low, floor / 3), high)
    for axis, at in marks:
        (ax.axvline if axis == "x" else ax.axhline)(at, color=COLOURS["muted"], linewidth=0.8, linestyle=":")
    if from_zero:
        ax.set_ylim(bottom=0)
    if to is not None:
        ax.set_ylim(top=1.02 * to)
    if whole:
        ax.xaxis.get_major_locator().set_params(integer=True)
    legend(ax)
    return chart(figure, caption, wide)


def bars(caption: str, labels: Sequence[str], values: Mapping[str, ArrayLike], *, x: str, y: str) -> Chart:
    """Several numbers for each label, side by side; of many labels some are written."""
    figure, ax = axes(4.7, 2.4, xlabel=x, ylabel=y)
    places, width = np.arange(len(labels)), 0.8 / len(values)
    for k, (colour, (name, heights)) in enumerate(zip(BARS, values.items(), strict=False)):
        ax.bar(places + (k + 0.5) * width - 0.4, heights, width, color=COLOURS[colour], label=name)
    every = max(1, len(labels) // 8)
    ax.set_xticks(places[::every], labels[::every])
    legend(ax)
    return chart(figure, caption)


def histogram(caption: str, edges: ArrayLike, counts: ArrayLike, *, x: str, y: str) -> Chart:
    """How many values lie between neighbouring edges."""
    figure, ax = axes(4.7, 2.8, xlabel=x, ylabel=y)
    ax.stairs(counts, edges, fill=True, color=COLOURS["accent"])
    ax.axvline(0, color=COLOURS["ink"], linewidth=0.8)
    return chart(figure, caption)


def against(caption: str, truth: ArrayLike, predicted: ArrayLike, *, x: str, y: str) -> Chart:
    """Points with the diagonal on which both are equal, on axes of one scale."""
    figure, ax = axes(4.7, 3.6, xlabel=x, ylabel=y)
    ax.grid(axis="x", color=COLOURS["line"], linewidth=0.7)
    both = numbers([*np.ravel(truth), *np.ravel(predicted)])
    low, high = (float(f(both)) for f in (np.nanmin, np.nanmax))
    room = 0.04 * (high - low or 1.0)
    ends = [low - room, high + room]
    ax.plot(ends, ends, color=COLOURS["muted"], linewidth=0.9, linestyle=DASHED)
    ax.scatter(truth, predicted, s=9, color=COLOURS["accent"], alpha=0.55, linewidths=0)
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    return chart(figure, caption)


def chart(figure: Figure, caption: str, wide: bool = False) -> Chart:
    """A figure as part of a page; a `wide` one scrolls on a phone instead of shrinking."""
    for ax in figure.axes:
        found = ax.get_legend()
        if found:
            found.set(frame_on=False)
            for text in found.get_texts():
                text.set(color=COLOURS["ink"])
    return Chart(svg(figure), caption, wide)


def legend(ax: Any, columns: int = 2, **options: Any) -> None:
    """Above the chart, where it covers nothing; none where nothing has a name."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**{"ncols": columns, "loc": "lower left", "bbox_to_anchor": (0, 1), "fontsize": 8.5, **options})


def svg(figure: Figure) -> str:
    """A figure as an `<svg>` element whose colours are the page's; equal figures give equal text."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "recurra", "font.family": "DejaVu Sans"}):
        _lay_out(figure)
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = by_name(_own_ids(text), {light: f"--{name}" for name, light in COLOURS.items()})
    return text.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif")


def _lay_out(figure: Figure) -> None:
    """Put everything in its place as an SVG has it; `savefig` would draw the whole figure once more for that."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    figure.set_dpi(72)  # points, as of SVG
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")


def _own_ids(text: str) -> str:
    """Ids hold for a whole page, so those of one picture must not meet those of the next."""
    own = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{own}-\1"', text)
    return re.sub(r"(url\(#|href=\"#)", rf"\g<1>{own}-", text)


def numbers(values: Sequence[float | None] | ArrayLike) -> NDArray[np.float64]:
    """Numbers as an array; what was not measured is NaN."""
    return np.array([np.nan if v is None else v for v in values], np.float64)  # type: ignore[union-attr]
