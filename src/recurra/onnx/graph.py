"""An ONNX model as plain Python: nodes, arrays, names. Whatever the bytes are, it is read or an error says why not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

from recurra.errors import OnnxError
from recurra.onnx.budget import check_size

Value: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

OLDEST = 7  # of the opset: before it, arithmetic broadcast by an attribute
HALF = ("float16", "bfloat16")
_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Node:
    """One operator, with the names of what goes in ("" where an optional input is left out) and comes out."""

    op: str
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)
    proto: Any = field(default=None, compare=False, repr=False)  # as it was read
    made: list[Any] = field(default_factory=list, compare=False, repr=False)  # once, for all its runs


@dataclass(frozen=True)
class Place:
    """An input or output of a graph: its name, its dtype if it is a tensor's, its dimensions (None: any number)."""

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Graph:
    """Nodes in an order of computation; `constants` are the initializers, which inputs of the same name replace.

    `begins` says what a stream's states begin with, of a graph that `export` made.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, Value]
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    opset: int
    begins: dict[str, Value] = field(default_factory=dict)

    @property
    def arrays(self) -> Iterator[Value]:
        """All that the model holds, in graphs inside its nodes too."""
        yield from self.constants.values()
        for node in self.nodes:
            for value in node.attributes.values():
                if isinstance(value, Graph):
                    yield from value.arrays
                elif isinstance(value, np.ndarray):
                    yield value

    @property
    def needed(self) -> tuple[Place, ...]:
        """The inputs without a value of their own."""
        return tuple(place for place in self.inputs if place.name not in self.constants)


def read(source: bytes | str | os.PathLike[str]) -> Graph:
    """The graph of a model, from its bytes or its file.

    Raises:
        OnnxError: it is no ONNX model, of an opset that is not known, or damaged.
        OSError: the file cannot be read.
    """
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            model = _decode(file.read())
        try:
            onnx.load_external_data_for_model(model, os.path.dirname(os.path.abspath(source)))
        except Exception as error:  # whatever the package raises for a path that it refuses
            raise OnnxError(f"{source}: its external data cannot be read: {_line(error)}") from error
    else:
        model = _decode(bytes(source))
    versions = [entry.version for entry in model.opset_import if entry.domain in _DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not OLDEST <= versions[0] <= newest:
        raise OnnxError(
            f"an ONNX model with the opsets {versions}, expected one from {OLDEST} to {newest}: convert it with "
            "onnx.version_converter, or update the package onnx"
        )
    if model.functions:
        names = ", ".join(f.name for f in model.functions)
        raise OnnxError(f"an ONNX model with the functions {names[:80]}: inline them with onnx.inliner first")
    return replace(_graph(model.graph, versions[0], "the graph"), begins=_begins(model))


def widened(graph: Graph) -> Graph:
    """The same with float32 in place of halves, in which recurrent nodes compute anyway."""

    def wide(dtype: Any) -> Any:
        return np.dtype(np.float32) if dtype is not None and np.dtype(dtype).name in HALF else dtype

    def attribute(name: str, value: Any) -> Any:
        if isinstance(value, Graph):
            return widened(value)
        if name == "to" and value in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16):
            return int(onnx.TensorProto.FLOAT)
        return value.astype(wide(value.dtype)) if isinstance(value, np.ndarray) else value

    def node(n: Node) -> Node:
        return replace(n, attributes={name: attribute(name, value) for name, value in n.attributes.items()})

    constants = {name: array.astype(wide(array.dtype)) for name, array in graph.constants.items()}
    places = [tuple(replace(p, dtype=wide(p.dtype)) for p in of) for of in (graph.inputs, graph.outputs)]
    return replace(graph, nodes=tuple(map(node, graph.nodes)), constants=constants, inputs=places[0], outputs=places[1])


def _begins(model: onnx.ModelProto) -> dict[str, Value]:
    """From the metadata that `export` writes; nothing where that is somebody else's."""
    try:
        about = next(json.loads(entry.value) for entry in model.metadata_props if entry.key == "recurra")
        return {str(name): np.asarray(value, np.float32) for name, value in about["state"].items()}
    except (StopIteration, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _decode(content: bytes) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's own class differs between its implementations
        raise OnnxError(f"got {len(content)} bytes that are no ONNX model ({_line(error)}): export it again") from error
    if not model.HasField("graph"):
        raise OnnxError(f"got {len(content)} bytes without a graph, expected an ONNX model: export it again")
    return model


def subgraph(proto: onnx.GraphProto, opset: int) -> Graph:
    """A graph as it is read where it stands inside a node."""
    return _graph(proto, opset, "a graph inside a node")


def _graph(proto: onnx.GraphProto, opset: int, label: str) -> Graph:
    if proto.sparse_initializer:
        raise OnnxError(f"{label} has sparse initializers, expected dense ones: store them as arrays")
    constants = {_name(t.name): _array(t, f"the initializer {t.name[:80]!r}") for t in proto.initializer}
    nodes = tuple(_node(n, opset, i) for i, n in enumerate(proto.node))
    return Graph(nodes, constants, tuple(map(_place, proto.input)), tuple(map(_place, proto.output)), opset)


def _node(proto: onnx.NodeProto, opset: int, number: int) -> Node:
    op = _name(proto.op_type)
    label = f"node {number} ({repr(op[:40])[1:-1]}{f' {proto.name[:80]!r}' if proto.name else ''})"
    if proto.domain not in _DOMAINS:
        raise OnnxError(f"{label} is of the domain {proto.domain[:80]!r}, expected an operator of the ONNX standard")
    attributes: dict[str, Any] = {}
    for attribute in proto.attribute:
        where = f"{label}: its attribute {attribute.name[:80]!r}"
        if _name(attribute.name) in attributes:
            raise OnnxError(f"{where} comes twice, expected it once")
        attributes[attribute.name] = _attribute(attribute, opset, where)
    metadata = {_name(entry.key): _name(entry.value) for entry in proto.metadata_props}
    names = tuple(map(_name, proto.input)), tuple(map(_name, proto.output))
    return Node(op, label, *names, attributes, metadata, proto)


def _attribute(proto: onnx.AttributeProto, opset: int, where: str) -> Any:
    """Numbers, text, arrays and graphs; lists as lists."""
    if proto.ref_attr_name:
        raise OnnxError(f"{where} refers to an attribute of a function, which there is not")
    try:
        value = onnx.helper.get_attribute_value(proto)
    except ValueError as error:
        raise OnnxError(f"{where} has no type that is known: {_line(error)}") from error
    if isinstance(value, bytes):
        return _text(value, where)
    if isinstance(value, onnx.TensorProto):
        return _array(value, where)
    if isinstance(value, onnx.GraphProto):
        return _graph(value, opset, where)
    if isinstance(value, (int, float)):
        return value
    try:
        values = list(value)
    except TypeError:
        raise OnnxError(f"{where} is a {type(value).__name__}, expected numbers, text, an array or a graph") from None
    return [_text(v, where) if isinstance(v, bytes) else v for v in values]


def _text(value: bytes, where: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise OnnxError(f"{where} is no text: {_line(error)}") from error


def _array(proto: onnx.TensorProto, where: str) -> Value:
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        raise OnnxError(f"{where} is in another file: pass the path of the model, or store everything in one file")
    try:
        check_size(proto.dims, where)
        return np.asarray(numpy_helper.to_array(proto))
    except OnnxError:
        raise
    except Exception as error:  # the package checks by asserting and by failing, each in its own way
        raise OnnxError(f"{where} is damaged: {_line(error)}: export the model again") from error


def _name(name: str | bytes) -> str:
    """A name; protobuf gives bytes where it is no text."""
    if isinstance(name, bytes):
        raise OnnxError(f"the name {name[:80]!r} is no text: the model is damaged, export it again")
    return name


def _place(proto: onnx.ValueInfoProto) -> Place:
    if not proto.type.HasField("tensor_type"):
        return Place(_name(proto.name), None, None)
    tensor = proto.type.tensor_type
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if tensor.elem_type else None
    except KeyError:
        raise OnnxError(f"the input or output {proto.name[:80]!r} has the unknown dtype {tensor.elem_type}") from None
    if not tensor.HasField("shape"):
        return Place(_name(proto.name), dtype, None)
    dims = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in tensor.shape.dim)
    return Place(_name(proto.name), dtype, dims)


def _line(error: BaseException) -> str:
    """An error's message in one line of bounded length, whatever it quotes."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
