"""Pieces of music as piano rolls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recurra.data.music import Note
from recurra.draw.score import paint
from recurra.report.charts import COLOURS, axes, chart
from recurra.report.page import Part, Text


def rolls(one: Mapping[str, Any]) -> list[Part]:
    """A picture for each piece."""
    found: list[Part] = [
        Text("Blue is what somebody else played, orange what the network did; higher is higher, later is to the right.")
    ]
    for piece in one["rolls"]:
        figure, ax = axes(9.6, 2.6)
        ax.grid(visible=False)
        notes = [(Note(start, pitch, length), not own) for start, pitch, length, own in piece["notes"]]
        if notes:
            paint(ax, notes, (COLOURS["accent"], COLOURS["second"]), COLOURS["line"], COLOURS["muted"])
        found.append(chart(figure, piece["caption"], wide=True))
    return found
