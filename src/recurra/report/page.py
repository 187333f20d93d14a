"""A page as data: sections of text, tables, charts and code; `render` makes one self-contained HTML page of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from recurra.draw.themes import PAGE
from recurra.errors import need
from recurra.files import write_atomically

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Styled:
    """Words within a text, in another style: "strong", "muted" or "code"."""

    words: str
    style: str


Words: TypeAlias = "str | Styled | Sequence[str | Styled]"


@dataclass(frozen=True)
class Text:
    """A paragraph; `muted` for what is beside the point."""

    kind: ClassVar[str] = "text"
    words: Words
    muted: bool = False


@dataclass(frozen=True)
class Points:
    """A list, each of its items a text."""

    kind: ClassVar[str] = "points"
    items: Sequence[Words]


@dataclass(frozen=True)
class Code:
    """Lines of a program or a command, as they are."""

    kind: ClassVar[str] = "code"
    lines: str


@dataclass(frozen=True)
class Table:
    """A table whose first column is text and whose others are numbers, already in words, or texts.

    Attributes:
        headings: of all columns.
        rows: a text for each column.
        best: the row whose first cell is this stands out.
        unbroken: whether it scrolls on a phone instead of breaking the words in its cells.
        shades: a share of the accent's colour for each cell behind the first of a row, from 0 to 1.
        texts: whether all columns are texts.
    """

    kind: ClassVar[str] = "table"
    headings: Sequence[str]
    rows: Sequence[Sequence[object]]
    best: str | None = None
    unbroken: bool = False
    shades: Sequence[Sequence[float]] = ()
    texts: bool = False


@dataclass(frozen=True)
class Chart:
    """An `<svg>` element with a caption; a `wide` one scrolls on a phone instead of shrinking."""

    kind: ClassVar[str] = "chart"
    svg: str
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Shown:
    """A picture with its caption; pictures are PNG files in base64, or nothing.

    Attributes:
        name: of the picture.
        png: it.
        said: the caption.
        wanted: others, that were expected.
        words: words of the caption, each with a picture of its own.
    """

    name: str
    png: str
    said: str
    wanted: Sequence[str] = ()
    words: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Pictures:
    """Pictures below one another, each with what belongs to it."""

    kind: ClassVar[str] = "pictures"
    shown: Sequence[Shown]


@dataclass(frozen=True)
class Beside:
    """Parts beside one another, under one another where the page is narrow."""

    kind: ClassVar[str] = "beside"
    parts: Sequence[Part]


Part: TypeAlias = "Text | Points | Code | Table | Chart | Pictures | Beside"


@dataclass(frozen=True)
class Section:
    """A heading, and what stands below it."""

    heading: str
    parts: Sequence[Part]


def render(title: str, sections: Iterable[Section], summary: Iterable[Words] = ()) -> str:
    """A whole page as text; equal arguments give equal text.

    Args:
        title: plain text, as all words of all parts are.
        sections: from the top.
        summary: paragraphs below the title: what a reader who stops here should know.

    Raises:
        MissingExtraError: Jinja2 is not installed.

    >>> "<h2>Data &amp; parts</h2>" in render("A report", [Section("Data & parts", [Text("17,520 rows")])])
    True
    """
    return (
        _templates()
        .get_template("page.html")
        .render(title=title, sections=list(sections), summary=list(summary), colours=PAGE)
    )


def write(page: str, path: str | os.PathLike[str]) -> None:
    """Write a page in one move: a reader sees the old page or the new one.

    Raises:
        OSError: the file cannot be written; what was there is untouched.
    """
    write_atomically(path, page.encode())


@cache
def _templates() -> Environment:
    need("a report", "jinja2", extra="draw")
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.PackageLoader("recurra.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["unbroken"] = _unbroken
    return found


def _unbroken(cell: Any) -> str:
    """Words that stay in one line."""
    return str(cell).replace(" ", "\u00a0").replace("-", "\u2011")
