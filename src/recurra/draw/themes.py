"""The colours of every picture and page, in one table, and how one SVG follows the page that it stands in."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import NamedTuple

from recurra.errors import DrawError


class Colours(NamedTuple):
    """What a part of a picture is painted with."""

    fill: str
    line: str
    text: str


Theme = dict[str, Colours]

# In the light theme a colour stands for one thing only where the dark theme tells things apart: `adaptive` replaces
# colours by what they mean.
_TABLE: dict[str, tuple[Colours, Colours]] = {
    "page": (Colours("#ffffff", "#64717f", "#1f2a37"), Colours("#14181f", "#8b98a9", "#e8edf3")),
    "muted": (Colours("#fefefe", "#c3ccd6", "#5f6c7b"), Colours("#151920", "#465264", "#9aa7b8")),
    "frame": (Colours("#f6f8fb", "#d5dce5", "#5e6b7a"), Colours("#1b212b", "#333e4e", "#9ba8b9")),
    "input": (Colours("#d6f1ea", "#14806b", "#0c6353"), Colours("#12352f", "#3cc4a7", "#62dcc2")),
    "output": (Colours("#fde4d8", "#c14e1c", "#a03d11"), Colours("#402216", "#f58a58", "#ffa47a")),
    "recurrent": (Colours("#dbe8fd", "#2460c8", "#1b4fae"), Colours("#182c50", "#6ea3ff", "#94bbff")),
    "map": (Colours("#ebe4f8", "#6a45b0", "#573796"), Colours("#2c2344", "#b093ee", "#c5adf8")),
    "gate": (Colours("#fff1cc", "#a87606", "#805902"), Colours("#3a2f12", "#e5b53d", "#f4cd69")),
    "op": (Colours("#fdfdfe", "#4a5766", "#364250"), Colours("#232b37", "#a9b5c4", "#d3dbe5")),
    "join": (Colours("#4a5767", "#4a5768", "#364251"), Colours("#a9b5c5", "#a9b5c6", "#d3dbe6")),
    "leaf": (Colours("#eef1f5", "#7b8794", "#45505e"), Colours("#262e3a", "#7f8b9b", "#bcc6d3")),
    "state0": (Colours("#dbe8fe", "#2561c9", "#1c50af"), Colours("#182c51", "#6fa4ff", "#95bcff")),
    "state1": (Colours("#fbe0ea", "#b82a66", "#981f53"), Colours("#431a2c", "#f4749f", "#fb9abb")),
    "state2": (Colours("#e3f3d3", "#4a861a", "#3a6d12"), Colours("#22370f", "#8fd052", "#a9e070")),
    "state3": (Colours("#ece3f9", "#6b46b1", "#583897"), Colours("#2d2445", "#b194ef", "#c6aef9")),
}
STATE_COLOURS = 4

THEMES: dict[str, Theme] = {
    "light": {role: pair[0] for role, pair in _TABLE.items()},
    "dark": {role: pair[1] for role, pair in _TABLE.items()},
}
AUTO = "auto"

# What a report's text and charts are made of: (light, dark), from the same table.
PAGE: dict[str, tuple[str, str]] = {
    name: (getattr(_TABLE[role][0], kind), getattr(_TABLE[role][1], kind))
    for name, role, kind in (
        ("ink", "page", "text"),
        ("muted", "muted", "text"),
        ("line", "frame", "line"),
        ("paper", "page", "fill"),
        ("accent", "recurrent", "line"),
        ("second", "output", "line"),
        ("third", "state2", "line"),
        ("fourth", "map", "line"),
    )
}


def theme_of(name: str) -> Theme:
    """The table of a theme; `auto` is drawn in light colours, and follows the page as SVG.

    Raises:
        DrawError: no theme has that name.
    """
    known = (*THEMES, AUTO)
    if name not in known:
        near = difflib.get_close_matches(str(name), known, 1, 0.4)
        cure = f"did you mean {near[0]!r}?" if near else "choose one of them"
        raise DrawError(f"theme is {name!r}, expected one of {', '.join(known)}: {cure}")
    return THEMES["light" if name == AUTO else name]


def state_role(k: int) -> str:
    """The role whose colours the k-th state of a cell has."""
    return f"state{k % STATE_COLOURS}"


def adaptive(svg: str) -> str:
    """An SVG drawn in the light theme, made to follow its page: every colour becomes a CSS variable with two values.

    The dark values hold where the reader's system asks for dark colours, and below an element that says
    `data-theme="dark"`; `data-theme="light"` brings back the light ones.
    """
    light = {c: f"--recurra-{role}-{kind}" for role, kind, c, _ in _entries()}
    used = set(re.findall("|".join(light), svg))
    svg = by_name(svg, light)

    def values(which: int) -> str:
        return " ".join(f"--recurra-{e[0]}-{e[1]}: {e[which]};" for e in _entries() if e[2] in used)

    style = (
        f"<style>svg.recurra {{ {values(2)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ svg.recurra {{ {values(3)} }} }}\n"
        f'[data-theme="dark"] svg.recurra {{ {values(3)} }}\n'
        f'[data-theme="light"] svg.recurra {{ {values(2)} }}</style>'
    )
    return re.sub(r"<svg ([^>]*)>", rf'<svg class="recurra" \1>{style}', svg, count=1)


def by_name(svg: str, names: Mapping[str, str]) -> str:
    """An SVG in which each of these colours is the CSS variable of that name.

    >>> by_name('<path style="fill: #1f2a37"/>', {"#1f2a37": "--ink"})
    '<path style="fill: var(--ink)"/>'
    """
    return re.sub("|".join(names), lambda found: f"var({names[found[0]]})", svg)


def _entries() -> list[tuple[str, str, str, str]]:
    """Role, kind, light and dark colour of every entry of the table."""
    return [
        (role, kind, light, dark)
        for role, pair in _TABLE.items()
        for kind, light, dark in zip(Colours._fields, *pair, strict=True)
    ]
