"""What stands beside the arrows and in the boxes of a network: symbols, states and shapes."""

from __future__ import annotations

from recurra.cells.cell import Cell
from recurra.cells.printing import latex_name
from recurra.draw import structure
from recurra.draw.structure import Layer, Network, shape_text

_ARROWS = (r"\rightarrow", r"\leftarrow")
_MOST = 3  # arrays of a layer without a state that are listed


class Labels:
    """The texts of one network, in LaTeX where they are mathematics.

    Args:
        network: whose.
        prime: whether its states and weights are marked, as those of a second network.
    """

    def __init__(self, network: Network, prime: bool) -> None:
        self.network = network
        self.prime = prime

    def recurrent(self) -> list[int]:
        """The indices of the recurrent layers."""
        return [i for i, layer in enumerate(self.network.layers) if layer.cell]

    def symbol(self, i: int, symbol: str, direction: int) -> str:
        """A weight's symbol in LaTeX: marked by direction, numbered by layer where there are several, primed."""
        layer = self.network.layers[i]
        alike = [k for k, other in enumerate(self.network.layers) if _family(other) == _family(layer)]
        head = {"W": _family(layer)}.get(symbol, symbol)
        text = latex_name(letter(layer, head))
        marks = _ARROWS[direction] if layer.directions == 2 else ""
        marks = (f"{alike.index(i) + 1}{marks}" if len(alike) > 1 else marks) + (r"\prime" if self.prime else "")
        return f"{text}^{{{marks}}}" if marks else text

    def states(self, i: int, direction: int, t: str) -> list[str]:
        """Each state of a layer at step t."""
        layer = self.network.layers[i]
        marks = (_ARROWS[direction] if layer.directions == 2 else "") + (r"\prime" if self.prime else "")
        above = f"^{{{marks}}}" if marks else ""
        return [f"${latex_name(s)}{above}_{{{t}}}$" for s in cell_of(layer).states]

    def state_line(self, i: int, direction: int, t: str) -> str:
        """All states of a layer at step t."""
        return ", ".join(self.states(i, min(direction, self.network.layers[i].directions - 1), t))

    def arrows(self, i: int, direction: int) -> list[str]:
        """For each state what multiplies it on its way to the next step, or its name."""
        cell = cell_of(self.network.layers[i])
        return [
            f"${', '.join(self.symbol(i, w, direction) for w in weights) or latex_name(state)}$"
            for state, weights in zip(cell.states, structure.loops(cell), strict=True)
        ]

    def inputs(self, i: int, direction: int) -> list[str]:
        """What stands beside the arrow into layer i: its weights with their shapes, or the features that flow."""
        if i < len(self.network.layers):
            layer = self.network.layers[i]
            names = [n for n in layer.weights if not layer.cell or n in ("W", "b")]
            if 0 < len(names) <= _MOST:
                return [f"${self.symbol(i, n, direction)}$ {shape_text(layer.weights[n])}" for n in names]
        below, beside = i - 1, 0
        if i < len(self.network.layers):
            if len(layer.takes) > 1:
                return []
            below, beside = i - layer.takes[0], layer.beside
        width = self.network.layers[below].width if below >= 0 else self.network.input_width
        flow = [] if width is None or i == 0 else [shape_text([width])]
        return flow + ([f"{shape_text([beside])} beside"] if beside else [])

    def short_inputs(self, i: int, direction: int) -> list[str]:
        """What stands beside an unrolled arrow into layer i: the weights alone."""
        if i == len(self.network.layers) or "W" not in self.network.layers[i].weights:
            return []
        layer = self.network.layers[i]
        return [f"${self.symbol(i, 'W', direction)}$"] if layer.cell or len(layer.weights) <= _MOST else []

    def loops(self, i: int, direction: int) -> list[str]:
        """The recurrent weights with their shapes; parameters of one shape together."""
        layer = self.network.layers[i]
        texts = [
            f"${self.symbol(i, n, direction)}$ {shape_text(layer.weights[n])}"
            for n in ("U", "c_", "R")
            if n in layer.weights
        ]
        parameters = [self.symbol(i, p, direction) for p in cell_of(layer).parameters]
        if parameters:
            shape = shape_text(layer.weights[cell_of(layer).parameters[0]])
            texts.append(f"${', '.join(parameters)}$ {shape}")
        return texts

    def own_names(self) -> list[list[str]]:
        """What the user's program calls each array, behind its symbol, in a row for each layer."""
        rows = []
        for i, layer in enumerate(self.network.layers):
            names = [f"${self.symbol(i, s, 0)}$ {n}" for s, n in layer.own_names.items() if s in layer.weights]
            rows += [names] if names else []
        both = any(layer.own_names and layer.directions == 2 for layer in self.network.layers)
        return rows + ([[rf"${_ARROWS[1]}$ …_reverse"]] if both else [])


def cell_of(layer: Layer) -> Cell:
    """The cell of a recurrent layer."""
    assert layer.cell is not None
    return layer.cell


def letter(layer: Layer, symbol: str) -> str:
    """What an array is called in pictures: the biases by the letters that the cell's equations have for them."""
    return symbol if layer.cell is None else {"b": layer.cell.biases[0], "c_": layer.cell.biases[1]}.get(symbol, symbol)


def words_of(name: str) -> list[str]:
    """A name in short lines, broken after underscores."""
    lines = [""]
    for piece in name.replace("_", "_\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(piece) > 11:
            lines.append("")
        lines[-1] += piece
    return lines


def _family(layer: Layer) -> str:
    """The letter of a layer's main weights; layers of one family are numbered."""
    return "W" if layer.cell else "E" if layer.name == "embedding" else "V" if "W" in layer.weights else layer.name
