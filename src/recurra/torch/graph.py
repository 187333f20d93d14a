"""A module with a forward of its own as ops, through the graph that torch.export makes of it.

The layers that `bridge` knows are nodes of that graph; between them are torch's operators. What depends on the input is
a `Flow`: the ops that it has gone through, and what each of its axes holds.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree

from recurra.errors import ExportError
from recurra.runtime import ops
from recurra.runtime.chained import FEATURES, FIRST, SECOND, Chained
from recurra.runtime.ops import Op
from recurra.torch.bridge import is_layer, layers_of

ONE = "one"  # what an axis of one holds
_OTHERWISE = "put what the model file needs into recurra.torch.Stack"


class Found(NamedTuple):
    """What a module computes: its ops, which of its axes is time, and whether it gives the last step alone."""

    ops: list[Op]
    time: int
    last: bool


@dataclass(frozen=True)
class Flow(Chained):
    """A value that depends on the input; `ONE` is an axis of one."""

    axes: tuple[str, ...]

    def then(self, *layers: Op, **changes: Any) -> Flow:
        """After some ops more."""
        return replace(self, layers=(*self.layers, *layers), **changes)


@dataclass(frozen=True)
class States:
    """Final states [layers * directions, B, H], each a flow."""

    each: tuple[Flow, ...]


class Unread:
    """What no op gives, such as a final cell state: nothing may come of it."""


def read(module: nn.Module, sample: Tensor) -> Found:
    """The ops that a module's forward comes to, traced on a sample.

    Raises:
        ExportError: it cannot be traced, or is no chain of layers; the message names the place.
    """
    graph = _graph(module, sample)
    ids = not sample.is_floating_point()
    begin = Flow((), (FIRST, SECOND) if ids else (FIRST, SECOND, FEATURES))
    result = _Reader(module, graph, "").run(begin)
    result = _pytree.tree_leaves(result, is_leaf=lambda value: isinstance(value, (Flow, States)))[0]
    if not isinstance(result, Flow) or result.pending or not result.layers:
        raise ExportError(f"the first output of {type(module).__name__} comes from no chain of layers: {_OTHERWISE}")
    time, axes = result.time or FIRST, [axis for axis in result.axes if axis != ONE]
    rows = SECOND if time == FIRST else FIRST
    if set(axes) != {rows, FEATURES} | (set() if result.last else {time}) or axes[-1] != FEATURES:
        raise ExportError(f"{type(module).__name__} gives the axes {result.axes}, expected steps, rows and features")
    if not result.last and result.axes[:2] != (FIRST, SECOND):
        raise ExportError(f"{type(module).__name__} turns steps and rows round, expected them as they come in")
    return Found(list(result.layers), int(time == SECOND), result.last)


def _graph(module: nn.Module, sample: Tensor) -> Any:
    """The module as torch.export has it, in which each part of the module is a node."""
    names = tuple(name for name, _ in module.named_modules() if name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of its own layers' attributes and of its own code
            program = torch.export.export(module, (sample,), strict=False, preserve_module_call_signature=names)
            return torch.export.unflatten(program)
    except Exception as error:  # whatever the forward and the tracer say
        line = " ".join(str(error).split())[:300]
        raise ExportError(f"torch.export cannot read {type(module).__name__}: {line}: {_OTHERWISE}") from error


class _Reader(fx.Interpreter):
    """Runs a graph on flows; what depends on no flow is computed as it stands."""

    def __init__(self, module: nn.Module, graph: Any, prefix: str) -> None:
        super().__init__(graph, graph=graph.graph)
        self.own, self.prefix, self.extra_traceback = module, prefix, False

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A layer, or a module with a graph of its own."""
        name, part = f"{self.prefix}{target}", self.own.get_submodule(target)
        if not _flows((args, kwargs)):
            return super().call_module(target, args, kwargs)
        if not is_layer(part):
            return _Reader(part, self.module.get_submodule(target), f"{name}.").run(*args, **kwargs)
        x, *rest = args
        given = [t for t in _pytree.tree_leaves((rest, kwargs)) if isinstance(t, Tensor) and t.any()]
        if not isinstance(x, Flow) or given or _flows((rest, kwargs)):
            raise ExportError(f"{name} takes more than one value that counts, expected its input alone: {_OTHERWISE}")
        return _layer(name, part, x)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One of torch's operators."""
        if target is operator.getitem or not _flows((args, kwargs)):
            return super().call_function(target, args, kwargs)
        if "tree" in getattr(target, "__name__", ""):  # from and to the arguments of a module, as torch.export has them
            return super().call_function(target, args, kwargs)
        name = str(target)
        function = _FUNCTIONS.get(name.removeprefix("aten."))
        if function is None:
            raise ExportError(f"forward has {name}, which is no layer of a chain: {_OTHERWISE}")
        try:
            return function(*args, **kwargs)
        except ExportError:
            raise
        except (TypeError, AttributeError, ValueError, IndexError) as error:  # values that it does not know
            raise ExportError(f"forward has {name} where no chain of layers has it: {_OTHERWISE}") from error


