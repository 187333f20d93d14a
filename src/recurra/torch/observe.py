"""The one observer of torch modules: what went through each recurrent layer, and what came back from the loss.

An `Observer` listens while a module runs, whatever the module's own forward does. Each `Call` that it saw has the
layer's inputs, and gives `traces`: one for each layer and direction inside, with input, weights, first states and
gradients, in NumPy, from which states and gates follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from recurra import engine
from recurra.cells.cell import Cell
from recurra.torch.bridge import Entry, entries_of
from recurra.traces import LayerTrace
from recurra.weights import Array, Weights

States = list[list[Any]]  # [state][layer and direction]
Segment = tuple[int, int, int]  # a row, and its first step and the one after its last
Gradients = tuple[Array, list[list[Array]]]  # d_output [T, B, D * P]; of each last state, [state][layer and direction]


@dataclass
class Call:
    """One call of a recurrent layer.

    Attributes:
        name: the layer's in the whole module.
        module: the layer.
        x: its input, time-major [T, B, I].
        begin: initial states [B, P] and [B, H], where they were given or carried.
        lengths: [B], or None.
        reset: [T, B], or None.
        result: what the layer returned.
    """

    name: str
    module: nn.Module
    x: Tensor
    begin: States | None
    lengths: Tensor | None
    reset: Tensor | None
    result: Any = None

    def tensors(self) -> list[Tensor]:
        """The output and the final states, whose gradients tell how the loss depends on this layer."""
        output, *rest = self.result
        flat = [output.data if isinstance(output, PackedSequence) else output]
        return [*flat, *(t for state in self._states(rest[0]) for t in state)]

    def gradients(self, found: Sequence[Tensor | None]) -> Gradients:
        """The gradients of `tensors`, as d_output [T, B, D * P] and [state][layer and direction] of [B, P] or [B, H].

        A gradient that is None is zero.
        """
        given = [torch.zeros_like(t) if d is None else d.detach() for t, d in zip(self.tensors(), found, strict=True)]
        output = self.result[0]
        if isinstance(output, PackedSequence):
            packed = PackedSequence(given[0], output.batch_sizes, output.sorted_indices, output.unsorted_indices)
            d_output = pad_packed_sequence(packed, total_length=len(self.x))[0]
        else:
            d_output = given[0] if given[0].dim() == 3 else given[0].unsqueeze(1)
            if getattr(self.module, "batch_first", False) and given[0].dim() == 3:
                d_output = d_output.transpose(0, 1)
        parts, rest = [len(state) for state in self._states(self.result[1])], given[1:]
        final = []
        for count in parts:
            state, rest = rest[:count], rest[count:]
            final.append([_array(s).reshape(self.x.shape[1], -1) for t in state for s in t.unbind()])
        return _array(d_output), final

    def traces(self, some: Sequence[Segment] | None = None, gradients: Gradients | None = None) -> list[LayerTrace]:
        """The traces of each layer and direction inside, from the first layer to the last.

        Args:
            some: parts of rows, all of one length, without a reset inside; the longest rows if not given.
            gradients: from `gradients`; zero if not given.
        """
        return _traces(self, longest(self, self.x.shape[1]) if some is None else some, gradients)

    def _states(self, final: Any) -> list[tuple[Tensor, ...]]:
        """Each final state, as one tensor or as one for each layer."""
        count = len(recurrences_of(self.module)[0][0][0].states)
        states = (final,) if count == 1 else final
        return [s if isinstance(s, tuple) else (s,) for s in states]


class Passed(NamedTuple):
    """One run of a layer that has no layers inside it and is not recurrent: its name, itself, inputs and output."""

    name: str
    module: nn.Module
    inputs: Any
    output: Any


@dataclass
class Observer:
    """Listens to the layers of a module, while it is open and `listening`.

    Attributes:
        module: whose layers.
        others: whether to note the layers that are not recurrent, too.
        listening: may be switched off and on.
        calls: of the recurrent layers, in the order of running.
        passed: of the others, in the order of running.

    >>> import torch
    >>> from recurra.torch import GRU
    >>> with Observer(torch.nn.ModuleDict({"rnn": (layer := GRU(1, 4))})) as seen:
    ...     output = layer(torch.ones(5, 2, 1))
    >>> (trace,) = seen.calls[0].traces()
    >>> states, gates = trace.run()
    >>> trace.name, states["h"].shape, list(gates)
    ('rnn', (5, 2, 4), ['r', 'z', 'n'])
    """

    module: nn.Module
    others: bool = False
    listening: bool = True
    calls: list[Call] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    _handles: list[Any] = field(default_factory=list)

    def __enter__(self) -> Observer:
        recurrent = recurrent_layers(self.module)
        for name, layer in recurrent:
            self._handles.append(layer.register_forward_pre_hook(self._before(name), with_kwargs=True))
            self._handles.append(layer.register_forward_hook(self._after, with_kwargs=True))
        inside = {id(m) for _, layer in recurrent for m in layer.modules()}
        for name, layer in self.module.named_modules() if self.others else ():
            if id(layer) not in inside and not list(layer.children()):
                self._handles.append(layer.register_forward_hook(self._noting(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def longest(self) -> list[Call]:
        """The longest call of each recurrent layer, in the order in which they first ran."""
        found: dict[str, Call] = {}
        for call in self.calls:
            if call.name not in found or len(call.x) > len(found[call.name].x):
                found[call.name] = call
        return list(found.values())

    def _before(self, name: str) -> Any:
        def hook(layer: nn.Module, args: Any, kwargs: Any) -> None:
            if self.listening:
                self._now = call_of(name, layer, args, kwargs)

        return hook

    def _after(self, layer: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        if self.listening:
            self._now.result = result
            self.calls.append(self._now)

    def _noting(self, name: str) -> Any:
        def hook(layer: nn.Module, args: Any, result: Any) -> None:
            if self.listening:
                self.passed.append(Passed(name, layer, args, result))

        return hook


def recurrent_layers(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every recurrent layer of a module, with a name for readers."""
    found: list[tuple[str, nn.Module]] = []

    def look(part: nn.Module, name: str) -> None:
        if isinstance(part, nn.RNNBase) or hasattr(part, "recurrences"):
            found.append((_readable(name, part), part))
            return
        for child, inner in part.named_children():
            look(inner, f"{name}.{child}" if name else child)

    look(module, "")
    return found


