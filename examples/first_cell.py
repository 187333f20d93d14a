"""A first cell: write equations, and have the definition, the gradient, fast kernels and a live step from them.

python examples/first_cell.py
"""

from __future__ import annotations

import time

import numpy as np

import recurra
from recurra import engine, reference
from recurra.cells import get, sigmoid, tanh


@recurra.cell(source="An example: a GRU whose update gate also looks at how surprising the candidate is")
def curious_gru(x, h, *, s):
    r = sigmoid(x.r + h.r)
    n = tanh(x.n + r * h.n)
    z = sigmoid(x.z + h.z + s * (n - h) ** 2)
    return (1 - z) * h + z * n


def main(T: int = 200, B: int = 8, I: int = 3, H: int = 64) -> None:
    """Show what the equations give, and that it agrees, bit for bit where it must."""
    print(curious_gru.text)
    print(curious_gru.latex(), "\n")

    rng = np.random.default_rng(0)
    weights = recurra.Weights.random(curious_gru, I, H, rng=rng)
    x = rng.standard_normal((T, B, I)).astype(np.float32)
    start = time.perf_counter()
    run = engine.forward(curious_gru, weights, x, keep=True)
    print(f"compiled and run in {time.perf_counter() - start:.2f} s")

    true = reference.forward(curious_gru, weights, x)
    seed = rng.standard_normal(run.output.shape).astype(np.float32)
    gradients = engine.backward(run.tape, seed)
    expected = reference.backward(curious_gru, weights, x, true, seed)
    print(f"largest difference from the definition in float64: {np.abs(run.output - true.output).max():.1e}")
    for (name, got), (_, want) in zip(gradients.weights.items(), expected.weights.items(), strict=True):
        print(f"  gradient of {name:2}: {np.abs(got - want).max() / np.abs(want).max():.1e} of the largest")

    live = engine.Stepper(curious_gru, weights)
    steps = np.array([live.step(row) for row in np.ascontiguousarray(x[:, 0])])
    same = np.array_equal(steps, run.output[:, 0])
    print(f"one row alone, step by step, has the bits of the batch: {same}")

    for cell in (curious_gru, get("gru"), get("lstm")):
        live = engine.Stepper(cell, recurra.Weights.random(cell, I, H, rng=rng))
        row, count = x[0, 0].copy(), 20_000
        start = time.perf_counter()
        for _ in range(count):
            live.step(row)
        print(f"  a live step of {cell.name:12} with {H} units: {(time.perf_counter() - start) / count * 1e6:.2f} us")


if __name__ == "__main__":
    main()
