"""Pictures in plain text, for a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from recurra.cells.cell import Cell
from recurra.draw.circuit import Part, circuit_of
from recurra.draw.equations import equations_of
from recurra.draw.labels import letter
from recurra.draw.structure import Layer, Network, loops, shape_text
from recurra.weights import Array

_BARS = "▁▂▃▄▅▆▇█"
_WIDE, _ROWS = 72, 4  # characters across, and lines for each picture of values
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def network_text(networks: Sequence[Network], steps: Sequence[int], task: str, title: str) -> str:
    """The unrolled network, and a table of its layers with what is fed back."""
    halves = [list(_rows(n, count, task, k)) for k, (n, count) in enumerate(zip(networks, steps, strict=True))]
    height = max(map(len, halves))
    halves = [[" " * len(half[0])] * (height - len(half)) + half for half in halves]
    lines = ["".join(parts).rstrip() for parts in zip(*halves, strict=True)]
    table = [line for n in networks for line in _table(n)]
    return "\n".join([title, "", *lines, "", *table]) + "\n"


def _rows(network: Network, count: int, task: str, k: int) -> Iterator[str]:
    """The lines of one network from the top: outputs, layers, inputs, and arrows between."""
    encodes, decodes = task == "encoder-decoder" and k == 0, k == 1
    cells = [layer.cell for layer in network.layers if layer.cell]
    wide = max([5, *(len(layer.name) for layer in network.layers)]) + 2
    before = 3 if decodes else max(len(_states(cell, 0)) for cell in cells) + 3
    after = max(len(_states(cell, count)) for cell in cells) + 3
    into = 0 if task == "one-to-many" else None  # the only step with an input, an output
    out = count - 1 if task == "many-to-one" else None

    def line(word: Callable[[int], str], only: int | None, link: str = "   ", ends: tuple[str, str] = ("", "")) -> str:
        words = [(word(t) if only in (None, t) else "").center(wide) for t in range(count)]
        return ends[0].rjust(before) + link.join(words) + ends[1].ljust(9 if encodes else after)

    if not encodes:
        yield line(lambda t: f"y{t + 1}".translate(_SUBSCRIPTS), out)
        yield line(lambda t: "↑", out)
    for i, layer in reversed(list(enumerate(network.layers))):
        only = out if i > network.last else into if i < network.first else None
        if layer.directions == 2:
            yield line(lambda t, name=layer.name: f"[{name}]", only, " ← ")  # type: ignore[misc]
        ends = ("", "")
        if layer.cell:
            ends = (" → " if decodes else f"{_states(layer.cell, 0)} → ", f" → {_states(layer.cell, count)}")
            ends = (ends[0], " →" if encodes else ends[1])
        yield line(lambda t, name=layer.name: f"[{name}]", only, " → " if layer.cell else "   ", ends)  # type: ignore[misc]
        rises = "↑" if 1 in layer.takes else ""
        yield line(lambda t, arrow=rises: arrow, into if i <= network.first else out if i > network.last else None)  # type: ignore[misc]
    sign, shift = ("y", 0) if decodes else ("x", 1)
    yield line(lambda t: f"{sign}{t + shift}".translate(_SUBSCRIPTS), into)


def _states(cell: Cell, t: int) -> str:
    return ", ".join(f"{s}{t}" for s in cell.states).translate(_SUBSCRIPTS)


def _table(network: Network) -> Iterator[str]:
    """A line for each layer: its weights with their shapes, and what is fed back through which."""
    wide = max([5, *(len(layer.name) for layer in network.layers)])
    if network.input_width is not None:
        yield f"{'input'.ljust(wide)}  {shape_text([network.input_width])}"
    for i, layer in enumerate(network.layers):
        weights = "  ".join(f"{letter(layer, n)} {shape_text(s)}" for n, s in layer.weights.items())
        weights += f"  {shape_text([layer.beside])} beside" if layer.beside else ""
        width = "" if layer.width is None else f"gives {shape_text([layer.width])}"
        parts = [layer.name.ljust(wide), weights, _taken(network, i), width, _fed_back(layer)]
        yield "  ".join(filter(None, parts)).rstrip()


def _taken(network: Network, i: int) -> str:
    """What a layer takes, where that is not what the one before it gives."""
    takes = network.layers[i].takes
    names = [network.layers[i - d].name if i >= d else "the input" for d in takes]
    return "" if takes == (1,) else f"takes {', '.join(names)}"


def _fed_back(layer: Layer) -> str:
    if layer.cell is None:
        return ""
    ways = [
        f"{s} through {', '.join(w)}" if w else s for s, w in zip(layer.cell.states, loops(layer.cell), strict=True)
    ]
    return f"feeds back {', '.join(ways)}" + (", in both directions" if layer.directions == 2 else "")


def cell_text(cell: Cell, paths: Sequence[tuple[int, list[int]]]) -> str:
    """The equations of a cell, and the way of each state through the step.

    >>> from recurra.cells import gru
    >>> from recurra.draw.inside import state_paths
    >>> print(cell_text(gru, state_paths(circuit_of(gru))))
    gru: Cho et al. 2014, eqs. 5-8; the reset gate applied after the recurrent product
    <BLANKLINE>
    r[t] = σ(W_r x[t] + b_r + U_r h[t-1] + d_r)
    z[t] = σ(W_z x[t] + b_z + U_z h[t-1] + d_z)
    n[t] = tanh(W_n x[t] + b_n + r[t] ⊙ (U_n h[t-1] + d_n))
    h[t] = (1 - z[t]) ⊙ n[t] + z[t] ⊙ h[t-1]
    <BLANKLINE>
    h: h[t-1] → × z → + ((1 − z) × n) → h[t]
    <BLANKLINE>
    """
    rows = [(plain(left), plain(right)) for left, right in equations_of(cell)]
    wide = max(len(left) for left, _ in rows)
    parts = circuit_of(cell)
    ways = [f"{cell.states[s]}: {' → '.join(_way(parts, path))}" for s, path in sorted(paths)]
    head = f"{cell.name}: {cell.source}" if cell.source else cell.name
    return "\n".join([head, "", *(f"{left.rjust(wide)} = {right}" for left, right in rows), "", *ways]) + "\n"


def _way(parts: Sequence[Part], path: Sequence[int]) -> Iterator[str]:
    for before, i in zip([-1, *path], path, strict=False):
        part = parts[i]
        if part.kind == "op":
            others = ", ".join(_named(parts, j) for j in part.inputs if j != before)
            yield f"{part.text} {others}".strip()
        elif part.kind != "join":
            text = plain(part.text)
            yield f"{part.tag} ({text})" if part.tag else text


def _named(parts: Sequence[Part], i: int, deep: int = 2) -> str:
    """A part by its gate's name, or by what it is made of."""
    part = parts[i]
    if part.tag or not part.inputs or not deep or part.kind == "gate":
        return part.tag or plain(part.text)
    inner = [_named(parts, j, deep - 1) for j in part.inputs]
    return f"({f' {part.text} '.join(inner) if part.kind == 'op' else f'{plain(part.text)} {inner[0]}'})"


