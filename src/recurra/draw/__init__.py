"""Pictures of recurrent networks, drawn from the real thing: unrolled over time, inside a cell, at work on data.

>>> from recurra import draw
>>> unrolled = draw.network("lstm", unrolled=4)  # or a cell, a torch module, a model, the path of a model file
>>> unrolled.save("lstm.svg")  # doctest: +SKIP
>>> inside = draw.cell("gru", theme="dark")  # any cell, also one of your own; the layout comes from its equations
>>> print(inside.text().splitlines()[2])
r[t] = σ(W_r x[t] + b_r + U_r h[t-1] + d_r)

Also `draw.states(module, x)`: input, output, states and gates over time. Each gives a `Picture`, with `save` (.svg,
.pdf, .png, .tex), `svg()` for a page, `figure()` for Matplotlib, `text()` for a terminal, and itself in a notebook.
Themes are "light", "dark", and "auto", whose SVG follows the page that it stands in, as pictures in a notebook do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recurra.cells import Cell
from recurra.draw.activity import observe
from recurra.draw.circuit import circuit_of
from recurra.draw.inside import inside_scene, state_paths
from recurra.draw.named import named
from recurra.draw.panels import panels_figure, panels_of, panels_text
from recurra.draw.picture import Picture
from recurra.draw.scene import Scene
from recurra.draw.score import score
from recurra.draw.text import cell_text, network_text
from recurra.draw.unrolled import TASKS, network_scene, plan, title_of
from recurra.errors import DrawError

__all__ = ["TASKS", "Picture", "Scene", "cell", "network", "score", "states"]


def network(
    thing: Any,
    unrolled: int | Sequence[int] = 5,
    task: str = "many-to-many",
    theme: str | None = None,
    wide: bool = False,
    legend: bool = True,
) -> Picture:
    """A network folded, with its feedback loops and the shapes of its weights, and beside it unrolled over time.

    It can be read where it is 400 pixels wide: what is too wide for that is unrolled below the folded network, a
    decoder below its encoder, and an ellipsis stands for the steps that still do not fit.

    Args:
        thing: a cell or its name, a torch module (torch.nn's and Recurra's recurrent layers, alone or among other
            layers), a `Model`, or the path of a model file. For an encoder-decoder a pair of them, or one for both.
        unrolled: how many steps; of an encoder-decoder both together, or a pair.
        task: "many-to-many"; "many-to-one", with an output after the last step; "one-to-many", with an input before
            the first; "encoder-decoder", whose decoder takes the encoder's last state and its own last output.
        theme: "light", "dark", or "auto"; if not given light in a file, and in a notebook as the page is.
        wide: all steps in one line, beside the folded network, for a slide or a poster.
        legend: say below what shapes and colours stand for.

    Raises:
        DrawError: the thing cannot be drawn, or not with this task and number of steps.
        MissingExtraError: Matplotlib is not installed; `text()` works without it.

    >>> print(network("rnn", unrolled=3).text())
    rnn, folded, and unrolled over 3 steps
    <BLANKLINE>
            y₁        y₂        y₃
            ↑         ↑         ↑
    h₀ →  [rnn]  →  [rnn]  →  [rnn]  → h₃
            ↑         ↑         ↑
            x₁        x₂        x₃
    <BLANKLINE>
    input  [I]
    rnn    W [H, I]  U [H, H]  b [H]  d [H]  gives [H]  feeds back h through U
    <BLANKLINE>
    """
    networks, steps = plan(thing, unrolled, task)
    title = title_of(networks, steps, task)
    return Picture(
        title,
        theme,
        lambda: network_scene(networks, steps, task, wide, legend),
        lambda: network_text(networks, steps, task, title),
    )


def cell(thing: str | Cell, theme: str | None = None, wide: bool = False, legend: bool = True) -> Picture:
    """The inside of a cell: its gates and the paths of its states, laid out from its equations, with them beside it.

    A step goes from left to right, or downwards where that can be read better 400 pixels wide.

    Args:
        thing: a cell, or the name of one in the zoo.
        theme: "light", "dark", or "auto"; if not given light in a file, and in a notebook as the page is.
        wide: from left to right in any case.
        legend: say below what shapes and colours stand for.

    Raises:
        DrawError: no cell has that name.
        MissingExtraError: Matplotlib, igraph or SciPy is not installed; `text()` works without them.

    >>> cell("mgu").text().splitlines()[-1]
    'h: h[t-1] → × (1 − f) → + (f × n) → h[t]'
    """
    known = named(thing) if isinstance(thing, str) else thing
    if not isinstance(known, Cell):
        raise DrawError(f"the inside of {thing!r}: expected a cell or its name; draw.network draws models")
    return Picture(
        f"inside {known.name}: {', '.join(known.states)} before and after a step",
        theme,
        lambda: inside_scene(known, wide, legend),
        lambda: cell_text(known, state_paths(circuit_of(known))),
    )


def states(thing: Any, x: Any, *, layer: int | None = None, row: int = 0, theme: str | None = None) -> Picture:
    """A network at work on one sequence: input and output, each state and each gate of a recurrent layer over time.

    Args:
        thing: a torch module, a `Model`, or a pair (cell, `Weights`).
        x: the sequence, as the module takes it; for a model or a cell [T, I] or [T, B, I] (ids [T] or [T, B]).
        layer: which of the recurrent layers, counted from 0; the last if not given.
        row: which row of a batch.
        theme: "light", "dark", or "auto", whose heat maps stay light; if not given light in a file, and in a notebook
            as the page is.

    Raises:
        DrawError: the thing has no weights, does not take x, or has no such layer or row.
        MissingExtraError: Matplotlib is not installed; `text()` works without it.

    >>> import numpy as np
    >>> from recurra import Weights, cells
    >>> weights = Weights.random(cells.gru, 1, 8, rng=np.random.default_rng(0))
    >>> picture = states((cells.gru, weights), np.sin(np.arange(40.0))[:, None])
    >>> picture.text().splitlines()[2]
    'input [40, 1], ▁ -1 to █ 1'
    """
    activity = observe(thing, x, layer, row)
    title = f"{activity.name} over {len(activity.input)} steps"
    panels = panels_of(activity)
    return Picture(
        title,
        theme,
        lambda colours: panels_figure(title, panels, colours),
        lambda: panels_text(title, panels),
    )


def command(
    thing: str,
    *,
    unrolled: int = 5,
    out: Path | None = None,
    task: str = "many-to-many",
    inside: bool = False,
    theme: str = "light",
    wide: bool = False,
    width: int | None = None,
    legend: bool = True,
) -> str:
    """What `recurra draw` does: write a file and say so, or return the text; of a cell that of its inside too.

    Raises:
        DrawError: see `network` and `cell`.
        OSError: the file cannot be written.

    >>> command("rnn", inside=True).splitlines()[2]
    'h[t] = tanh(W_n x[t] + b_n + U_n h[t-1] + d_n)'
    """
    if thing.lower().endswith((".mid", ".midi")):
        from recurra.data.music import read_midi

        picture = score(read_midi(thing), title=Path(thing).name, theme=theme)
        return picture.text() if out is None else f"{picture.save(out, width)}: {picture.title}\n"
    found = named(thing)
    picture = cell(found, theme, wide, legend) if inside else network(found, unrolled, task, theme, wide, legend)
    if out is not None:
        return f"{picture.save(out, width)}: {picture.title}\n"
    below = f"\n{cell(found).text()}" if isinstance(found, Cell) and not inside else ""
    return picture.text() + below
