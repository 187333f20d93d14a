"""A runtime model as an ONNX graph whose states are inputs and outputs, checked in ONNX Runtime."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import helper

from recurra.errors import ExportError, MissingExtraError
from recurra.files import write_atomically
from recurra.onnx.bridge import ROWS
from recurra.onnx.equations import Builder, emit_scan
from recurra.onnx.graph import Value
from recurra.onnx.standard import arrays, attributes, match
from recurra.runtime import Model, Op, Recurrent
from recurra.runtime.model import MAIN
from recurra.runtime.parity import difference, random_input, refuse_difference
from recurra.weights import Array

OPSET, IR_VERSION = 22, 10
INPUT, OUTPUT = "x", "y"
_STEPS, _ROWS = 19, 3


def export(model: Model, path: str | os.PathLike[str], program: str | None = None) -> dict[str, Any]:
    """Write a model as an ONNX file of opset 22, for any runtime.

    The graph takes `x` [T, B, I] (ids [T, B] of int64 for an embedding), with T and B of any size, and gives `y`
    [T, B, O]. Each state is an input `layers.0.h` [B, H] and an output `layers.0.h.next`, under the names of
    `Model.state_widths`: whoever feeds the outputs of one call into the next has a stream, a step or a chunk a call. A
    network with a layer of two directions has no such states.

    A cell with the equations of the standard's RNN, LSTM or GRU becomes that node, whatever its activations and its
    gates are called; every other cell becomes a Scan over operators derived from its equations. The file has the
    model's preprocessing and card, and what its states begin with, as JSON in its metadata under `recurra`.

    A model of several programs, such as a translator's, becomes a graph for each: `program` names one. Inputs beside
    the first stand behind it in a row of `x`, in the order of `Program.inputs`.

    Before the file is written, it is run in ONNX Runtime as a whole and step by step, and compared with the model.

    Returns:
        A report: `runtime`, its version; `difference`, the largest of whole and stepped, relative to the largest number
        where that is above 1; `nodes`, what each recurrent layer became; `state`, what each state begins with, [H].

    Raises:
        ExportError: a layer cannot be exported, or ONNX Runtime does not compute what the model does.
        MissingExtraError: onnxruntime is not installed.
        OSError: the file cannot be written.

    >>> import numpy as np, tempfile
    >>> from recurra import cells, onnx, runtime
    >>> from recurra.weights import Weights
    >>> weights = Weights.random(cells.mgu, 2, 5, rng=np.random.default_rng(0))
    >>> model = runtime.Model([runtime.Recurrent(cells.mgu, [weights])])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx.export(model, f"{folder}/model.onnx")["nodes"]
    ['Scan']
    """
    model = _alone(model, program)
    proto, nodes = build(model)
    content = proto.SerializeToString()
    report = check(model, content)
    refuse_difference("export", f"that of {report['runtime']}", report["difference"], ExportError)
    write_atomically(path, content)
    return report | {"nodes": nodes, "state": beginnings(model)}


def _alone(model: Model, program: str | None) -> Model:
    """A model of one of its programs.

    Raises:
        ExportError: it has several, and none is named.
    """
    if program is None and len(model.programs) > 1:
        raise ExportError(
            f"export: the model has the programs {', '.join(model.programs)}, expected the name of one: program="
            f"{next(iter(model.programs))!r}"
        )
    if program is None:
        return model
    alone = Model(programs={MAIN: model.program(program)}, preprocessing=model.preprocessing)
    alone.card = model.card
    return alone


def beginnings(model: Model) -> dict[str, Array]:
    """What each state of a stream begins with, by its name."""
    return model.program().beginnings() if model.streams else {}


def build(model: Model) -> tuple[onnx.ModelProto, list[str]]:
    """The ONNX model, and what each recurrent layer became.

    Raises:
        ExportError: a layer cannot be exported; the message names it.
    """
    graph = _Graph(model)
    x = graph.add_inputs(model)
    for i, layer in enumerate(model.ops):
        x = graph.add_layer(f"layers.{i}", layer, x)
    graph.builder.add("Identity", [x], [OUTPUT])
    lead = ["T", "B"]
    kind = onnx.TensorProto.INT64 if model.vocabulary_size else onnx.TensorProto.FLOAT
    data = helper.make_tensor_value_info(INPUT, kind, lead if model.vocabulary_size else [*lead, model.input_size])
    output = helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, [*lead, model.output_size])
    states: dict[str, tuple[str, int]] = {name: ("B", width) for name, width in graph.states.items()}
    proto = helper.make_model(
        helper.make_graph(
            graph.builder.nodes,
            "recurra",
            [data, *(helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in states.items())],
            [
                output,
                *(
                    helper.make_tensor_value_info(f"{n}.next", onnx.TensorProto.FLOAT, ["B", s[1]])
                    for n, s in states.items()
                ),
            ],
            graph.builder.tensors,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="recurra",
    )
    about = {"fingerprint": model.fingerprint, "preprocessing": model.preprocessing, "card": model.card}
    about["state"] = {name: value.tolist() for name, value in beginnings(model).items() if value.any()}
    helper.set_model_props(proto, {"recurra": json.dumps(about)})
    return proto, graph.recurrent


class _Graph:
    """A graph as it grows layer by layer."""

    def __init__(self, model: Model) -> None:
        self.builder = Builder()
        self.states = model.state_widths() if model.streams else {}
        self.known = model.program().beginnings()
        self.recurrent: list[str] = []
        self.inputs: dict[str, str] = {}

    def add_inputs(self, model: Model) -> str:
        """The inputs that stand side by side in a row; returns the first."""
        self.inputs = dict.fromkeys(model.inputs, INPUT)
        if len(model.inputs) > 1:
            self.inputs = {name: f"inputs.{name}" for name in model.inputs}
            sizes = self.builder.numbers(*model.inputs.values())
            self.builder.add("Split", [INPUT, sizes], [*self.inputs.values()], axis=-1)
        return next(iter(self.inputs.values()))

    def add_layer(self, name: str, layer: Op, x: str) -> str:
        """The layer's nodes; returns the name of its output."""
        if isinstance(layer, Recurrent):
            return self.add_recurrent(name, layer, x)
        for kind, row in ROWS.items():
            if isinstance(layer, kind):
                return row.emit(self, name, layer, x)
        known = ", ".join(["recurrent", *(kind.kind for kind in ROWS)])
        cure = f": {layer.without}" if layer.without else ""
        raise ExportError(
            f"export: {name} is a layer {layer.kind!r}, which has no form in ONNX yet; expected one of: {known}{cure}"
        )

    def add_recurrent(self, name: str, layer: Recurrent, x: str) -> str:
        """One node of the standard, or a Scan for each direction."""
        found = match(layer.cell)
        self.recurrent.append(found.variant.op if found else "Scan")
        initial = [
            [self._state(name, layer, x, d, k) for k in range(len(layer.cell.states))]
            for d in range(len(layer.weights))
        ]
        if found:
            return self._add_standard(name, layer, x, initial)
        outputs = []
        for d, weights in enumerate(layer.weights):
            own = name if len(layer.weights) == 1 else f"{name}.{('forward', 'reverse')[d]}"
            *lasts, output = emit_scan(self.builder, own, layer.cell, weights, x, initial[d], bool(d))
            outputs.append(output)
        if len(outputs) == 2:
            return self.builder.add("Concat", outputs, axis=-1)
        self._give(name, layer, lasts)
        return outputs[0]

    def _add_standard(self, name: str, layer: Recurrent, x: str, initial: Sequence[Sequence[str]]) -> str:
        found = match(layer.cell)
        assert found is not None
        add, D = self.builder.add, len(layer.weights)
        directions = [arrays(layer.cell, weights, found) for weights in layer.weights]
        stacked = {n: self.builder.array(f"{name}.{n}", np.stack([d[n] for d in directions])) for n in directions[0]}
        axis = self.builder.numbers(0)
        begins = []
        for k in range(len(layer.cell.states)):
            each = [add("Unsqueeze", [initial[d][k], axis]) for d in range(D)]
            begins.append(each[0] if D == 1 else add("Concat", each, axis=0))
        inputs = [x, stacked["W"], stacked["R"], stacked["B"], "", *begins, *([stacked["P"]] if "P" in stacked else [])]
        outputs = [f"{name}.{n}" for n in ("Y", "Y_h", "Y_c")[: 1 + len(begins)]]
        direction = "bidirectional" if D == 2 else "forward"
        more = attributes((found.variant,) * D)
        add(found.variant.op, inputs, outputs, hidden_size=layer.weights[0].hidden_size, direction=direction, **more)
        if D == 2:
            return add("Reshape", [add("Transpose", outputs[:1], perm=[0, 2, 1, 3]), self.builder.numbers(0, 0, -1)])
        self._give(name, layer, [add("Squeeze", [last, axis]) for last in outputs[1:]])
        return add("Squeeze", [outputs[0], self.builder.numbers(1)])

    def _state(self, name: str, layer: Recurrent, x: str, d: int, k: int) -> str:
        """What a state of a direction begins with: the input of that name, or a constant where nothing streams."""
        state, weights = layer.cell.states[k], layer.weights[d]
        width = weights.hidden_size if k else weights.U.shape[1]
        begin: Array = layer.initial[d][k] if layer.initial else np.zeros(width, np.float32)
        return self._input(f"{name}.{state}", f"{name}.{d}.{state}", begin, x)

    def _give(self, name: str, layer: Recurrent, lasts: Sequence[str]) -> None:
        for state, last in zip(layer.cell.states, lasts, strict=True):
            self.give(name, state, last)

    def begins(self, name: str, state: str, x: str) -> str:
        """The value that a state of the layer begins with, [B, width]."""
        return self._input(f"{name}.{state}", f"{name}.begin.{state}", self.known[f"{name}.{state}"], x)

    def give(self, name: str, state: str, last: str) -> None:
        """The value that a state of the layer ends with, which is an output where it is an input."""
        if f"{name}.{state}" in self.states:
            self.builder.add("Identity", [last], [f"{name}.{state}.next"])

    def _input(self, name: str, constant: str, begin: Array, x: str) -> str:
        if name in self.states:
            return name
        given = self.builder.array(constant, begin[None])
        rows = self.builder.add("Shape", [x], start=1, end=2)
        shape = self.builder.add("Concat", [rows, self.builder.numbers(len(begin))], axis=0)
        return self.builder.add("Expand", [given, shape])


def check(model: Model, content: bytes) -> dict[str, Any]:
    """Run an exported model in ONNX Runtime on random numbers, and say how far it is from the model."""
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("the check of an exported model", "onnxruntime", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    run = partial(_call, session)
    x = random_input(model, _STEPS, _ROWS)
    ours = model.run(x)
    state: dict[str, Value] = {n: np.stack([a] * _ROWS) for n, a in beginnings(model).items()}
    ways = [run(x, state)[0]]
    if model.streams:
        steps = []
        for t in range(len(x)):
            y, state = run(x[t : t + 1], state)
            steps.append(y)
        ways.append(np.concatenate(steps))
    found = max(difference(way, ours) for way in ways)
    return {"runtime": f"onnxruntime {onnxruntime.__version__}", "difference": found}


def _call(session: Any, x: Value, state: dict[str, Value]) -> tuple[Value, dict[str, Value]]:
    """One call, which carries states on as a stream does."""
    names = [o.name for o in session.get_outputs()]
    y, *states = session.run(names, {INPUT: x, **state})
    return y, {name.removesuffix(".next"): s for name, s in zip(names[1:], states, strict=True)}
