"""Run an ONNX graph: recurrent nodes by the engine, what stands around them in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from recurra.errors import OnnxError, RecurraError
from recurra.onnx import library, recurrent
from recurra.onnx.budget import OF_NODE, OF_NUMBER, SLOW, budget, check_size, check_work, current
from recurra.onnx.graph import Graph, Node, Place, Value, _line, read
from recurra.onnx.operators import OPERATORS

Inputs = Mapping[str, Any] | Sequence[Any]


def run(model_bytes: bytes, inputs: Inputs) -> list[Value]:
    """Run an ONNX model once.

    Nodes RNN, LSTM and GRU run on the engine's kernels, with every attribute and input of the standard: their equations
    are made into a cell, which is compiled if it is none of the built-in ones. float16 is computed in float32. A row
    with a length of zero gives zeros, in its final states too, as ONNX Runtime has it.

    Args:
        model_bytes: the serialized model, all its arrays in it.
        inputs: arrays by name, or in the order of the graph's inputs. Those with a value in the model may be left out
            (by name).

    Returns:
        The outputs of the graph in their order.

    Raises:
        OnnxError: the model is malformed or has an operator that is not known, or the inputs do not fit it.

    >>> import numpy as np
    >>> from onnx import helper
    >>> node = helper.make_node("GRU", ["x", "W", "R"], ["y"], hidden_size=2, linear_before_reset=1)
    >>> places = [helper.make_tensor_value_info(name, 1, None) for name in ("x", "W", "R", "y")]
    >>> model = helper.make_model(helper.make_graph([node], "g", places[:3], places[3:]))
    >>> ones = [np.ones(shape, np.float32) for shape in [(4, 1, 3), (1, 6, 3), (1, 6, 2)]]
    >>> run(model.SerializeToString(), ones)[0].shape
    (4, 1, 1, 2)
    """
    graph = read(model_bytes)
    values = evaluate(graph, feeds(graph, inputs))
    missing = [place.name for place in graph.outputs if place.name not in values]
    if missing:
        raise OnnxError(f"no node computes the output {missing[0][:80]!r}, expected one that does")
    return [values[place.name] for place in graph.outputs]


def feeds(graph: Graph, inputs: Inputs) -> dict[str, Value]:
    """The inputs of a graph by name, checked against what it declares."""
    if not isinstance(inputs, Mapping):
        given = list(inputs)
        if not len(graph.needed) <= len(given) <= len(graph.inputs):
            raise OnnxError(f"got {len(given)} inputs, expected {len(graph.needed)}: {_names(graph.needed)}")
        places = graph.inputs if len(given) == len(graph.inputs) else graph.needed
        inputs = {place.name: value for place, value in zip(places, given, strict=False)}
    known = {place.name: place for place in graph.inputs}
    found = {name: checked(known, name, value) for name, value in inputs.items()}
    missing = [place for place in graph.needed if place.name not in found]
    if missing:
        raise OnnxError(f"the input {missing[0].name[:80]!r} is missing, expected {_names(graph.needed)}")
    return found


def checked(known: Mapping[str, Place], name: str, value: object) -> Value:
    """An input as a graph declares it.

    Raises:
        OnnxError: there is none of that name, or it is of another dtype or shape.
    """
    if name not in known:
        raise OnnxError(f"got the input {str(name)[:80]!r}, expected {_names(list(known.values()))}")
    place = known[name]
    array = np.asarray(value)
    if place.dtype is not None and array.dtype != place.dtype:
        raise OnnxError(f"the input {place.name!r} is {array.dtype}, expected {place.dtype}: use .astype")
    if place.shape is not None and (
        array.ndim != len(place.shape)
        or any(n is not None and n != m for n, m in zip(place.shape, array.shape, strict=True))
    ):
        wanted = ", ".join("any" if n is None else str(n) for n in place.shape)
        raise OnnxError(f"the input {place.name!r} has the shape {array.shape}, expected [{wanted}]")
    return array


def evaluate(graph: Graph, given: Mapping[str, Value], outer: Mapping[str, Value] | None = None) -> dict[str, Value]:
    """Every value of a graph by name; a graph inside a node also sees the values outside."""
    values: dict[str, Value] = {**(outer or {}), **graph.constants, **given}
    with budget(graph.arrays, given.values()), np.errstate(all="ignore"):
        for node in graph.nodes:
            values |= evaluate_node(node, values, graph.opset)
    return values


def evaluate_node(node: Node, values: Mapping[str, Value], opset: int) -> dict[str, Value]:
    """The outputs of one node by name.

    Raises:
        OnnxError: it is unknown, its inputs are not there or do not fit, or it costs more than its run may.
    """
    try:
        arguments = [values[name] if name else None for name in node.inputs]
    except KeyError as error:
        raise OnnxError(f"{node.label}: nothing before it computes its input {error.args[0][:80]!r}") from None
    while arguments and arguments[-1] is None:
        arguments.pop()
    spent = current()
    before = spent.held
    check_work(OF_NODE + SLOW.get(node.op, OF_NUMBER) * sum(a.size for a in arguments if a is not None), node.label)
    try:
        results = _apply(node, arguments, values, opset)
        spent.held = before + sum(a.nbytes for a in results if a.base is None)  # what was made inside is gone
    except OnnxError:
        raise
    except RecurraError as error:
        raise OnnxError(f"{node.label}: {error}") from error
    except Exception as error:  # whatever NumPy says of arrays and attributes that do not fit
        shapes = ", ".join("none" if a is None else str(a.shape) for a in arguments)
        why = f"it has no {error}" if isinstance(error, KeyError) else _line(error)
        raise OnnxError(f"{node.label} cannot take inputs of the shapes {shapes or 'none'}: {why}") from error
    if len(results) < len(node.outputs):
        raise OnnxError(f"{node.label} has {len(node.outputs)} outputs, expected at most {len(results)}")
    return {name: value for name, value in zip(node.outputs, results, strict=False) if name}


def _apply(node: Node, arguments: list[Value | None], values: Mapping[str, Value], opset: int) -> Sequence[Value]:
    if node.op in recurrent.INPUTS:
        return recurrent.run(node, arguments)
    if node.op in _GRAPHS:
        return _GRAPHS[node.op](node, arguments, values)
    if node.op in OPERATORS:
        return OPERATORS[node.op](node, arguments, opset)
    if node.op in library.OPERATORS:
        return library.run(node, arguments, opset)
    raise OnnxError(
        f"{node.label} is an operator that is not known here: run the model with ONNX Runtime, or cut it at this node"
    )


def branch(node: Node, arguments: Sequence[Value | None]) -> Graph:
    """The graph that an If runs."""
    if len(arguments) != 1 or arguments[0] is None or arguments[0].size != 1:
        raise ValueError("its condition is not one number")
    chosen = node.attributes["then_branch" if arguments[0].reshape(()) else "else_branch"]
    if not isinstance(chosen, Graph) or chosen.inputs:
        raise ValueError("its branch is no graph without inputs")
    return chosen


def _if(node: Node, arguments: list[Any], outer: Mapping[str, Value]) -> list[Value]:
    """One of two graphs, which see the values outside."""
    chosen = branch(node, arguments)
    results = evaluate(chosen, {}, outer)
    return [results[place.name] for place in chosen.outputs]


def _loop(node: Node, arguments: list[Any], outer: Mapping[str, Value]) -> list[Value]:
    """A graph so many times, or while it says so, with values carried from one to the next and others collected."""
    body, (most, going, *carried) = node.attributes["body"], [*arguments, None, None][: max(len(arguments), 2)]
    if not isinstance(body, Graph) or len(body.inputs) != 2 + len(carried):
        raise ValueError(f"{len(carried)} carried values, expected a body with two inputs more")
    turns = math.inf if most is None else int(most.reshape(()))
    going = going is None or bool(going.reshape(()))
    columns: list[list[Value]] = [[] for _ in body.outputs[1 + len(carried) :]]
    turn = 0
    while going and turn < turns:
        check_work(OF_NODE, node.label)
        given = [np.array(turn, np.int64), np.array(True), *carried]
        results = evaluate(body, dict(zip((p.name for p in body.inputs), given, strict=True)), outer)
        keep, *new = (results[place.name] for place in body.outputs)
        going, carried = bool(keep.reshape(())), new[: len(carried)]
        for column, value in zip(columns, new[len(carried) :], strict=True):
            column.append(value)
            check_size((turn + 1, *value.shape), node.label)
        turn += 1
    if not turn and columns:
        raise ValueError("a loop of no turns, whose outputs have no known shape")
    return [*carried, *(np.stack(column) for column in columns)]


def _scan(node: Node, arguments: list[Any], outer: Mapping[str, Value]) -> list[Value]:
    """A graph over the first axis of some inputs, with states from step to step."""
    body, count = node.attributes["body"], int(node.attributes["num_scan_inputs"])
    if node.attributes.get("scan_input_axes", [0])[0] or node.attributes.get("scan_output_axes", [0])[0]:
        raise ValueError("scans over other axes than the first are not known")
    if not isinstance(body, Graph) or not 0 < count <= len(arguments) or len(body.inputs) != len(arguments):
        raise ValueError(f"{count} inputs to scan of {len(arguments)}, expected a body with as many inputs as the node")
    states, sequences = arguments[:-count], arguments[-count:]
    T = len(sequences[0])
    if any(len(s) != T for s in sequences) or len(body.outputs) < len(states):
        raise ValueError(f"scanned inputs of {[len(s) for s in sequences]} steps, expected the same of all")
    scanned = len(body.outputs) - len(states)
    backwards = [bool(d) for d in node.attributes.get("scan_input_directions", [0] * count)]
    sequences = [s[::-1] if back else s for s, back in zip(sequences, backwards, strict=True)]
    columns: list[list[Value]] = [[] for _ in range(scanned)]
    for t in range(T):
        check_work(OF_NODE, node.label)
        given = dict(zip((p.name for p in body.inputs), [*states, *(s[t] for s in sequences)], strict=True))
        results = evaluate(body, given, outer)
        new = [results[place.name] for place in body.outputs]
        states = new[: len(states)]
        for column, value in zip(columns, new[len(states) :], strict=True):
            column.append(value)
    if not T and scanned:
        raise ValueError("a scan of no steps, whose outputs have no known shape")
    for column in columns:
        check_size((T, *column[0].shape), node.label)
    outward = [bool(d) for d in node.attributes.get("scan_output_directions", [0] * scanned)]
    stacked = [np.stack(c[::-1] if back else c) for c, back in zip(columns, outward, strict=True)]
    return [*states, *stacked]


_GRAPHS: dict[str, Callable[[Node, list[Any], Mapping[str, Value]], list[Value]]] = {
    "Scan": _scan,
    "If": _if,
    "Loop": _loop,
}


def _names(places: Sequence[Place]) -> str:
    return ", ".join(place.name[:80] for place in places[:20]) or "none"
