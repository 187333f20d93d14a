"""What each op of the runtime is in Keras, both ways: one row an op; recurrences have a module of their own.

Where Keras has several layers for what one op does, there are several rows; a row without an op has layers that do
nothing once a model is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from recurra.cells import symbols as s
from recurra.errors import ExportError
from recurra.keras.activations import MEANINGS, meaning
from recurra.keras.recurrences import KINDS, array_of, read_bidirectional, read_recurrent
from recurra.keras.scan import to_numpy
from recurra.runtime import ops
from recurra.runtime.elementwise import ELEMENT, op_of
from recurra.weights import Array

# Activations that the runtime has between layers, under its names.
_BETWEEN = ("tanh", "sigmoid", "relu", "gelu", "silu", "softplus", "elu", "softsign", "hard_sigmoid", "leaky_relu")

Made = list[tuple[Any, list[Array]]]  # Keras' layers, each with its weights


# Layers that put several values of the same input together.
MERGED = {keras.layers.Add: "add", keras.layers.Subtract: "subtract", keras.layers.Multiply: "multiply"}
MERGED[keras.layers.Concatenate] = "join"


class Row(NamedTuple):
    """An op in Keras: the classes that are it, what such a layer is, and back."""

    layers: tuple[type, ...]
    ops: Callable[[Any], list[ops.Op]]
    made: Callable[[Any], Made] | None = None


def read(layer: Any) -> list[ops.Op]:
    """The ops of the runtime for one of Keras' layers.

    Raises:
        ExportError: it has none; the message says why.
    """
    for _, row in ROWS:
        if isinstance(layer, row.layers):
            return row.ops(layer)
    raise ExportError(
        f"from_keras: {layer.name} is a {type(layer).__name__}, expected a recurrent layer, Dense, Conv1D, Embedding, "
        "a normalization of features, an activation, a pool over all steps, or what acts in training alone"
    )


def made(op: ops.Op) -> Made | None:
    """Keras' layers for an op that is not recurrent; None where it has none."""
    make = next((row.made for kind, row in ROWS if kind is not None and isinstance(op, kind) and row.made), None)
    return None if make is None else make(op)


def _features(layer: Any) -> int:
    """How many come into a layer."""
    return int(layer.input.shape[-1])


def _dense(layer: Any) -> list[ops.Op]:
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        raise ExportError(f"from_keras: {layer.name} is quantized or has LoRA weights, expected plain ones")
    kernel = array_of(layer, layer.kernel)
    b = None if layer.bias is None else array_of(layer, layer.bias)
    return [ops.Linear(np.ascontiguousarray(kernel.T), b), *_activation(layer, layer.activation, kernel.shape[1])]


def _activation(layer: Any, activation: Any, features: int) -> list[ops.Op]:
    """An activation between layers."""
    name = getattr(activation, "__name__", "")
    known = activation is getattr(keras.activations, name, None)
    if known and name == "linear":
        return []
    if known and name == "softmax":
        return [ops.Softmax()]
    if known and name in _BETWEEN:
        return [ops.Activation(name, 0.2)]  # the slope is that of Keras' leaky_relu, and of no matter to the others
    if isinstance(activation, keras.layers.Layer):
        return _of_layer(activation, features)
    function = meaning(activation)
    if function is None:
        raise ExportError(
            f"from_keras: {layer.name} has the activation {(name or activation)!r}, expected softmax or one of "
            f"{', '.join(MEANINGS)}"
        )
    return [op_of(function(ELEMENT), features)]


def _of_layer(layer: Any, features: int) -> list[ops.Op]:
    """A layer that is an activation."""
    if isinstance(layer, keras.layers.Activation):
        return _activation(layer, layer.activation, features)
    if isinstance(layer, keras.layers.LeakyReLU):
        return [ops.Activation("leaky_relu", float(layer.negative_slope))]
    if isinstance(layer, keras.layers.ELU):
        return [op_of(s.elu(ELEMENT, float(layer.alpha)), features)]
    if isinstance(layer, keras.layers.Softmax):
        if layer.axis not in (-1, 2):
            raise ExportError(f"from_keras: {layer.name} has axis={layer.axis}, expected -1: the features")
        return [ops.Softmax()]
    slope, threshold = float(layer.negative_slope), float(layer.threshold)
    bent = s.relu(ELEMENT)
    if slope or threshold:
        bent = s.where(s.node("gt", s.as_node(threshold), ELEMENT), slope * (ELEMENT - threshold), ELEMENT)
    if not threshold and layer.max_value is None and slope:
        return [ops.Activation("leaky_relu", slope)]
    return [op_of(bent if layer.max_value is None else s.minimum(bent, float(layer.max_value)), features)]


