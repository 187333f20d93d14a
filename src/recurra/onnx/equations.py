"""A cell's equations as ONNX operators, and a recurrence of them as one Scan node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import helper

from recurra.cells import Cell, Node
from recurra.cells.functions import ARITHMETIC, FUNCTIONS
from recurra.cells.symbols import WORDS, node, walk
from recurra.onnx.graph import Value
from recurra.runtime.ops import Op
from recurra.weights import Weights

_NAMED = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "neg": "Neg", "gt": "Greater"}
_NAMED |= {"maximum": "Max", "minimum": "Min", "hard_sigmoid": "HardSigmoid"}
_ATTRIBUTES: dict[str, dict[str, Any]] = {"hard_sigmoid": {"alpha": 1 / 6, "beta": 0.5}}


CELL, NAME = "recurra.cell", "recurra.name"  # the metadata of a Scan: the equations that it was made of, and its arrays


class Builder:
    """Collects the nodes and the arrays of a graph. A body of a Scan shares the arrays of the graph around it."""

    def __init__(self, arrays: dict[str, Value] | None = None, prefix: str = "") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, Value] = {} if arrays is None else arrays
        self.prefix = prefix

    def add(self, op: str, inputs: Sequence[str], outputs: int | Sequence[str] = 1, **attributes: Any) -> str:
        """Add a node, and return the name of its first output."""
        label = f"{self.prefix}{op.lower()}_{len(self.nodes)}"
        names = [f"{label}.{i}" for i in range(outputs)] if isinstance(outputs, int) else list(outputs)
        self.nodes.append(helper.make_node(op, list(inputs), names, name=label, **attributes))
        return names[0]

    def array(self, name: str, value: Any) -> str:
        """Keep an array under a name, and return the name."""
        self.arrays[name] = np.ascontiguousarray(value)
        return name

    def numbers(self, *values: int) -> str:
        """Whole numbers, as shapes and axes are given."""
        return self.array(f"whole_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def number(self, value: float) -> str:
        """One number of float32."""
        return self.array(f"number_{value!r}", np.array(value, np.float32))

    @property
    def tensors(self) -> list[onnx.TensorProto]:
        """The arrays, as a graph has them."""
        return [onnx.numpy_helper.from_array(value, name) for name, value in self.arrays.items()]


class Emitter(Protocol):
    """What an op needs of the graph that it is written into."""

    builder: Builder
    inputs: Mapping[str, str]

    def begins(self, name: str, state: str, x: str) -> str:
        """The value that a state of the layer begins with, [B, width]."""

    def give(self, name: str, state: str, last: str) -> None:
        """The value that it ends with."""

    def add_layer(self, name: str, layer: Op, x: str) -> str:
        """The nodes of another op; returns the name of its output."""


def emit(builder: Builder, roots: Sequence[Node], leaf: Callable[[Node, dict[Node, str]], str]) -> dict[Node, str]:
    """Operators for every node under the roots; `leaf` names what is no function of its arguments."""
    names: dict[Node, str] = {}
    for n in walk(roots):
        arguments = [names[a] for a in n._args]
        if n._op == "const":
            names[n] = builder.number(n._value)
        elif n._op == "clip":
            names[n] = builder.add("Min", [builder.add("Max", arguments[:2]), arguments[2]])
        elif n._op in ARITHMETIC or n._op in FUNCTIONS:
            op = _NAMED.get(n._op, n._op.capitalize())
            names[n] = builder.add(op, arguments, **_ATTRIBUTES.get(n._op, {}))
        else:
            names[n] = leaf(n, names)
    return names


def emit_activation(builder: Builder, x: str, name: str, slope: float) -> str:
    """An activation of the language, by its word, of a value."""
    a = node("state", value="h")
    root = WORDS[name](a, slope) if name == "leaky_relu" else WORDS[name](a)
    return emit(builder, [root], lambda n, names: x)[root]


def emit_scan(
    builder: Builder, name: str, cell: Cell, weights: Weights, x: str, states: Sequence[str], reverse: bool
) -> list[str]:
    """A recurrence of any cell over x [T, B, I] from states [B, H]; the names of the last states and of the output."""
    for parameter, array in weights.parameters.items():
        builder.array(f"{name}.weights.{parameter}", array)
    projected = builder.add("MatMul", [x, builder.array(f"{name}.weights.W", weights.W.T)])
    projected = builder.add("Add", [projected, builder.array(f"{name}.weights.b", weights.b)])
    body = step_graph(builder, name, cell, weights)
    lasts = [f"{name}.last.{state}" for state in cell.states]
    output = f"{name}.output"
    builder.add(
        "Scan",
        [*states, projected],
        [*lasts, output],
        body=body,
        num_scan_inputs=1,
        scan_input_directions=[int(reverse)],
        scan_output_directions=[int(reverse)],
    )
    for key, value in ((CELL, cell.text), (NAME, name)):
        builder.nodes[-1].metadata_props.add(key=key, value=value)
    return [*lasts, output]


def step_graph(outer: Builder, name: str, cell: Cell, weights: Weights) -> onnx.GraphProto:
    """One step: states [B, H] and the projected input [B, gates * H] in, new states and the output out."""
    step = Builder(outer.arrays, f"{name}.step.")
    H, inputs = weights.hidden_size, cell.input_gates
    states = {s: f"{name}.step.{s}" for s in cell.states}
    parts = [f"{name}.step.x.{g}" for g in inputs]
    sizes = step.array(f"{name}.weights.sizes", np.full(len(inputs), H, np.int64))
    step.add("Split", [f"{name}.step.x", sizes], parts, axis=-1)

    def leaf(n: Node, names: dict[Node, str]) -> str:
        match n._op:
            case "state":
                return states[n._value]
            case "param":
                return f"{name}.weights.{n._value}"
            case "input":
                return parts[inputs.index(n._value)]
            case _ if n is cell.projection:
                return step.add("MatMul", [names[n._args[0]], step.array(f"{name}.weights.R", weights.R.T)])  # type: ignore[union-attr]
            case _:
                i = cell.recurrent_gates.index(n._value)
                rows = slice(i * H, (i + 1) * H)
                U = step.array(f"{name}.weights.U.{n._value}", weights.U[rows].T)
                c = step.array(f"{name}.weights.c.{n._value}", weights.c_[rows])
                return step.add("Add", [step.add("MatMul", [names[n._args[0]], U]), c])

    names = emit(step, cell.next, leaf)
    outputs = []
    for state, new in zip(cell.states, cell.next, strict=True):
        # A state that depends on no row of the batch is still one for each; and each output has a name of its own.
        shape = step.add("Shape", [states[state]])
        outputs.append(step.add("Expand", [names[new], shape], [f"{name}.step.{state}.next"]))
    outputs.append(step.add("Identity", outputs[:1], [f"{name}.step.y"]))
    ins = [*states.values(), f"{name}.step.x"]
    floats = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in (*ins, *outputs)]
    return helper.make_graph(step.nodes, f"{name}.step", floats[: len(ins)], floats[len(ins) :])