_PLAIN = (
    (r"\\operatorname\{([^{}]*)\}", r"\1"),
    (r"\\mathrm\{([^{}]*)\}", r"\1"),
    (r"\\left\||\\right\|", "|"),
    (r"_\{t-1\}", "[t-1]"),
    (r"_t(?![a-z])", "[t]"),
    (r"_\{([^{}]*)\}", r"_\1"),
    (r"\\sigma", "σ"),
    (r"\\odot", "⊙"),
    (r"\\Sigma", "Σ"),
    (r"\\cdot", "·"),
    (r"\\sqrt\{", "√{"),
    (r"\\(tanh|exp|max|min)", r"\1"),
    (r"\\_", "_"),
    (r"\^\{(\d+)\}", r"^\1"),
    (r"\{", "("),
    (r"\}", ")"),
    (r"\$", ""),
)


def plain(latex: str) -> str:
    """LaTeX of equations in one line of plain text."""
    for pattern, text in _PLAIN:
        latex = re.sub(pattern, text, latex)
    return latex


def values_text(name: str, values: Array) -> str:
    """Values [T, units] over time as bars, a line for each unit or for the mean of neighbouring ones."""
    units = values.T
    groups = np.array_split(units, min(_ROWS, len(units)))
    across = min(_WIDE, values.shape[0])
    rows = np.stack([[part.mean() for part in np.array_split(g.mean(0), across)] for g in groups])
    low, high = float(rows.min()), float(rows.max())
    level = np.zeros_like(rows) if high == low else (rows - low) / (high - low)
    lines = ["".join(_BARS[int(v * (len(_BARS) - 1) + 0.5)] for v in row) for row in level]
    note = f"{name} {shape_text(values.shape)}, {_BARS[0]} {low:.3g} to {_BARS[-1]} {high:.3g}"
    return "\n".join([note, *lines])
