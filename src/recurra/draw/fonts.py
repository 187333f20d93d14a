"""How much room a text takes, by the fonts that come with Matplotlib."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from recurra.errors import need

FAMILY = "DejaVu Sans"
_FINE = 100.0  # points at which texts are measured: at small sizes the measure is rounded to whole points


class Extent(NamedTuple):
    """Width, and height above and below the baseline, in points."""

    width: float
    ascent: float
    descent: float


@cache
def _parser() -> Any:
    need("a picture", "matplotlib", extra="draw")
    from matplotlib.mathtext import MathTextParser

    return MathTextParser("path")


@cache
def _measured(text: str, bold: bool) -> Extent:
    parser = _parser()
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family=FAMILY, weight="bold" if bold else "normal", size=_FINE)
    width, height, descent = parser.parse(text, dpi=72, prop=font)[:3]
    return Extent(*(float(v) / _FINE for v in (width, height - descent, descent)))


@cache
def measure(text: str, size: float, bold: bool = False) -> Extent:
    """The extent of a text; `$...$` is mathematics.

    Raises:
        MissingExtraError: Matplotlib is not installed.

    >>> small, large = measure("$h_{t-1}$", 10), measure("$h_{t-1}$", 20)
    >>> round(large.width / small.width, 6)
    2.0
    """
    return Extent(*(size * value for value in _measured(text, bold)))
