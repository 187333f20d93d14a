"""The head of a forecaster as ONNX operators, from the equations in `recurra.runtime.ops.forecast`."""

from __future__ import annotations

import numpy as np

from recurra.onnx.equations import Builder
from recurra.runtime import Forecast


def emit_forecast(builder: Builder, name: str, layer: Forecast, h: str, beside: str) -> str:
    """Quantiles [T, B, N * Q] of a state h [T, B, P] and the numbers beside it [T, B, N * (F + S)]."""
    arrays = {n: builder.array(f"{name}.{n}", a) for n, a in layer.arrays().items()}
    turned = {n: builder.array(f"{name}.{n}.T", layer.arrays()[n].T) for n in "ABWCD"}
    add, N, (Q, _), last = builder.add, layer.horizon, layer.C.shape, builder.numbers(-1)
    S, ahead = len(layer.W), layer.B.shape[1]
    x = add("Reshape", [beside, builder.numbers(0, 0, N, ahead)])
    seasons = add("Slice", [x, builder.numbers(ahead - S), builder.numbers(ahead), last])
    of_state = add("Unsqueeze", [add("MatMul", [h, turned["A"]]), builder.numbers(2)])
    sums = add("Add", [add("Add", [of_state, arrays["e"]]), add("MatMul", [x, turned["B"]])])
    u = add("Tanh", [sums])
    trust = add("Softmax", [add("Add", [add("MatMul", [u, turned["W"]]), arrays["w"]])], axis=-1)
    v = add("Add", [add("MatMul", [u, turned["C"]]), arrays["c"]])
    values = [f"{name}.v.{q}" for q in range(Q)]
    add("Split", [v, builder.array(f"{name}.ones", np.ones(Q, np.int64))], values, axis=-1)
    seasonal = add("ReduceSum", [add("Mul", [trust, seasons]), last], keepdims=1)
    straight = add("Unsqueeze", [add("MatMul", [h, turned["D"]]), last])
    middle = add("Add", [add("Add", [seasonal, straight]), values[layer.middle]])
    quantiles = {layer.middle: middle}
    for order, op, towards in ((range(layer.middle + 1, Q), "Add", -1), (range(layer.middle - 1, -1, -1), "Sub", 1)):
        for q in order:
            k = builder.array(f"{name}.k.{q}", layer.k[:, q : q + 1])
            quantiles[q] = add(op, [quantiles[q + towards], add("Mul", [k, add("Softplus", [values[q]])])])
    stacked = quantiles[0] if Q == 1 else add("Concat", [quantiles[q] for q in range(Q)], axis=-1)
    return add("Reshape", [stacked, builder.numbers(0, 0, N * Q)])
