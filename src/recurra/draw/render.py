"""From a scene to paper: a Matplotlib figure, and the bytes of an SVG, PDF or PNG file, the same in every run."""

from __future__ import annotations

import io
from typing import Any

from recurra.draw.fonts import FAMILY
from recurra.draw.outline import HEAD, Crossing, crossings, outline
from recurra.draw.scene import MARGIN, Arrow, Box, Label, Scene
from recurra.draw.themes import Colours, Theme
from recurra.errors import need

LINE = 1.5  # points
SETTINGS: dict[Any, Any] = {
    "font.family": FAMILY,
    "mathtext.fontset": "dejavusans",
    "svg.hashsalt": "recurra",  # or the ids in an SVG would be random
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "path.simplify": False,
}


def paper(width: float, height: float, theme: Theme) -> Any:
    """An empty Matplotlib figure of a size in points, on which everything stays where it is put."""
    need("a picture", "matplotlib", extra="draw")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), facecolor=theme["page"].fill)
    figure.set_layout_engine("none")  # whatever the user's own settings say
    return figure


def figure_of(scene: Scene, theme: Theme) -> Any:
    """A Matplotlib figure as large as the scene and its margin."""
    bounds = scene.bounds()
    width, height = bounds.right - bounds.left + 2 * MARGIN, bounds.bottom - bounds.top + 2 * MARGIN
    figure = paper(width, height, theme)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(bounds.left - MARGIN, bounds.right + MARGIN)
    axes.set_ylim(bounds.bottom + MARGIN, bounds.top - MARGIN)
    for box in (b for b in scene.boxes if b.shape == "frame"):
        _paint_box(axes, box, theme[box.role])
    for part in filter(None, (scene, scene.key)):
        over = crossings(part.arrows)
        for i, arrow in enumerate(part.arrows):
            _paint_arrow(axes, arrow, [c for c in over if c.arrow == i], theme[arrow.role])
    for dot in scene.dots:
        _paint_dot(axes, dot.x, dot.y, theme[dot.role].line)
    for part in filter(None, (scene, scene.key)):
        for box in (b for b in part.boxes if b.shape != "frame"):
            _paint_box(axes, box, theme[box.role])
        for label in part.labels:
            _paint_label(axes, label, theme)
    return figure


def written(figure: Any, kind: str, title: str, width: int | None = None) -> bytes:
    """A figure as `svg`, `pdf` or `png`, without dates; a PNG is `width` pixels wide, or two for each point."""
    import matplotlib

    about: dict[str, dict[str, Any]] = {
        "svg": {"Title": title, "Date": None, "Creator": None},
        "pdf": {"Title": title, "CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Title": title, "Software": None},
    }
    dpi = 144.0 if width is None else width / figure.get_figwidth()
    to = io.BytesIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(
            to, format=kind, dpi=72 if kind != "png" else dpi, metadata=about[kind], facecolor=figure.get_facecolor()
        )
    return to.getvalue()


def _paint_box(axes: Any, box: Box, colours: Colours) -> None:
    from matplotlib.patches import FancyBboxPatch

    w, h = box.width, box.height
    radius = {"pill": min(w, h) / 2, "frame": 10.0}.get(box.shape, min(7.0, min(w, h) / 2))
    style = f"round,pad=0,rounding_size={radius}"
    dash = (0, (3, 2)) if box.dashed else "-"
    axes.add_patch(
        FancyBboxPatch(
            (box.x - w / 2, box.y - h / 2),
            w,
            h,
            boxstyle=style,
            facecolor=colours.fill,
            edgecolor=colours.line,
            linewidth=1.0 if box.shape == "frame" else LINE,
            linestyle=dash,
        )
    )


def _paint_dot(axes: Any, x: float, y: float, colour: str) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(Circle((x, y), 2.4, facecolor=colour, edgecolor="none"))


def _paint_arrow(axes: Any, arrow: Arrow, bridges: list[Crossing], colours: Colours) -> None:
    from matplotlib.patches import PathPatch, Polygon

    if arrow.head:
        tip, before = arrow.points[-1], arrow.points[-2]
        length = abs(tip[0] - before[0]) + abs(tip[1] - before[1])
        ux, uy = (tip[0] - before[0]) / length, (tip[1] - before[1]) / length
        long, wide = HEAD
        base = (tip[0] - long * ux, tip[1] - long * uy)
        corners = [tip, (base[0] - wide * uy, base[1] + wide * ux), (base[0] + wide * uy, base[1] - wide * ux)]
        axes.add_patch(Polygon(corners, closed=True, facecolor=colours.line, edgecolor="none"))
    axes.add_patch(
        PathPatch(
            _path(arrow, bridges),
            facecolor="none",
            edgecolor=colours.line,
            linewidth=LINE,
            linestyle=(0, (3, 2)) if arrow.dashed else "-",
            capstyle="butt",
            joinstyle="round",
        )
    )


def _path(arrow: Arrow, bridges: list[Crossing]) -> Any:
    from matplotlib.path import Path

    start, curves = outline(arrow, bridges)
    vertices, codes = [start], [Path.MOVETO]
    for end, handles in curves:
        vertices += [*handles, end] if handles else [end]
        codes += [Path.CURVE4] * 3 if handles else [Path.LINETO]
    return Path(vertices, codes)


def _paint_label(axes: Any, label: Label, theme: Theme) -> None:
    if label.over:
        from matplotlib.patches import Rectangle

        left, top, right, bottom = label.bounds
        ground = Rectangle((left - 2, top - 1), right - left + 4, bottom - top + 2)
        ground.set(facecolor=theme["page"].fill, edgecolor="none")
        axes.add_patch(ground)
    axes.text(
        label.x,
        label.baseline,
        label.text,
        fontsize=label.size,
        fontweight="bold" if label.bold else "normal",
        fontfamily=FAMILY,
        math_fontfamily="dejavusans",
        color=theme[label.role].text,
        ha={"start": "left", "middle": "center", "end": "right"}[label.anchor],
        va="baseline",
    )
