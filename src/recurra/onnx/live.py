"""A live session of any ONNX graph whose states are inputs and outputs, as streaming models have them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recurra.errors import OnnxError, SessionError
from recurra.onnx.budget import budget, check_size
from recurra.onnx.graph import Graph, Node, Place, Value, read
from recurra.onnx.run import checked, evaluate_node
from recurra.runtime.sealed import seal, unseal

_KIND = b"RcrO"  # a snapshot's payload is the states, one after the other


class LiveGraph:
    """A live state of an ONNX graph: recurrent nodes run on Recurra's kernels, all others as `run` has them.

    Each step takes the data and gives the result; the states go round inside. Which inputs are states is found by
    names, dtypes and shapes, or told. What depends on nothing but the model and `fixed` is computed once.

    Args:
        source: the model's bytes or its file.
        fixed: inputs that are the same in all steps, such as a sampling rate.
        states: the output of each state by its input, where they cannot be found.
        rows: of the batch, where the model leaves the size of a state open.

    Attributes:
        inputs: names of what a step takes, in order.
        outputs: names of what it gives.
        carried: for each input that is a state, the output that follows it.

    Raises:
        OnnxError: the graph is malformed, or has no states.
        OSError: the file cannot be read.

    >>> import numpy as np, tempfile
    >>> from recurra import cells, onnx, runtime
    >>> from recurra.weights import Weights
    >>> weights = Weights.random(cells.gru, 2, 5, rng=np.random.default_rng(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = onnx.export(runtime.Model([runtime.Recurrent(cells.gru, [weights])]), f"{folder}/model.onnx")
    ...     live = onnx.LiveGraph(f"{folder}/model.onnx")
    >>> live.step(np.ones((1, 1, 2), np.float32)).shape, live.carried
    ((1, 1, 5), {'layers.0.h': 'layers.0.h.next'})
    """

    def __init__(
        self,
        source: bytes | str | os.PathLike[str],
        fixed: Mapping[str, Any] | None = None,
        states: Mapping[str, str] | None = None,
        rows: int = 1,
    ) -> None:
        graph = read(source)
        places = {place.name: place for place in graph.inputs}
        given = {name: checked(places, name, value) for name, value in (fixed or {}).items()}
        free = [place for place in graph.inputs if place.name not in given]
        self.carried = dict(states) if states is not None else _carried(graph, free)
        self._check(graph, free)
        self.inputs = [p.name for p in free if p.name not in self.carried and p.name not in graph.constants]
        self.outputs = [p.name for p in graph.outputs if p.name not in self.carried.values()]
        self._places, self._opset = places, graph.opset
        self._begin = {name: _beginning(graph, places[name], rows) for name in self.carried}
        constants = {n: a for n, a in graph.constants.items() if n not in self.carried} | given
        with budget(graph.arrays, given.values()), np.errstate(all="ignore"):
            self._nodes, self._constants = _folded(graph, constants, {*self.inputs, *self.carried})
        self._numbers = sum(a.size for a in self._constants.values())
        whose = hashlib.sha256(source if isinstance(source, bytes) else Path(source).read_bytes())
        whose.update(repr(sorted(self.carried.items())).encode())
        for name, array in sorted({**graph.constants, **given}.items()):  # those of other files, too
            whose.update(name.encode() + array.tobytes())
        self._fingerprint = whose.digest()
        self._state = dict(self._begin)

    def step(self, *data: Any) -> Any:
        """What the graph gives for `inputs`, after all steps before; a tuple where it has several outputs.

        Raises:
            OnnxError: the data does not fit, or a node cannot take it; the state is unchanged.
        """
        if len(data) != len(self.inputs):
            raise OnnxError(f"step: got {len(data)} arrays, expected {len(self.inputs)}: {', '.join(self.inputs)}")
        values = {**self._constants, **self._state}
        values |= {n: checked(self._places, n, value) for n, value in zip(self.inputs, data, strict=True)}
        given = [values[name] for name in (*self.inputs, *self._state)]
        with budget((), given, self._numbers), np.errstate(all="ignore"):
            for node in self._nodes:
                values |= evaluate_node(node, values, self._opset)
        missing = [name for name in (*self.carried.values(), *self.outputs) if name not in values]
        if missing:
            raise OnnxError(f"no node computes the output {missing[0][:80]!r}, expected one that does")
        after = {name: values[output] for name, output in self.carried.items()}
        for name, value in after.items():
            if value.shape != self._state[name].shape or value.dtype != self._state[name].dtype:
                raise OnnxError(
                    f"the state {name[:80]!r} is {value.dtype} of the shape {value.shape} after a step, and was "
                    f"{self._state[name].dtype} of {self._state[name].shape}: name the states, or set `rows`"
                )
        self._state = after
        results = tuple(values[name] for name in self.outputs)
        return results[0] if len(results) == 1 else results

    def reset(self) -> None:
        """Go back to the beginning."""
        self._state = dict(self._begin)

    @property
    def state(self) -> dict[str, Value]:
        """A copy of each state by the name of its input."""
        return {name: value.copy() for name, value in self._state.items()}

    def fork(self) -> LiveGraph:
        """Another session with the same state, which goes its own way."""
        other = object.__new__(LiveGraph)
        other.__dict__.update(self.__dict__)
        other._state = dict(self._state)
        return other

    def snapshot(self) -> bytes:
        """The state as bytes, for `restore` in this or another process."""
        states = b"".join(np.ascontiguousarray(a).tobytes() for a in self._state.values())
        return seal(_KIND, self._fingerprint, states)

    def restore(self, snapshot: bytes) -> None:
        """Go on from a snapshot.

        Raises:
            SessionError: it is no snapshot, damaged, newer or of another model; nothing has changed.
        """
        _, states = unseal(bytes(snapshot), _KIND, self._fingerprint)
        found, at = {}, 0
        if len(states) != sum(a.nbytes for a in self._state.values()):
            raise SessionError("restore: the snapshot has other states than this session: make one with these `rows`")
        for name, a in self._state.items():
            found[name] = np.frombuffer(states, a.dtype, a.size, at).reshape(a.shape).copy()
            at += a.nbytes
        self._state = found

    def _check(self, graph: Graph, free: list[Place]) -> None:
        outputs, inputs = {p.name for p in graph.outputs}, {p.name for p in free}
        wrong = [n for n in self.carried if n not in inputs] + [n for n in self.carried.values() if n not in outputs]
        if wrong or not self.carried:
            what = f"{wrong[0][:80]!r} is none of its inputs and outputs" if wrong else "none of its inputs is a state"
            names = ", ".join(p.name[:40] for p in (*graph.inputs, *graph.outputs)[:12])
            raise OnnxError(
                f"LiveGraph: {what}, expected `states` of {names}, or recurra.onnx.run for a whole sequence"
            )


def _carried(graph: Graph, free: list[Place]) -> dict[str, str]:
    """The output that follows each input that is a state: of its dtype and shape, by name where there are several."""
    left = list(graph.outputs[1:])
    found: dict[str, str] = {}
    for place in free[1:]:
        fitting = [output for output in left if _fits(place, output)]
        named = [output for output in fitting if output.name.startswith(place.name)]
        if fitting:
            output = (named or fitting)[0]
            found[place.name] = output.name
            left.remove(output)
    return found


def _fits(place: Place, output: Place) -> bool:
    """Whether an output may be an input's next value."""
    if place.dtype != output.dtype or place.shape is None or not place.shape:
        return False
    if output.shape is None:
        return True
    pairs = zip(place.shape, output.shape, strict=False)
    return len(place.shape) == len(output.shape) and all(a is None or b is None or a == b for a, b in pairs)


def _beginning(graph: Graph, place: Place, rows: int) -> Value:
    """What a state begins with: its value in the model, or zeros."""
    if place.name in graph.constants:
        return graph.constants[place.name]
    check_size([rows if n is None else n for n in place.shape or ()], f"the state {place.name[:80]!r}")
    zeros = np.zeros([rows if n is None else n for n in place.shape or ()], place.dtype or np.float32)
    begins = graph.begins.get(place.name, zeros)
    return zeros + begins if begins.shape == zeros.shape[-1:] else zeros


def _folded(graph: Graph, values: dict[str, Value], free: set[str]) -> tuple[list[Node], dict[str, Value]]:
    """The nodes that depend on what is free, and the values of all others."""
    changing, left = set(free), list[Node]()
    for node in graph.nodes:
        inner = any(isinstance(a, Graph) for a in node.attributes.values())  # which sees all that is outside
        if inner or changing & set(node.inputs) or not node.outputs:
            left.append(node)
            changing |= set(node.outputs)
        else:
            values |= evaluate_node(node, values, graph.opset)
    return left, values
