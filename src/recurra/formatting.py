"""Numbers as readers see them, in tables, sentences and pictures, and text of any origin as a terminal may show it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any


def number(value: float | None, digits: int = 3, missing: str = "-") -> str:
    """A measured number in few digits, whole from 1,000 on; what was not measured is `missing`.

    >>> [number(v) for v in (0.20712, 1234.5, 2.51e-7, 3.1e9, 0, None, float("nan"))]
    ['0.207', '1,234', '2.51e-7', '3.1e9', '0', '-', '-']
    """
    if value is None or not math.isfinite(value):
        return missing
    size = abs(float(f"{value:.{digits}g}"))
    if 1000 <= size < 1e6:
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}" if size == 0 or 1e-4 <= size < 1e6 else f"{value:.{digits - 1}e}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}" if e else text


def share(value: float | None, digits: int = 0, missing: str = "-") -> str:
    """A part of a whole.

    >>> share(0.7931, 1), share(None)
    ('79.3%', '-')
    """
    return missing if value is None or not math.isfinite(value) else f"{value:.{digits}%}"


def duration(seconds: float | None) -> str:
    """A time in the unit that fits it.

    >>> [duration(s) for s in (5.12e-6, 0.0032, 0.9997e-3, 1.3e-7, 81.24, None)]
    ['5.1 µs', '3.2 ms', '1,000 µs', '0.13 µs', '81.2 s', '-']
    """
    if seconds is None or not math.isfinite(seconds):
        return "-"
    size, unit = next((f, u) for f, u in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")) if seconds >= f or u == "µs")
    return f"{number(seconds / size, 2 if seconds < 10 * size else 3)} {unit}"


def plain(value: Any) -> str:
    """Any setting or fact: numbers as above, lists and mappings with commas.

    >>> plain({"rows": 17520, "seasons": [48, 336], "rate": 0.00312, "past": []})
    'rows 17,520, seasons 48, 336, rate 0.00312, past none'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {plain(v)}" for k, v in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value)) or "none"
    if value is None or isinstance(value, float):
        return number(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


# What moves the cursor, sets colours, titles or the clipboard, or turns the order of reading: all but tab and newline.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Text from a file, say, with whatever a terminal would obey written out.

    >>> printable("a \x1b[2J title\a, naïve")
    'a \\x1b[2J title\\x07, naïve'
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)
