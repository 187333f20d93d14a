"""Keras' layers and ours inside Keras: `python -m benchmarks.keras_layers [torch|jax]`; without a name, both in turn.

One epoch of 1,000 batches of 32 of the classic example (SimpleRNN of 50 units over 10 steps, Dense, Adam), and other
layers for comparison. Both models take turns in one process, a part of an epoch each, so that whatever else the
machine does meets both; the ratio is the median of the ratios of neighbouring parts. `dense` has no recurrent layer at
all: what Keras itself takes for a step.
"""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter
from typing import Any

BATCH, PART = 32, 125  # rows, and batches in a part of an epoch
SECONDS = 4.0  # of each case at least

# Name: layer, options, steps, features, units, parts.
CASES: dict[str, tuple[str, dict[str, Any], int, int, int, int]] = {
    "classic: SimpleRNN, T = 10, H = 50": ("SimpleRNN", {}, 10, 1, 50, 8),
    "LSTM, T = 10, H = 50": ("LSTM", {}, 10, 1, 50, 2),
    "GRU, T = 50, H = 64": ("GRU", {}, 50, 16, 64, 2),
    "GRU, T = 50, H = 64, recurrent dropout": ("GRU", {"recurrent_dropout": 0.2}, 50, 16, 64, 2),
    "GRU, T = 50, H = 64, both dropouts": ("GRU", {"dropout": 0.2, "recurrent_dropout": 0.2}, 50, 16, 64, 2),
}


def models(layer: str, options: dict[str, Any], steps: int, features: int, units: int) -> dict[str, Any]:
    import keras

    import recurra.keras as ours

    def model(recurrent: Any) -> Any:
        made = keras.Sequential([keras.Input((steps, features)), recurrent, keras.layers.Dense(1)])
        made.compile(optimizer="adam", loss="mse")
        return made

    return {
        "keras": model(getattr(keras.layers, layer)(units, **options)),
        "recurra": model(getattr(ours, layer)(units, **options)),
        "dense": model(keras.layers.Flatten()),
    }


def milliseconds(name: str) -> dict[str, list[float]]:
    """Per batch, of each model in each part."""
    import numpy as np

    *what, parts = CASES[name]
    made = models(*what)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * PART, *what[2:4])).astype("float32")
    y = x.sum((1, 2))[:, None]
    for model in made.values():
        model.fit(x[: 10 * BATCH], y[: 10 * BATCH], batch_size=BATCH, verbose=0)
    times: dict[str, list[float]] = {name: [] for name in made}
    end = perf_counter() + SECONDS
    while len(times["keras"]) < parts or perf_counter() < end:
        for key, model in made.items():
            start = perf_counter()
            model.fit(x, y, batch_size=BATCH, verbose=0)
            times[key].append((perf_counter() - start) / PART * 1e3)
    return times


def run() -> None:
    """Measure on the backend that `KERAS_BACKEND` names."""
    import warnings

    import keras
    import numpy as np

    from recurra import engine

    warnings.simplefilter("ignore")
    engine.set_num_threads(1)
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        torch.set_num_threads(1)
    print(f"{backend}, keras {keras.__version__}: ms a batch of {BATCH}; ratio of Recurra to Keras (quartiles)")
    for name in CASES:
        times = {key: np.array(t) for key, t in milliseconds(name).items()}
        low, ratio, high = np.quantile(times["recurra"] / times["keras"], [0.25, 0.5, 0.75])
        columns = "  ".join(f"{key} {np.median(t):6.2f}" for key, t in times.items())
        print(f"  {name:<40} {columns}  ratio {ratio:.2f} ({low:.2f} to {high:.2f})", flush=True)


def main() -> None:
    """One process for each backend."""
    if "KERAS_BACKEND" in os.environ:
        return run()
    for backend in sys.argv[1:] or ["torch", "jax"]:
        command = [sys.executable, "-m", "benchmarks.keras_layers"]
        subprocess.run(command, env=os.environ | {"KERAS_BACKEND": backend}, check=True)
    return None


if __name__ == "__main__":
    main()