def _flows(values: Any) -> bool:
    kinds = (Flow, States, Unread)
    return any(isinstance(v, kinds) for v in _pytree.tree_leaves(values, is_leaf=lambda v: isinstance(v, kinds)))


def _layer(name: str, part: nn.Module, x: Flow) -> Any:
    """What a layer of the bridge makes of a flow."""
    found = tuple(layers_of(part))
    if x.pending:
        raise ExportError(f"{name} reads {x.pending}")
    if isinstance(part, nn.BatchNorm1d) and type(part).forward is nn.BatchNorm1d.forward:
        if len(x.axes) < 2 or x.axes[1] != FEATURES:
            raise ExportError(f"{name} normalizes axis 1 of {x.axes}, expected the features there")
        return x.then(*found)
    if x.axes[-1:] == (FEATURES,) and not found:
        return x
    if isinstance(found[0], ops.Embedding):
        return x.then(*found, axes=(*x.axes, FEATURES))
    if x.axes[-1] != FEATURES:
        raise ExportError(f"{name} works along {x.axes[-1]}, expected the features last")
    if not hasattr(part, "batch_first"):
        return x.then(*found)
    time = x.axes[1 if part.batch_first else 0]
    if len(x.axes) != 3 or x.last or time not in (FIRST, SECOND) or (x.time and x.time != time):
        raise ExportError(f"{name} reads the axes {x.axes}, expected steps, rows and features")
    if not isinstance(found[-1], ops.Recurrent):
        return x.then(*found, time=time)
    rows = SECOND if time == FIRST else FIRST
    each = []
    for k, op in enumerate(found):
        directions = range(len(op.weights)) if isinstance(op, ops.Recurrent) else ()
        flow = x.then(*found[: k + 1], time=time, axes=(rows, FEATURES), last=True)
        each += [replace(flow, half=d if len(directions) == 2 else None) for d in directions]
    final: Any = States(tuple(each))
    if len(found[-1].cell.states) > 1:
        final = (final, *[Unread()] * (len(found[-1].cell.states) - 1))
    return x.then(*found, time=time), final


def _activation(word: str) -> Callable[..., Flow]:
    return lambda x, *settings: _one(x).then(ops.Activation(word))


def _one(x: Any) -> Flow:
    if not isinstance(x, Flow):
        raise ValueError("a value that no layer reads")
    if x.pending:
        raise ExportError(f"forward uses {x.pending}")
    return x


def _same(x: Any, *settings: Any, **more: Any) -> Any:
    return x


def _select(x: Any, dim: int, index: int) -> Any:
    """One of the final states, or the last step."""
    if isinstance(x, States):
        if dim != 0:
            raise ValueError("a part of each state")
        return x.each[index]
    dim %= len(_one(x).axes)
    axes = x.axes[:dim] + x.axes[dim + 1 :]
    if x.axes[dim] == ONE:
        return replace(x, axes=axes)
    if index != -1:
        raise ExportError(f"forward takes the place {index} of an axis, expected the last step, as -1")
    if x.axes[dim] != x.time:
        raise ExportError(f"forward takes a part of the axis {x.axes[dim]}, expected the last step alone")
    return replace(x, axes=axes, last=True)


