"""`Picture`: something drawn, to be saved, shown in a notebook, put into a page, or read in a terminal."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from functools import cached_property
from html import escape
from inspect import signature
from pathlib import Path
from typing import Any

from recurra.draw.render import figure_of, written
from recurra.draw.scene import Scene
from recurra.draw.themes import AUTO, Theme, adaptive, theme_of
from recurra.draw.tikz import tikz_of
from recurra.errors import DrawError
from recurra.files import write_atomically

KINDS = ("svg", "pdf", "png", "tex")


class Picture:
    """A picture, drawn when it is asked for.

    Attributes:
        title: one line that says what is to be seen.
        theme: "light", "dark", or "auto": light, and as SVG whatever the page around it is. If none is given a file is
            light, and in a notebook the picture follows the page.

    >>> from recurra import draw
    >>> picture = draw.network("gru", unrolled=3)
    >>> picture.title
    'gru, folded, and unrolled over 3 steps'
    >>> picture.svg() == draw.network("gru", unrolled=3).svg()  # no dates, no chance
    True
    """

    def __init__(
        self,
        title: str,
        theme: str | None,
        content: Callable[[], Scene] | Callable[[Theme], Any],
        text: Callable[[], str],
    ) -> None:
        """From what makes a scene, or paints a figure in a theme, and what writes the text."""
        self.title = title
        self.theme = "light" if theme is None else theme
        self._follows = theme in (None, AUTO)
        theme_of(self.theme)
        self._content: Callable[..., Any] = content
        self._text = text

    @cached_property
    def scene(self) -> Scene | None:
        """What is where, of pictures that are made of boxes and arrows."""
        made = self._content() if not signature(self._content).parameters else None
        return made if isinstance(made, Scene) else None

    def figure(self) -> Any:
        """The Matplotlib figure, to be changed or combined at will."""
        theme = theme_of(self.theme)
        return self._content(theme) if self.scene is None else figure_of(self.scene, theme)

    def svg(self) -> str:
        """As SVG, from `<svg` on, for an HTML page, never wider than what is around it; no font is needed.

        Of the theme "auto" every colour is a CSS variable: `--recurra-page-fill` of `svg.recurra` is the background.

        Raises:
            MissingExtraError: Matplotlib is not installed.
        """
        return self._element(self.theme == AUTO)

    def _element(self, follows: bool) -> str:
        text = written(self.figure(), "svg", self.title).decode()
        text = adaptive(text) if follows else text
        shown = f'<svg role="img" aria-label="{escape(self.title)}" style="max-width: 100%; height: auto" '
        return shown + text[text.index("<svg") + len("<svg ") :]

    def data(self, kind: str, width: int | None = None) -> bytes:
        """The bytes of a file: `svg`, `pdf`, `tex` (LaTeX with TikZ), or `png` (`width` pixels wide, or two a point).

        Raises:
            DrawError: no such kind, one that this picture has not, or the width is not at least 1.
        """
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, 1)
            cure = f"did you mean .{near[0]}?" if near else "choose one of them"
            ending = f".{kind}" if kind else "nothing"
            raise DrawError(f"a picture's file ends in {ending}, expected .svg, .pdf, .png or .tex: {cure}")
        if width is not None and width < 1:
            raise DrawError(f"width is {width}, expected at least 1 pixel")
        if kind == "tex":
            if self.scene is None:
                raise DrawError(f"{self.title}: curves over time have no .tex, expected .svg, .pdf or .png")
            return tikz_of(self.scene, theme_of(self.theme)).encode()
        data = written(self.figure(), kind, self.title, width)
        return adaptive(data.decode()).encode() if kind == "svg" and self.theme == AUTO else data

    def save(self, path: str | os.PathLike[str], width: int | None = None) -> Path:
        """Write a file whose ending says what it is: .svg, .pdf, .tex or .png (`width` pixels wide). Returns its path.

        Raises:
            DrawError: the ending is another one; nothing is written.
            OSError: the file cannot be written.
        """
        to = Path(path)
        write_atomically(to, self.data(to.suffix.removeprefix(".").lower(), width))
        return to

    def text(self) -> str:
        """The picture in plain text, for a terminal."""
        return self._text()

    def _repr_html_(self) -> str:
        return self._element(self._follows)

    def __repr__(self) -> str:
        return f"<picture: {self.title}>"
