"""What a network is, for a picture of it: its layers from the input on, with the names and shapes of their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recurra.cells import Cell
from recurra.cells.symbols import walk
from recurra.draw.named import named
from recurra.errors import DrawError

Size = int | str
Shape = tuple[Size, ...]
SIGNS = {"add": "+", "subtract": "−", "multiply": "×", "join": "join"}  # of what puts chains together


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        name: the cell's, or what the layer does.
        width: features out, of both directions together; None where it is not known.
        weights: the shape of each array, by its symbol (`W`, `U`, `b`, `c_`, `R`, `p.i`).
        cell: of a recurrent layer.
        directions: 1, or 2 where it also reads backwards.
        own_names: what the user's program calls the arrays, by symbol.
        beside: features that it takes from the first layer, past those between.
        takes: how many rows below what it takes comes from: 1 is the layer before, or the input.
    """

    name: str
    width: Size | None = None
    weights: Mapping[str, Shape] = field(default_factory=dict)
    cell: Cell | None = None
    directions: int = 1
    own_names: Mapping[str, str] = field(default_factory=dict)
    beside: int = 0
    takes: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Network:
    """Layers from the input to the output, at least one of them recurrent."""

    name: str
    input_width: Size | None
    layers: tuple[Layer, ...]

    @property
    def first(self) -> int:
        """The index of the first recurrent layer."""
        return next(i for i, layer in enumerate(self.layers) if layer.cell)

    @property
    def last(self) -> int:
        """The index of the last recurrent layer."""
        return max(i for i, layer in enumerate(self.layers) if layer.cell)

    @property
    def bidirectional(self) -> bool:
        """Whether any layer also reads backwards."""
        return any(layer.directions == 2 for layer in self.layers)


def read(thing: Any) -> Network:
    """The network that a thing is: a cell or its name, a model or the path of its file, or a torch module.

    Raises:
        DrawError: it is none of those, has no recurrent layer, or its layers do not follow one another.
        ModelFileError: the file is no model.

    >>> read("gru").layers[0].weights
    {'W': ('3H', 'I'), 'U': ('3H', 'H'), 'b': ('3H',), 'c_': ('3H',)}
    """
    if isinstance(thing, (str, Path)):
        thing = named(thing)
    if isinstance(thing, Cell):
        return Network(thing.name, "I", (_of_cell(thing),))
    if hasattr(thing, "ops") and hasattr(thing, "preprocessing"):
        width = next(iter(thing.inputs.values()))
        network = Network("model", width, tuple(of_ops(thing.ops, width)))
    elif hasattr(thing, "named_children"):
        from recurra.draw import modules

        network = modules.read_module(thing)
    else:
        raise DrawError(
            f"{type(thing).__name__} cannot be drawn, expected a cell or its name, a torch module, a model or the path "
            "of a model file"
        )
    if not any(layer.cell for layer in network.layers):
        listed = ", ".join(layer.name for layer in network.layers)
        raise DrawError(f"{network.name} has the layers {listed or 'none'}, expected a recurrent one among them")
    return network


def recurrent_layer(
    cell: Cell, directions: int, shapes: Mapping[str, Shape], own_names: Mapping[str, str] | None = None
) -> Layer:
    """A recurrent layer of arrays with these shapes (those of one direction, by the names of `Weights.shapes`)."""
    weights = {n: tuple(s) for n, s in shapes.items() if s and s[0] and not n.startswith("initial:")}
    width = shapes["R"][0] if "R" in shapes else shapes["U"][1]
    total = width if directions == 1 else 2 * width if isinstance(width, int) else f"2{width}"
    return Layer(cell.name, total, weights, cell, directions, own_names or {})


def _of_cell(cell: Cell) -> Layer:
    """A cell alone has letters for sizes."""

    def gates(count: int) -> Size:
        return "H" if count == 1 else f"{count}H" if count else 0

    inputs, recurrent = gates(len(cell.input_gates)), gates(len(cell.recurrent_gates))
    output = "P" if cell.projection is not None else "H"
    shapes: dict[str, Shape] = {"W": (inputs, "I"), "U": (recurrent, output), "b": (inputs,), "c_": (recurrent,)}
    if cell.projection is not None:
        shapes["R"] = ("P", "H")
    return recurrent_layer(cell, 1, shapes | dict.fromkeys(cell.parameters, ("H",)))


def of_model_layer(layer: Any) -> Layer:
    """A layer of a `Model`."""
    if layer.kind == "recurrent":
        weights = layer.weights[0]
        return recurrent_layer(layer.cell, len(layer.weights), {n: a.shape for n, a in weights.items()})
    name = layer.settings().get("name") if layer.kind == "activation" else layer.kind
    shapes = {n: a.shape for n, a in layer.arrays().items()}
    return Layer(str(name).replace("_", " "), layer.output_size, shapes, beside=sum(layer.reads.values()))


def of_ops(ops: Sequence[Any], width: int) -> list[Layer]:
    """The layers of a chain of ops that `width` features flow into."""
    found: list[Layer] = []
    for op in ops:
        after = op.width(width)
        if op.kind == "branches":
            found += put_together([of_ops(chain, width) for chain in op.branches], op.how, after)
        else:
            found.append(of_model_layer(op))
        width = after
    return found


def put_together(chains: Sequence[Sequence[Layer]], how: str, width: Size | None) -> list[Layer]:
    """Chains on the same input: their layers one above the other, and a last one that takes what they give.

    Raises:
        DrawError: one of them reads in both directions.

    >>> [layer.takes for layer in put_together([[], [Layer("a"), Layer("b")], [Layer("c")]], "add", 4)]
    [(1,), (1,), (3,), (4, 2, 1)]
    """
    found: list[Layer] = []
    ends = []
    if both := next((layer for chain in chains for layer in chain if layer.directions == 2), None):
        raise DrawError(f"{both.name} reads in both directions beside other layers: draw it by itself")
    for chain in chains:
        below = len(found)
        for row, layer in enumerate(chain):
            found.append(replace(layer, takes=tuple(d + below if d > row else d for d in layer.takes)))
        ends.append(len(found) - 1 if chain else -1)
    return [*found, Layer(SIGNS[how], width, takes=tuple(len(found) - end for end in ends))]


def loops(cell: Cell) -> list[list[str]]:
    """What multiplies each state on its way to the next step: U where it has a product, the parameters beside it.

    >>> from recurra.cells import lstm, indrnn
    >>> loops(lstm), loops(indrnn)
    ([['U'], []], [['u']])
    """
    order = walk(cell.next)
    found: list[list[str]] = []
    for state in cell.states:
        own = next((n for n in order if n._op == "state" and n._value == state), None)
        multiplied = (
            any(own in set(walk([operand])) for operand in cell.operands.values()) if own is not None else False
        )
        beside = [
            a._value.partition(".")[0]
            for n in order
            if n._op == "mul" and own in n._args
            for a in n._args
            if a._op == "param"
        ]
        found.append([*(["U"] if multiplied else []), *dict.fromkeys(beside)])
    return found


def shape_text(shape: Sequence[Size]) -> str:
    """A shape as arrays are written: [256, 8]."""
    return f"[{', '.join(map(str, shape))}]"