def _prelu(layer: Any) -> list[ops.Op]:
    """relu(x) - slope relu(-x)."""
    slope = array_of(layer, layer.alpha)
    if slope.size != slope.shape[-1]:
        raise ExportError(
            f"from_keras: {layer.name} has slopes of the shape {slope.shape}, expected one for each feature: "
            "shared_axes=[1]"
        )
    slope = np.broadcast_to(slope.reshape(-1), _features(layer))
    none, back = np.zeros_like(slope), -np.ones_like(slope)
    below = [ops.Affine(back, none), ops.Activation("relu"), ops.Affine(np.ascontiguousarray(slope), none)]
    return [ops.Branches([[ops.Activation("relu")], below], "subtract")]


def _window(layer: Any) -> list[ops.Op]:
    """Keras' first window ends behind the first step, and its answers come later than those of a live network."""
    raise ExportError(
        f"from_keras: {layer.name} is a {type(layer).__name__}, whose windows see later steps than the first of them, "
        "expected GlobalMaxPooling1D or GlobalAveragePooling1D, or a Conv1D with padding='causal' and strides"
    )


def _layer_norm(layer: Any) -> list[ops.Op]:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if axes not in ([-1], [2]) or getattr(layer, "rms_scaling", False):
        raise ExportError(f"from_keras: {layer.name} normalizes axis {layer.axis}, expected -1: the features")
    gamma, beta = (None if v is None else array_of(layer, v) for v in (layer.gamma, layer.beta))
    some = gamma if gamma is not None else beta
    if some is None:
        raise ExportError(f"from_keras: {layer.name} has neither center nor scale, expected one of them")
    scale = np.ones_like(some) if gamma is None else gamma
    shift = np.zeros_like(some) if beta is None else beta
    return [ops.LayerNorm(scale, shift, float(layer.epsilon))]


def _batch_norm(layer: Any) -> list[ops.Op]:
    if layer.axis not in (-1, len(layer.input.shape) - 1):
        raise ExportError(f"from_keras: {layer.name} normalizes axis {layer.axis}, expected -1: the features")
    mean, variance = (array_of(layer, v).astype(np.float64) for v in (layer.moving_mean, layer.moving_variance))
    scale = (1 if layer.gamma is None else array_of(layer, layer.gamma)) / np.sqrt(variance + layer.epsilon)
    shift = (0 if layer.beta is None else array_of(layer, layer.beta)) - mean * scale
    return [_affine(scale, shift)]


def _normalization(layer: Any) -> list[ops.Op]:
    count = _features(layer)
    mean, variance = (np.asarray(to_numpy(v), np.float64).reshape(-1) for v in (layer.mean, layer.variance))
    if {len(mean), len(variance)} - {1, count}:
        raise ExportError(f"from_keras: {layer.name} has {len(mean)} means, expected one or {count}: of the features")
    deviation = np.broadcast_to(np.maximum(np.sqrt(variance), keras.config.epsilon()), count)
    return [_affine(deviation, mean) if layer.invert else _affine(1 / deviation, -mean / deviation)]


def _rescaling(layer: Any) -> list[ops.Op]:
    scale, offset = (np.asarray(v, np.float64).reshape(-1) for v in (layer.scale, layer.offset))
    one, count = np.ones(_features(layer)), _features(layer)
    if {len(scale), len(offset)} - {1, count}:
        raise ExportError(f"from_keras: {layer.name} has {len(scale)} scales, expected one or {count}: of the features")
    return [_affine(one * scale, one * offset)]


def _affine(scale: Any, shift: Any) -> ops.Op:
    return ops.Affine(scale.astype(np.float32), np.broadcast_to(shift, scale.shape).astype(np.float32))


def _convolution(layer: Any) -> list[ops.Op]:
    padded = layer.padding == "causal" or layer.kernel_size == (1,)
    if not padded or layer.groups != 1 or layer.data_format != "channels_last":
        raise ExportError(
            f"from_keras: {layer.name} has padding={layer.padding!r}, groups={layer.groups} and "
            f"data_format={layer.data_format!r}, expected 'causal', 1 and 'channels_last'"
        )
    W = np.ascontiguousarray(array_of(layer, layer.kernel).transpose(2, 0, 1))  # from [K, I, O]
    b = None if layer.bias is None else array_of(layer, layer.bias)
    op = ops.Convolution(W, b, layer.dilation_rate[0], layer.strides[0])
    return [op, *_activation(layer, layer.activation, len(W))]


