"""From a scene to a LaTeX file for lecturers: TikZ, whose colours have names and whose mathematics is LaTeX's own.

The file is a document by itself (`standalone`), and its `tikzpicture` can be put into another one with its colours.
"""

from __future__ import annotations

from collections.abc import Iterator

from recurra.draw.outline import HEAD, Curve, crossings, outline
from recurra.draw.scene import MARGIN, Arrow, Box, Label, Point, Scene
from recurra.draw.themes import Theme

# What stands in texts outside of mathematics.
_TEXT = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "√": r"$\surd$",
    "|": r"$|$",
    "<": "$<$",
    ">": "$>$",
    "…": r"\ldots{}",
} | {character: f"\\{character}" for character in "#%&_"}
_ANCHORS = {"start": "base west", "middle": "base", "end": "base east"}


def tikz_of(scene: Scene, theme: Theme) -> str:
    """A document whose only page is the scene; a point of the scene is one of TeX's.

    >>> from recurra.draw.themes import theme_of
    >>> text = tikz_of(Scene("a box", [Box(0, 0, 80, 20, "input")]), theme_of("light"))
    >>> r"rectangle (40.00,10.00);" in text
    True
    """
    parts = [part for part in (scene, scene.key) if part is not None]
    roles = {role for part in parts for role in _roles(part)}
    lines = [
        f"% {scene.title}",
        rf"\documentclass[tikz,border={MARGIN:g}pt]{{standalone}}",
        r"\usepackage{amsmath}",
        r"\usepackage[utf8]{inputenc}",
        r"\usepackage[T1]{fontenc}",
    ]
    for role in ("page", *sorted(roles - {"page"})):
        for kind, colour in theme[role]._asdict().items():
            lines.append(rf"\definecolor{{recurra-{role}-{kind}}}{{HTML}}{{{colour.removeprefix('#').upper()}}}")
    lines += [r"\pagecolor{recurra-page-fill}", r"\begin{document}"]
    lines.append(r"\begin{tikzpicture}[x=1pt, y=-1pt, line width=1.5pt, inner sep=0pt, font=\sffamily]")
    for part in parts:
        lines += map(_box, (b for b in part.boxes if b.shape == "frame"))
        over = crossings(part.arrows)
        for i, arrow in enumerate(part.arrows):
            lines += _arrow(arrow, outline(arrow, [c for c in over if c.arrow == i]))
        lines += (rf"\fill[recurra-{d.role}-line] {_at((d.x, d.y))} circle[radius=2.4pt];" for d in part.dots)
        lines += map(_box, (b for b in part.boxes if b.shape != "frame"))
        lines += map(_label, part.labels)
    return "\n".join([*lines, r"\end{tikzpicture}", r"\end{document}", ""])


def _roles(part: Scene) -> Iterator[str]:
    yield from (box.role for box in part.boxes)
    yield from (arrow.role for arrow in part.arrows)
    yield from (dot.role for dot in part.dots)
    yield from (label.role for label in part.labels)


def _at(point: Point) -> str:
    return f"({point[0]:.2f},{point[1]:.2f})"


def _box(box: Box) -> str:
    left, top, right, bottom = box.bounds
    least = min(box.width, box.height) / 2
    radius = {"pill": least, "frame": 10.0}.get(box.shape, min(7.0, least))
    style = [f"fill=recurra-{box.role}-fill", f"draw=recurra-{box.role}-line", f"rounded corners={radius:.2f}pt"]
    style += ["line width=1pt"] * (box.shape == "frame") + ["densely dashed"] * box.dashed
    return rf"\path[{', '.join(style)}] {_at((left, top))} rectangle {_at((right, bottom))};"


def _arrow(arrow: Arrow, shape: tuple[Point, list[Curve]]) -> Iterator[str]:
    start, curves = shape
    path = _at(start)
    for end, handles in curves:
        path += f" .. controls {_at(handles[0])} and {_at(handles[1])} .. {_at(end)}" if handles else f" -- {_at(end)}"
    yield rf"\draw[recurra-{arrow.role}-line{', densely dashed' * arrow.dashed}] {path};"
    if arrow.head:
        (x, y), (x0, y0) = arrow.points[-1], arrow.points[-2]
        long, wide = HEAD
        u, v = ((x > x0) - (x < x0)), ((y > y0) - (y < y0))
        corners = [
            (x - long * u + wide * v, y - long * v - wide * u),
            (x - long * u - wide * v, y - long * v + wide * u),
        ]
        yield rf"\fill[recurra-{arrow.role}-line] {_at((x, y))} -- {_at(corners[0])} -- {_at(corners[1])} -- cycle;"


def _label(label: Label) -> str:
    style = [f"anchor={_ANCHORS[label.anchor]}", f"text=recurra-{label.role}-text"]
    shape = r"\sffamily\bfseries" if label.bold else r"\sffamily"
    style.append(rf"font={shape}\fontsize{{{label.size:g}}}{{{label.size:g}}}\selectfont")
    if label.over:
        style += ["fill=recurra-page-fill", "inner sep=2pt"]
    return rf"\node[{', '.join(style)}] at {_at((label.x, label.baseline))} {{{_tex(label.text)}}};"


def _tex(text: str) -> str:
    """A label as LaTeX: what stands between dollars is so already."""
    words = text.split("$")
    return "".join(f"${word}$" if k % 2 else "".join(_TEXT.get(c, c) for c in word) for k, word in enumerate(words))