def _readable(name: str, layer: nn.Module) -> str:
    """Its path, with its kind where that is a number only."""
    return f"{name} {type(layer).__name__}".lstrip() if not name or name.rpartition(".")[2].isdigit() else name


def recurrences_of(layer: Any) -> list[Entry]:
    """Cells and arrays of each layer and direction."""
    return entries_of(layer)


def call_of(name: str, layer: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Call:
    """What a layer is called with, time-major."""
    given: Any = kwargs.get("input", args[0] if args else None)
    state = kwargs.get("hx", kwargs.get("state", args[1] if len(args) > 1 else None))
    lengths: Any = kwargs.get("lengths")
    reset: Any = kwargs.get("reset")
    batch_first = getattr(layer, "batch_first", False)
    if isinstance(given, PackedSequence):
        x, lengths = pad_packed_sequence(given)
        batched = True
    else:
        batched = given.dim() == 3
        x = given.transpose(0, 1) if batch_first and batched else given if batched else given.unsqueeze(1)
        if reset is not None:
            reset = reset.T if batch_first and batched else reset if batched else reset.unsqueeze(1)
    if hasattr(layer, "_initial"):
        begin = layer._initial(x, state, batched)
    elif state is not None:
        states = state if isinstance(state, tuple) else (state,)
        begin = [list((s if s.dim() == 3 else s.unsqueeze(1)).unbind()) for s in states]
    else:
        begin = None
    lengths = None if lengths is None else torch.as_tensor(lengths)
    return Call(name, layer, x.detach(), begin, lengths, reset)


def segments(call: Call) -> list[Segment]:
    """Every part of a row that no reset interrupts."""
    T, B, _ = call.x.shape
    found = []
    for row in range(B):
        end = T if call.lengths is None else int(call.lengths[row])
        cuts = [] if call.reset is None else [t for t in call.reset[:, row].nonzero()[:, 0].tolist() if 0 < t < end]
        edges = [0, *cuts, end]
        found += [(row, a, b) for a, b in pairwise(edges) if b > a]
    return found


def longest(call: Call, rows: int) -> list[Segment]:
    """The longest of them, all of one length, at most so many; none where there is no step at all."""
    if call.lengths is None and call.reset is None:
        return [(row, 0, len(call.x)) for row in range(min(rows, call.x.shape[1]) if len(call.x) else 0)]
    found = segments(call)
    most = max((b - a for _, a, b in found), default=0)
    return [s for s in found if s[2] - s[1] == most][:rows]


def _traces(call: Call, some: Sequence[Segment], gradients: Gradients | None) -> list[LayerTrace]:
    """The input of each inner layer, and the gradient that comes back to it, are computed by the native kernels."""
    entries = recurrences_of(call.module)
    dtype = np.dtype(np.float64 if call.x.dtype == torch.float64 else np.float32)
    at, rows = np.array([np.arange(a, b) for _, a, b in some]).T, [row for row, _, _ in some]
    x = np.ascontiguousarray(_array(call.x)[at, rows], dtype)
    layers: list[list[LayerTrace]] = []
    tapes: list[list[Any]] = []
    for depth, entry in enumerate(entries):
        layers.append([])
        tapes.append([])
        outputs = []
        for direction, (cell, arrays) in enumerate(entry):
            weights = Weights.of(cell, {n: np.ascontiguousarray(_array(a), dtype) for n, a in arrays.items()})
            name = call.name + (f" layer {depth}" if len(entries) > 1 else "") + (" backward" if direction else "")
            k = depth * len(entry) + direction
            begin = [_begin(call, some, cell, arrays, weights, s, k).astype(dtype) for s in range(len(cell.states))]
            trace = LayerTrace.of(name, cell, weights, x, begin, bool(direction))
            if gradients is not None:
                trace.d_state = [
                    _final(call, some, states[k], bool(direction)).astype(dtype) for states in gradients[1]
                ]
            layers[-1].append(trace)
            keep = depth > 0 and gradients is not None
            if keep or depth + 1 < len(entries):
                ran = engine.forward(cell, weights, x, begin, reverse=trace.reverse, keep=keep)
                tapes[-1].append(ran.tape)
                outputs.append(ran.output)
        if outputs:
            x = np.ascontiguousarray(np.concatenate(outputs, axis=-1))
    if gradients is not None:
        d_top = np.ascontiguousarray(gradients[0][at, rows], dtype)
        for depth in reversed(range(len(layers))):
            d_outputs = [np.ascontiguousarray(d) for d in np.split(d_top, len(layers[depth]), axis=-1)]
            for trace, d in zip(layers[depth], d_outputs, strict=True):
                trace.d_output = np.ascontiguousarray(d[::-1] if trace.reverse else d)
            if depth:
                back = zip(tapes[depth], d_outputs, layers[depth], strict=True)
                d_top = np.sum([np.asarray(engine.backward(t, d, y.d_state).x) for t, d, y in back], axis=0)
    return [trace for layer in layers for trace in layer]


def _begin(call: Call, some: Sequence[Segment], cell: Cell, arrays: Any, w: Weights, state: int, k: int) -> Array:
    """A state before the first step of each segment."""
    width = w.hidden_size if state else w.U.shape[1]
    fresh = arrays.get(f"initial:{cell.states[state]}")
    start = np.zeros((len(some), width)) if fresh is None else np.tile(_array(fresh), (len(some), 1))
    if call.begin is not None:
        given = _array(call.begin[state][k])
        for i, (row, a, b) in enumerate(some):
            # A row begins with what was given at its first step; read from the end, at its last.
            first = a == 0 if not _is_second(call, k) else b == _end(call, row)
            if first and not (call.reset is not None and a == 0 and bool(call.reset[0, row])):
                start[i] = given[row]
    return start


def _final(call: Call, some: Sequence[Segment], d: Array, second: bool) -> Array:
    """The gradient of a last state, where a segment is the last that its row reads."""
    rows = [(a == 0 if second else b == _end(call, row), row) for row, a, b in some]
    return np.stack([d[row] if last else np.zeros_like(d[row]) for last, row in rows])


def _is_second(call: Call, k: int) -> bool:
    return bool(getattr(call.module, "bidirectional", False)) and k % 2 == 1


def _end(call: Call, row: int) -> int:
    return len(call.x) if call.lengths is None else int(call.lengths[row])


def _array(tensor: Tensor) -> Array:
    """In float32 or float64."""
    tensor = tensor.detach().cpu()
    return (tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()).numpy()


def tensors_in(thing: Any) -> Iterator[Tensor]:
    """Every tensor of floating point in a nest of tuples, lists and dicts."""
    if isinstance(thing, PackedSequence):
        thing = thing.data
    if isinstance(thing, Tensor):
        if thing.is_floating_point():
            yield thing
    elif isinstance(thing, (tuple, list)):
        for part in thing:
            yield from tensors_in(part)
    elif isinstance(thing, dict):
        yield from tensors_in(list(thing.values()))