def _of_convolution(op: ops.Convolution) -> Made:
    if op.stride > 1 and op.dilation > 1:
        raise ExportError(f"to_keras: a convolution has stride {op.stride} and dilation {op.dilation}: Keras takes one")
    O, K, _ = op.W.shape
    layer = _k.Conv1D(O, K, strides=op.stride, dilation_rate=op.dilation, padding="causal", use_bias=op.b is not None)
    W = op.W.transpose(1, 2, 0)
    return [(layer, [W] if op.b is None else [W, op.b])]


def _embedding(layer: Any) -> list[ops.Op]:
    return [ops.Embedding(array_of(layer, layer.embeddings))]


def _of_embedding(op: ops.Embedding) -> Made:
    table: Any = (_k.Embedding(*op.W.shape), [op.W])
    if not op.tables:
        return [table]
    begins: Made = [(_k.Rescaling(1.0, op.begins), [])] if any(op.begins) else []
    return [*begins, table, (_k.Reshape((-1, op.output_size)), [])]


def _time_distributed(layer: Any) -> list[ops.Op]:
    if not isinstance(layer.layer, keras.layers.Dense):
        raise ExportError(f"from_keras: {layer.name} is over a {type(layer.layer).__name__}, expected Dense")
    return _dense(layer.layer)


def _of_activation(op: ops.Activation) -> Made:
    if op.name == "leaky_relu":
        return [(_k.LeakyReLU(negative_slope=op.slope), [])]
    return [(_k.Activation("linear" if op.name == "identity" else op.name), [])]


def _of_linear(op: ops.Linear) -> Made:
    return [(_k.Dense(op.output_size, use_bias=op.b is not None), [op.W.T] if op.b is None else [op.W.T, op.b])]


def _of_affine(op: ops.Affine) -> Made:
    zero, one = np.zeros_like(op.scale), np.ones_like(op.scale)
    return [(_k.BatchNormalization(epsilon=0.0), [op.scale, op.shift, zero, one])]


_k: Any = keras.layers
_IDLE = (
    *(_k.GaussianNoise, _k.GaussianDropout, _k.AlphaDropout, _k.ActivityRegularization, _k.Identity),
    _k.Masking,  # a live step has no padding
)

ROWS: list[tuple[type[ops.Op] | None, Row]] = [
    (ops.Recurrent, Row((*(kind for kind in KINDS),), read_recurrent)),
    (ops.Recurrent, Row((_k.Bidirectional,), read_bidirectional)),
    (ops.Linear, Row((_k.TimeDistributed,), _time_distributed)),
    (ops.Linear, Row((_k.Dense,), _dense, _of_linear)),
    (ops.Convolution, Row((_k.Conv1D,), _convolution, _of_convolution)),
    (ops.Embedding, Row((_k.Embedding,), _embedding, _of_embedding)),
    (
        ops.LayerNorm,
        Row(
            (_k.LayerNormalization,),
            _layer_norm,
            lambda op: [(_k.LayerNormalization(epsilon=op.epsilon), [op.scale, op.shift])],
        ),
    ),
    (ops.Affine, Row((_k.BatchNormalization,), _batch_norm, _of_affine)),
    (ops.Affine, Row((_k.Normalization,), _normalization)),
    (ops.Affine, Row((_k.Rescaling,), _rescaling)),
    (
        ops.Dropout,
        Row(
            (_k.Dropout, _k.SpatialDropout1D),
            lambda layer: [ops.Dropout(float(layer.rate))],
            lambda op: [(_k.Dropout(op.p), [])],
        ),
    ),
    (
        ops.Activation,
        Row(
            (_k.Activation, _k.LeakyReLU, _k.ReLU, _k.ELU),
            lambda layer: _of_layer(layer, _features(layer)),
            _of_activation,
        ),
    ),
    (ops.Softmax, Row((_k.Softmax,), lambda layer: _of_layer(layer, 0), lambda op: [(_k.Softmax(), [])])),
    (ops.Pool, Row((_k.GlobalAveragePooling1D,), lambda layer: [ops.Pool("mean")])),
    (ops.Pool, Row((_k.GlobalMaxPooling1D,), lambda layer: [ops.Pool("max")])),
    (ops.Branches, Row((_k.PReLU,), _prelu)),
    (None, Row((_k.MaxPooling1D, _k.AveragePooling1D), _window)),
    (None, Row(_IDLE, lambda layer: [])),
]
