"""A piano roll: which notes sound when, in a picture or in text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from recurra.data.music import Note
from recurra.draw.picture import Picture
from recurra.draw.render import SETTINGS, paper
from recurra.draw.themes import Theme
from recurra.errors import DrawError, need

NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
THICK = 0.86  # of a note, in semitones
MOST = 160  # steps of a picture in text
_WIDTH, _HEIGHT = 720.0, 300.0  # points


def pitch_name(pitch: int) -> str:
    """A pitch as musicians call it, C4 in the middle.

    >>> [pitch_name(p) for p in (60, 61, 21)]
    ['C4', 'C♯4', 'A0']
    """
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}"


def score(
    notes: Sequence[Note],
    given: Collection[Note] = (),
    *,
    title: str = "piano roll",
    steps: int = 4,
    theme: str | None = None,
) -> Picture:
    """The notes over time; those that are `given`, by somebody else, have another colour.

    Args:
        notes: in steps, `steps` to a quarter note.
        given: some of them.
        title: what it is of.
        steps: of a quarter note; there is a line at each bar of four.
        theme: "light", "dark" or "auto".

    Raises:
        DrawError: there are no notes.

    >>> print(score([Note(0, 60, 2), Note(2, 64, 1)], title="two notes").text())
    two notes
    <BLANKLINE>
    E4   ..█
    E♭4  ...
    D4   ...
    C♯4  ...
    C4   ██.
    <BLANKLINE>
    """
    if not notes:
        raise DrawError("a piano roll: there are no notes, expected some")
    told = [(note, note in given) for note in notes]

    def figure(theme: Theme) -> Any:
        need("a picture", "matplotlib", extra="draw")
        import matplotlib

        with matplotlib.rc_context(SETTINGS):
            made = paper(_WIDTH, _HEIGHT, theme)
            axes = made.add_axes((0.07, 0.12, 0.91, 0.76))
            colours = (theme["recurrent"].line, theme["output"].line)
            paint(axes, told, colours, theme["frame"].line, theme["muted"].text, steps)
            made.text(0.5, 0.93, title, size=13, weight="bold", color=theme["page"].text, ha="center")
        return made

    return Picture(title, theme, figure, lambda: _text(title, notes))


def paint(
    axes: Any,
    notes: Sequence[tuple[Note, bool]],
    colours: tuple[str, str],
    line: str,
    muted: str,
    steps: int = 4,
) -> None:
    """Draw notes on some axes: the first colour is for those that are given, the second for others."""
    end = max(n.start + n.length for n, _ in notes)
    low, high = (f(n.pitch for n, _ in notes) for f in (min, max))
    for note, own in notes:
        bottom = note.pitch - THICK / 2
        length = note.length - 0.12 * min(1, note.length)
        axes.broken_barh([(note.start, length)], (bottom, THICK), facecolors=colours[0 if own else 1], linewidth=0)
    for bar in range(0, end + 1, 4 * steps):
        axes.axvline(bar, color=line, linewidth=0.7, zorder=0)
    ticks = [p for p in range(low - 2, high + 3) if p % 12 in (0, 7)]
    axes.set_yticks(ticks, [pitch_name(p) for p in ticks])
    axes.set_xticks(range(0, end + 1, 4 * steps), [str(1 + k) for k in range(end // (4 * steps) + 1)])
    axes.set(xlim=(0, end), ylim=(low - 1.5, high + 1.5), xlabel=f"bar of {4 * steps} frames")
    axes.xaxis.label.set(color=muted, fontsize=8.5)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=muted)
    axes.spines[:].set_visible(False)


def _text(title: str, notes: Sequence[Note]) -> str:
    """A line for each pitch, the highest first."""
    end = min(MOST, max(n.start + n.length for n in notes))
    low, high = (f(n.pitch for n in notes) for f in (min, max))
    rows = {pitch: ["."] * end for pitch in range(high, low - 1, -1)}
    for n in notes:
        for t in range(n.start, min(end, n.start + n.length)):
            rows[n.pitch][t] = "█"
    lines = [f"{pitch_name(pitch):<4} {''.join(row)}" for pitch, row in rows.items()]
    return "\n".join([title, "", *lines]) + "\n"