def _slice(x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    """All of an axis, or the last step with its axis."""
    whole = end is None or end > 1 << 32
    if isinstance(x, Flow) and x.surplus and x.axes[dim] == x.time and start in (None, 0) and end == -x.surplus:
        return replace(x, surplus=0)
    if start in (None, 0) and whole and step == 1:
        return x
    if start == -1 and whole:
        taken = _select(x, dim, -1)
        dim %= len(x.axes)
        return replace(taken, axes=(*taken.axes[:dim], ONE, *taken.axes[dim:]))
    raise ExportError("forward takes a part of an axis, expected all of it or the last step, as -1")


def _transpose(x: Any, a: int, b: int) -> Flow:
    flow = _one(x)
    axes = list(flow.axes)
    axes[a], axes[b] = axes[b], axes[a]
    return replace(flow, axes=tuple(axes))


def _permute(x: Any, order: Sequence[int]) -> Flow:
    flow = _one(x)
    return replace(flow, axes=tuple(flow.axes[i] for i in order))


def _squeeze(x: Any, dim: Any) -> Any:
    if isinstance(x, States) and dim in (0, [0]) and len(x.each) == 1:
        return x.each[0]
    (dim,) = dim if isinstance(dim, (list, tuple)) else (dim,)
    dim %= len(_one(x).axes)
    if x.axes[dim] != ONE:
        return x  # torch leaves an axis that is not of one
    return replace(x, axes=x.axes[:dim] + x.axes[dim + 1 :])


def _unsqueeze(x: Any, dim: int) -> Flow:
    flow = _one(x)
    dim %= len(flow.axes) + 1
    return replace(flow, axes=(*flow.axes[:dim], ONE, *flow.axes[dim:]))


def _pool(how: str) -> Callable[..., Flow]:
    def pool(x: Any, dim: Any, keepdim: bool = False) -> Flow:
        (place,) = dim if isinstance(dim, (list, tuple)) else (dim,)
        flow = _one(x)
        place %= len(flow.axes)
        time = flow.axes[place]
        if time not in (FIRST, SECOND) or time != (flow.time or time) or flow.last:
            raise ExportError(f"forward pools the axis {time}, expected the steps")
        axes = (*flow.axes[:place], *([ONE] if keepdim else []), *flow.axes[place + 1 :])
        return flow.then(ops.Pool(how), axes=axes, time=time, last=True)

    return pool


def _cat(values: Sequence[Any], dim: int = 0) -> Flow:
    """Final states of both directions side by side."""
    first: Any = values[0]
    kind = [v.half if isinstance(v, Flow) and v.layers == first.layers else None for v in values]
    if kind != [0, 1] or first.axes[dim] != FEATURES:
        raise ExportError(f"forward joins {len(values)} values, expected a chain of layers: {_OTHERWISE}")
    both: Flow = first.then(ops.Pool("last", directions=2), half=None)
    return both


def _pad(x: Any, pads: Sequence[int], mode: str = "constant", value: float | None = None) -> Flow:
    """Zeros beside the steps, which stand along the last axis; or less of those that there were."""
    before, after = pads
    if not isinstance(x, Flow) or x.axes[-1] not in (FIRST, SECOND) or mode != "constant" or value or before < 0:
        raise ValueError("other than zeros beside the steps")
    if after < 0:
        cut: Flow = _slice(x, len(x.axes) - 1, 0, after)
        return cut
    return replace(x, time=x.axes[-1], padded=(x.padded[0] + before, x.padded[1] + after))


def _convolution(
    x: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Flow:
    """A convolution over time: that of a live network where zeros stand before the first step alone."""
    (stride,), (padding,), (dilation,) = (n if isinstance(n, list) else [n] for n in (stride, padding, dilation))
    if not isinstance(x, Flow) or len(x.axes) != 3 or x.axes[1] != FEATURES or groups != 1 or isinstance(padding, str):
        raise ValueError("other axes or groups")
    before, after = (n + padding for n in x.padded)
    past = (weight.shape[2] - 1) * dilation
    if before != past or (after and stride > 1):
        raise ExportError(
            f"forward has a convolution with {before} zeros before the first step and {after} after the last, expected "
            f"{past} and none: a live step sees no later one"
        )
    W = np.ascontiguousarray(weight.detach().cpu().numpy().transpose(0, 2, 1))
    b = None if bias is None else np.array(bias.detach().cpu().numpy())
    flow = _one(replace(x, padded=(0, 0)))
    return flow.then(ops.Convolution(W, b, dilation, stride), time=x.axes[2], surplus=after)


def _adaptive(how: str) -> Callable[..., Flow]:
    def pool(x: Any, size: Any) -> Flow:
        if size not in (1, [1]):
            raise ValueError("a pool to more than one place")
        return _pool(how)(x, -1, True)

    return pool


def _linear(x: Any, weight: Tensor, bias: Tensor | None = None) -> Flow:
    flow = _one(x)
    if flow.axes[-1] != FEATURES:
        raise ValueError("a product along another axis than the features")
    arrays = [None if a is None else np.array(a.detach().cpu().numpy(), order="C") for a in (weight, bias)]
    return flow.then(ops.Linear(*arrays))  # type: ignore[arg-type]


def _softmax(x: Any, dim: int, *dtype: Any) -> Flow:
    flow = _one(x)
    if flow.axes[dim] != FEATURES:
        raise ExportError(f"forward takes a softmax over the axis {flow.axes[dim]}, expected the features")
    return flow.then(ops.Softmax())


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"{word}.default": _activation(word) for word in ("relu", "tanh", "sigmoid", "silu", "elu", "softplus")},
    "relu_.default": _activation("relu"),
    "hardsigmoid.default": _activation("hard_sigmoid"),
    "gelu.default": lambda x, *, approximate="none": _activation({"none": "gelu"}[approximate])(x),
    "leaky_relu.default": lambda x, slope=0.01: _one(x).then(ops.Activation("leaky_relu", float(slope))),
    **dict.fromkeys(("dropout.default", "contiguous.default", "clone.default", "alias.default"), _same),
    **dict.fromkeys(("to.dtype", "_to_copy.default", "detach.default", "_assert_tensor_metadata.default"), _same),
    "select.int": _select,
    "slice.Tensor": _slice,
    "transpose.int": _transpose,
    "permute.default": _permute,
    **dict.fromkeys(("squeeze.dim", "squeeze.dims"), _squeeze),
    "unsqueeze.default": _unsqueeze,
    "mean.dim": _pool("mean"),
    "amax.default": _pool("max"),
    "max.dim": lambda x, dim, keepdim=False: (_pool("max")(x, dim, keepdim), Unread()),
    "cat.default": _cat,
    "pad.default": _pad,
    "constant_pad_nd.default": lambda x, pads, value=0: _pad(x, pads, value=value),
    "conv1d.default": _convolution,
    "adaptive_avg_pool1d.default": _adaptive("mean"),
    "adaptive_max_pool1d.default": lambda x, size: (_adaptive("max")(x, size), Unread()),
    "linear.default": _linear,
    "softmax.int": _softmax,
    "_softmax.default": _softmax,
}
