"""ONNX's RNN, LSTM and GRU nodes, checked and run by the engine.

Letters: T steps, B batch, I inputs, H units, D directions, G gates. Arrays are as ONNX has them: X [T, B, I],
W [D, G*H, I], R [D, G*H, H], B [D, 2*G*H], initial states [D, B, H], P [D, 3*H]; with `layout` 1 the batch comes
first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurra import engine
from recurra.cells import Cell
from recurra.errors import CellError, OnnxError
from recurra.onnx.budget import check_cell, check_product, check_size
from recurra.onnx.cells import DEFAULTS, GATES, PEEPHOLES, STATES, Variant, cell_of, choose
from recurra.onnx.graph import HALF, Node, Value
from recurra.weights import Weights

INPUTS = {
    "RNN": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "GRU": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "LSTM": ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
}
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_COMMON = {"activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "layout"}
_OWN = {"RNN": set[str](), "GRU": {"linear_before_reset"}, "LSTM": {"input_forget"}}
_OLD = {"output_sequence"}  # before opset 7; it says nothing that the outputs do not


@dataclass(frozen=True)
class Recurrence:
    """A node with its arrays in our terms: one cell and its weights for each direction.

    Attributes:
        x: [T, B, I].
        reverse: for each direction, whether it reads from the end.
        initial: for each direction, each state [B, H]; None: zeros.
        lengths: steps of each row; None: all.
        batch_first: whether the node's own arrays have the batch first.
    """

    cells: tuple[Cell, ...]
    weights: tuple[Weights, ...]
    x: Value
    reverse: tuple[bool, ...]
    initial: tuple[list[Value], ...] | None
    lengths: Value | None
    batch_first: bool


def run(node: Node, values: Sequence[Value | None]) -> list[Value]:
    """The outputs Y, Y_h (and Y_c) of a node. A row of no steps has zeros in all of them, as in ONNX Runtime.

    Raises:
        OnnxError: an attribute or an input is not what the standard says; the message names it.
    """
    it = read(node, values)
    T, B, _ = it.x.shape
    H = it.weights[0].hidden_size
    check_size((T, len(it.cells), B, H), node.label)
    for cell, weights in zip(it.cells, it.weights, strict=True):
        check_cell(cell, node.label)
        check_product(T * B, len(weights.W), H + it.x.shape[2], it.x.dtype, node.label)
    runs = [
        engine.forward(
            cell, weights, it.x, it.initial[d] if it.initial else None, lengths=it.lengths, reverse=it.reverse[d]
        )
        for d, (cell, weights) in enumerate(zip(it.cells, it.weights, strict=True))
    ]
    states = [_side_by_side([r.state[k] for r in runs], 0) for k in range(len(it.cells[0].states))]
    if it.lengths is not None:
        for state in states:
            state[:, it.lengths == 0] = 0
    outputs = [_side_by_side([r.output for r in runs], 1), *states]
    if it.batch_first:
        outputs = [outputs[0].transpose(2, 0, 1, 3), *(s.transpose(1, 0, 2) for s in states)]
    dtype = values[0].dtype if values[0] is not None else it.x.dtype
    return [np.ascontiguousarray(o.astype(dtype, copy=False)) for o in outputs]


def _side_by_side(arrays: list[Value], axis: int) -> Value:
    """Those of each direction along a new axis; of one, without a copy."""
    return np.expand_dims(arrays[0], axis) if len(arrays) == 1 else np.stack(arrays, axis)


def read(node: Node, values: Sequence[Value | None]) -> Recurrence:
    """A node and its inputs, checked.

    Raises:
        OnnxError: as `run`.
    """
    given = _inputs(node, values)
    layout = _integer(node, "layout", 0, (0, 1))
    direction = _get(node, "direction", str, "forward")
    if direction not in DIRECTIONS:
        raise OnnxError(f"{node.label}: direction is {direction[:80]!r}, expected one of {', '.join(DIRECTIONS)}")
    reverse = DIRECTIONS[direction]
    X, R = given["X"], given["R"]
    if X.ndim != 3 or R.ndim != 3:
        raise OnnxError(f"{node.label}: X and R have the shapes {X.shape} and {R.shape}, expected three axes of each")
    x = X.transpose(1, 0, 2) if layout else X
    sizes = {"T": x.shape[0], "B": x.shape[1], "I": x.shape[2], "D": len(reverse), "H": R.shape[2]}
    wanted = _integer(node, "hidden_size", sizes["H"], None)
    if wanted != sizes["H"] or wanted < 1 or sizes["I"] < 1:
        raise OnnxError(
            f"{node.label}: hidden_size is {wanted}, R has the shape {R.shape} and X {X.shape}, expected R of "
            f"[D, gates * {wanted}, {wanted}] and at least one unit and one input"
        )
    _check_shapes(node, given, sizes, layout)
    cells, weights = _equations(node, given, values, len(reverse))
    return Recurrence(
        cells,
        weights,
        np.require(x, requirements=["C", "W"]),  # constants of a model are read-only
        reverse,
        _initial(node.op, given, sizes, layout),
        _lengths(node, given, sizes),
        bool(layout),
    )


def _equations(
    node: Node, given: dict[str, Value], values: Sequence[Value | None], directions: int
) -> tuple[tuple[Cell, ...], tuple[Weights, ...]]:
    """The cells and weights of a node, made anew only where its arrays are others than they were: live, they stay."""
    arrays = [*values[1:4], *values[7:]]
    if not node.made or any(a is not b for a, b in zip(node.made[0], arrays, strict=True)):
        cells = _cells(node, directions, "P" in given)
        node.made[:] = [arrays, cells, tuple(_weights(node.op, cell, given, d) for d, cell in enumerate(cells))]
    return node.made[1], node.made[2]


def _inputs(node: Node, values: Sequence[Value | None]) -> dict[str, Value]:
    """The inputs that are there, by name; halves as float32, in which they are computed."""
    names = INPUTS[node.op]
    unknown = set(node.attributes) - _COMMON - _OWN[node.op] - _OLD
    if unknown:
        raise OnnxError(f"{node.label}: the attribute {sorted(unknown)[0][:80]!r} is unknown: {node.op} has none such")
    if len(values) > len(names):
        raise OnnxError(f"{node.label} has {len(values)} inputs, expected at most {len(names)}: {', '.join(names)}")
    if len(node.outputs) > 1 + len(STATES[node.op]):
        raise OnnxError(f"{node.label} has {len(node.outputs)} outputs, expected at most {1 + len(STATES[node.op])}")
    given = {name: value for name, value in zip(names, values, strict=False) if value is not None}
    missing = [name for name in ("X", "W", "R") if name not in given]
    if missing:
        raise OnnxError(f"{node.label} has no {' and no '.join(missing)}, expected X, W and R at least")
    dtype = given["X"].dtype
    for name, value in given.items():
        if name != "sequence_lens" and value.dtype != dtype:
            raise OnnxError(f"{node.label}: {name} is {value.dtype}, expected {dtype} like X")
    if dtype.name in HALF:
        return {n: v.astype(np.float32) if v.dtype == dtype else v for n, v in given.items()}
    if dtype not in (np.float32, np.float64):
        raise OnnxError(f"{node.label}: X is {dtype}, expected float32, float64, float16 or bfloat16")
    return given


def _check_shapes(node: Node, given: dict[str, Value], sizes: dict[str, int], layout: int) -> None:
    G, H = len(GATES[node.op]), sizes["H"]
    D, B = sizes["D"], sizes["B"]
    state = (B, D, H) if layout else (D, B, H)
    shapes: dict[str, tuple[int, ...]] = {
        "W": (D, G * H, sizes["I"]),
        "R": (D, G * H, H),
        "B": (D, 2 * G * H),
        "sequence_lens": (B,),
        "initial_h": state,
        "initial_c": state,
        "P": (D, 3 * H),
    }
    for name, value in given.items():
        if name in shapes and value.shape != shapes[name]:
            raise OnnxError(
                f"{node.label}: {name} has the shape {value.shape}, expected {shapes[name]}: X is {given['X'].shape}, "
                f"with {D} direction{'s' if D > 1 else ''} of {H} units"
            )


def _lengths(node: Node, given: dict[str, Value], sizes: dict[str, int]) -> Value | None:
    lengths = given.get("sequence_lens")
    if lengths is None:
        return None
    if lengths.dtype.kind not in "iu":
        raise OnnxError(f"{node.label}: sequence_lens is {lengths.dtype}, expected whole numbers")
    if lengths.size and (lengths.min() < 0 or lengths.max() > sizes["T"]):
        raise OnnxError(
            f"{node.label}: sequence_lens go from {lengths.min()} to {lengths.max()}, expected 0 to {sizes['T']}, the "
            "steps of X"
        )
    return lengths


def _initial(op: str, given: dict[str, Value], sizes: dict[str, int], layout: int) -> tuple[list[Value], ...] | None:
    names = [f"initial_{state}" for state in STATES[op]]
    if not any(name in given for name in names):
        return None
    zeros = np.zeros((sizes["D"], sizes["B"], sizes["H"]), given["X"].dtype)
    states = [given[n].transpose(1, 0, 2) if layout and n in given else given.get(n, zeros) for n in names]
    return tuple([np.require(state[d], requirements=["C", "W"]) for state in states] for d in range(sizes["D"]))


def _cells(node: Node, directions: int, peepholes: bool) -> tuple[Cell, ...]:
    """The cell of each direction."""
    names = _list(node, "activations", str, list(DEFAULTS[node.op]) * directions)
    each = len(DEFAULTS[node.op])
    if len(names) != each * directions:
        raise OnnxError(
            f"{node.label}: activations are {names[:9]}, expected {each} for each of {directions} directions"
        )
    clip = node.attributes.get("clip")
    if clip is not None and (not isinstance(clip, (int, float)) or not 0 < clip < float("inf")):
        raise OnnxError(f"{node.label}: clip is {str(clip)[:80]}, expected a number above 0")
    flags = (
        bool(_integer(node, "linear_before_reset", 0, None)),
        bool(_integer(node, "input_forget", 0, (0, 1))),
        peepholes,
    )
    try:
        chosen = choose(names, _list(node, "activation_alpha", float, []), _list(node, "activation_beta", float, []))
        parts = [chosen[d * each : (d + 1) * each] for d in range(directions)]
        return tuple(cell_of(Variant(node.op, part, clip and float(clip), *flags)) for part in parts)
    except CellError as error:
        raise OnnxError(f"{node.label}: {error}") from error


def _weights(op: str, cell: Cell, given: dict[str, Value], d: int) -> Weights:
    """The arrays of one direction, gates in the order of the cell."""
    W, R = given["W"][d], given["R"][d]
    H, G = R.shape[1], len(GATES[op])
    biases = given["B"][d] if "B" in given else np.zeros(2 * G * H, W.dtype)

    def rows(array: Value, gates: Sequence[str], order: str) -> Value:
        return np.concatenate([array[order.index(g) * H : (order.index(g) + 1) * H] for g in gates])

    order = GATES[op]
    parameters = {p: np.array(rows(given["P"][d], p[-1], PEEPHOLES)) for p in cell.parameters}
    return Weights(
        rows(W, cell.input_gates, order),
        rows(R, cell.recurrent_gates, order),
        rows(biases[: G * H], cell.input_gates, order),
        rows(biases[G * H :], cell.recurrent_gates, order),
        None,
        parameters,
    )


def _get(node: Node, name: str, kind: type, default: Any) -> Any:
    value = node.attributes.get(name, default)
    if not isinstance(value, kind):
        raise OnnxError(f"{node.label}: {name} is a {type(value).__name__}, expected a {kind.__name__}")
    return value


def _integer(node: Node, name: str, default: int, allowed: tuple[int, ...] | None) -> int:
    value = int(_get(node, name, int, default))
    if allowed and value not in allowed:
        raise OnnxError(f"{node.label}: {name} is {value}, expected {' or '.join(map(str, allowed))}")
    return value


def _list(node: Node, name: str, kind: type, default: list[Any]) -> list[Any]:
    values = _get(node, name, list, default)
    kinds = (int, float) if kind is float else kind
    if not all(isinstance(v, kinds) for v in values):
        raise OnnxError(f"{node.label}: {name} is {str(values)[:80]}, expected a list of {kind.__name__}")
    return list(values)
