"""A picture of sound: a spectrogram over the spikes of a network that writes what it hears."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recurra.errors import need
from recurra.report.charts import COLOURS, LINES, chart, styled
from recurra.report.page import Chart

NAMED = 0.35  # of a probability from which on a spike has its letter above it


def spikes(one: Mapping[str, Any]) -> Chart:
    """A spectrogram, bright where there is more energy than usual, and below it a curve for each letter.

    Args:
        one: `frames` [F, T] of so many `seconds`, the times `at` of the outputs, and `shares` of each letter there.
    """
    need("a chart", "matplotlib", extra="draw")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.2, 1.0))
    frames = np.asarray(one["frames"], float)
    whole = (0, one["seconds"], 0, len(frames))
    above.imshow(frames, aspect="auto", origin="lower", cmap="magma", vmin=-2, vmax=2.5, extent=whole)
    above.set_ylabel("filter")
    below.set(ylim=(0, 1.18), xlabel="seconds", ylabel="probability")
    for ax in (above, below):
        styled(ax)
    above.grid(visible=False)
    for i, (letter, shares) in enumerate(one["shares"].items()):
        colour = COLOURS[LINES[i % len(LINES)]]
        below.plot(one["at"], shares, color=colour, linewidth=1.1)
        for t in _peaks(shares):
            at = one["at"][t], shares[t]
            below.annotate(letter, at, (0, 2), textcoords="offset points", ha="center", fontsize=8.5, color=colour)
    return chart(figure, one["caption"], wide=True)


def _peaks(shares: Any) -> list[int]:
    """The highest step of each stretch that is above `NAMED`."""
    p = np.asarray(shares)
    high = np.flatnonzero(p > NAMED)
    runs = np.split(high, np.flatnonzero(np.diff(high) > 1) + 1) if len(high) else []
    return [int(run[p[run].argmax()]) for run in runs]
