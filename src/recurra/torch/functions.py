"""torch's operators between layers, as the ops that they come to: what `graph` does with each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from recurra import cells
from recurra.errors import ExportError
from recurra.runtime import ops
from recurra.runtime.chained import FEATURES, FIRST, SECOND
from recurra.runtime.elementwise import ELEMENT, op_of
from recurra.runtime.ops.branches import HOW, merged
from recurra.torch.flows import ONE, OTHERWISE, Flow, States, Unread, one


def _activation(word: str) -> Callable[..., Flow]:
    return lambda x, *settings: one(x).then(ops.Activation(word))


def _same(x: Any, *settings: Any, **more: Any) -> Any:
    return x


def _select(x: Any, dim: int, index: int) -> Any:
    """One of the final states, or the last step."""
    if isinstance(x, States):
        if dim != 0:
            raise ValueError("a part of each state")
        return x.each[index]
    dim %= len(one(x).axes)
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
    flow = one(x)
    axes = list(flow.axes)
    axes[a], axes[b] = axes[b], axes[a]
    return replace(flow, axes=tuple(axes))


def _permute(x: Any, order: Sequence[int]) -> Flow:
    flow = one(x)
    return replace(flow, axes=tuple(flow.axes[i] for i in order))


def _squeeze(x: Any, dim: Any) -> Any:
    if isinstance(x, States) and dim in (0, [0]) and len(x.each) == 1:
        return x.each[0]
    (dim,) = dim if isinstance(dim, (list, tuple)) else (dim,)
    dim %= len(one(x).axes)
    if x.axes[dim] != ONE:
        return x  # torch leaves an axis that is not of one
    return replace(x, axes=x.axes[:dim] + x.axes[dim + 1 :])


def _unsqueeze(x: Any, dim: int) -> Flow:
    flow = one(x)
    dim %= len(flow.axes) + 1
    return replace(flow, axes=(*flow.axes[:dim], ONE, *flow.axes[dim:]))


def _pool(how: str) -> Callable[..., Flow]:
    def pool(x: Any, dim: Any, keepdim: bool = False) -> Flow:
        (place,) = dim if isinstance(dim, (list, tuple)) else (dim,)
        flow = one(x)
        place %= len(flow.axes)
        time = flow.axes[place]
        if time not in (FIRST, SECOND) or time != (flow.time or time) or flow.last:
            raise ExportError(f"forward pools the axis {time}, expected the steps")
        axes = (*flow.axes[:place], *([ONE] if keepdim else []), *flow.axes[place + 1 :])
        return flow.then(ops.Pool(how), axes=axes, time=time, last=True)

    return pool


def _cat(values: Sequence[Any], dim: int = 0) -> Flow:
    """Features side by side, those of the final states of both directions too."""
    first: Any = values[0]
    kind = [v.half if isinstance(v, Flow) and v.layers == first.layers else None for v in values]
    if kind == [0, 1] and first.axes[dim] == FEATURES:
        both: Flow = first.then(ops.Pool("last", directions=2), half=None)
        return both
    if all(isinstance(v, Flow) for v in values) and first.axes[dim] == FEATURES:
        return _together(values, "join")
    raise ExportError(
        f"forward joins {len(values)} values, expected features that come from the input, along the last axis: "
        f"{OTHERWISE}"
    )


def _together(values: Sequence[Flow], how: str) -> Flow:
    """Values that come from the same input, added up or side by side."""
    flows = [one(value) for value in values]
    first = flows[0]
    places = {(flow.axes, flow.last) for flow in flows}
    times = {flow.time for flow in flows if flow.time}
    if len(places) > 1 or len(times) > 1 or first.axes[-1] != FEATURES:
        raise ExportError(f"forward puts together the axes {[f.axes for f in flows]}, expected the same of all")
    if all(flow.layers == first.layers for flow in flows):
        return first.then(ops.Branches([[] for _ in flows], how))
    return replace(first, layers=merged([flow.layers for flow in flows], how), time=next(iter(times), ""))


def _arithmetic(how: str, of_number: Callable[[Any, Any], Any]) -> Callable[..., Flow]:
    """Two values of the same input, or one of it with a number or a tensor of numbers for the features."""

    def operator(a: Any, b: Any, *, alpha: float = 1) -> Flow:
        if isinstance(a, Flow) and isinstance(b, Flow) and alpha == 1 and how in HOW:
            return _together([a, b], how)
        if isinstance(b, Flow) and (isinstance(a, Flow) or how == "divide"):
            raise ValueError("a factor beside two values, or a quotient")
        if isinstance(b, Flow) and how == "subtract":
            return _arithmetic("add", lambda x, number: x + number)(_each(b, lambda x: -x * alpha), a)
        flow, other = (one(a), b) if isinstance(a, Flow) else (one(b), a)
        if flow.axes[-1:] != (FEATURES,):
            raise ValueError("numbers along another axis than the features")
        numbers = alpha * np.asarray(other.detach().cpu().numpy() if isinstance(other, Tensor) else other, np.float64)
        if numbers.size == 1:
            return _each(flow, lambda x: of_number(x, float(numbers.reshape(()))))
        if numbers.shape != numbers.shape[-1:]:
            raise ValueError("a tensor that is no row of features")
        scale = of_number(np.ones_like(numbers), numbers) - of_number(np.zeros_like(numbers), numbers)
        shift = of_number(np.zeros_like(numbers), numbers)
        return flow.then(ops.Affine(scale.astype(np.float32), shift.astype(np.float32)))

    return operator


def _each(x: Any, function: Callable[[Any], Any]) -> Flow:
    """An expression of each number; what it is an op of is said once the features are known."""
    flow = one(x)
    width = _features(flow)
    return flow.then(op_of(function(ELEMENT), width))


def _features(flow: Flow) -> int:
    """How many features a value has."""
    if flow.axes[-1] != FEATURES:
        raise ValueError("numbers along another axis than the features")
    width: int | None = flow.features or None
    for op in flow.layers:
        width = op.output_size if width is None else op.width(width)
    if width is None:
        raise ValueError("a value of an unknown width")
    return width


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
    flow = one(replace(x, padded=(0, 0)))
    return flow.then(ops.Convolution(W, b, dilation, stride), time=x.axes[2], surplus=after)


def _adaptive(how: str) -> Callable[..., Flow]:
    def pool(x: Any, size: Any) -> Flow:
        if size not in (1, [1]):
            raise ValueError("a pool to more than one place")
        return _pool(how)(x, -1, True)

    return pool


def _linear(x: Any, weight: Tensor, bias: Tensor | None = None) -> Flow:
    flow = one(x)
    if flow.axes[-1] != FEATURES:
        raise ValueError("a product along another axis than the features")
    arrays = [None if a is None else np.array(a.detach().cpu().numpy(), order="C") for a in (weight, bias)]
    return flow.then(ops.Linear(*arrays))  # type: ignore[arg-type]


def _softmax(x: Any, dim: int, *dtype: Any) -> Flow:
    flow = one(x)
    if flow.axes[dim] != FEATURES:
        raise ExportError(f"forward takes a softmax over the axis {flow.axes[dim]}, expected the features")
    return flow.then(ops.Softmax())


def _clamped(element: Any, least: float | None, most: float | None) -> Any:
    bounded = element if least is None else cells.maximum(element, float(least))
    return bounded if most is None else cells.minimum(bounded, float(most))


def _layer_norm(
    x: Any,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    epsilon: float = 1e-5,
    *settings: Any,
) -> Flow:
    flow = one(x)
    if len(shape) != 1 or flow.axes[-1] != FEATURES:
        raise ValueError("a normalization over other axes than the features")
    scale = np.ones(shape[0], np.float32) if weight is None else np.array(weight.detach().cpu().numpy())
    shift = np.zeros(shape[0], np.float32) if bias is None else np.array(bias.detach().cpu().numpy())
    return flow.then(ops.LayerNorm(scale, shift, float(epsilon)))


_TWO = {
    "add": _arithmetic("add", lambda x, number: x + number),
    "sub": _arithmetic("subtract", lambda x, number: x - number),
    "mul": _arithmetic("multiply", lambda x, number: x * number),
    "div": _arithmetic("divide", lambda x, number: x / number),
}

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"{word}.default": _activation(word) for word in ("relu", "tanh", "sigmoid", "silu", "elu", "softplus")},
    "relu_.default": _activation("relu"),
    "hardsigmoid.default": _activation("hard_sigmoid"),
    "gelu.default": lambda x, *, approximate="none": _activation({"none": "gelu"}[approximate])(x),
    "leaky_relu.default": lambda x, slope=0.01: one(x).then(ops.Activation("leaky_relu", float(slope))),
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
    **{f"{word}.{kind}": function for word, function in _TWO.items() for kind in ("Tensor", "Scalar")},
    **{f"{word}_.{kind}": function for word, function in _TWO.items() for kind in ("Tensor", "Scalar")},
    "rsub.Scalar": lambda x, number: _TWO["sub"](number, x),
    "neg.default": lambda x: _each(x, lambda e: -e),
    "abs.default": lambda x: _each(x, abs),
    "exp.default": lambda x: _each(x, cells.exp),
    "sqrt.default": lambda x: _each(x, cells.sqrt),
    "pow.Tensor_Scalar": lambda x, power: _each(x, lambda e: e ** (int(power) if power == int(power) else power)),
    "clamp.default": lambda x, least=None, most=None: _each(x, lambda e: _clamped(e, least, most)),
    "clamp_min.default": lambda x, least: _each(x, lambda e: _clamped(e, least, None)),
    "layer_norm.default": _layer_norm,
    "pad.default": _pad,
    "constant_pad_nd.default": lambda x, pads, value=0: _pad(x, pads, value=value),
    "conv1d.default": _convolution,
    "adaptive_avg_pool1d.default": _adaptive("mean"),
    "adaptive_max_pool1d.default": lambda x, size: (_adaptive("max")(x, size), Unread()),
    "linear.default": _linear,
    "softmax.int": _softmax,
    "_softmax.default": _softmax,
}
