"""Many to one in Keras, with one import changed: the sum of a sequence of numbers.

Run: KERAS_BACKEND=torch python examples/keras_regressor.py (or jax)
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from keras import Sequential, saving
from keras.layers import Dense

from recurra.keras import SimpleRNN, backend_for


@dataclass
class Result:
    """Mean squared errors on sequences that were not trained on, and how far the reopened model is.

    Attributes:
        baseline: of always answering the mean.
        error: of the network.
        reopened: the largest difference of a prediction after saving and loading.
        backend: what the recurrent layer ran on.
    """

    baseline: float
    error: float
    reopened: float
    backend: str


def main(batches: int = 1000, epochs: int = 1) -> Result:
    """Train, and print the error against that of the mean."""
    model = Sequential()
    model.add(SimpleRNN(50, input_shape=(10, 1)))
    model.add(Dense(1))
    model.compile(optimizer="adam", loss="mse")

    rng = np.random.default_rng(0)
    x = rng.normal(size=(32 * batches, 10, 1)).astype("float32")
    fresh = rng.normal(size=(320, 10, 1)).astype("float32")
    baseline = float(fresh.sum(1).var())
    model.fit(x, x.sum(1), batch_size=32, epochs=epochs, verbose=0)
    error = float(model.evaluate(fresh, fresh.sum(1), verbose=0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        again = saving.load_model(path)
    reopened = float(np.abs(model.predict(fresh, verbose=0) - again.predict(fresh, verbose=0)).max())
    backend = backend_for(model.layers[0])
    print(f"always answering the mean: error {baseline:.3f}; the network: {error:.3f} ({backend})")
    return Result(baseline, error, reopened, backend)


if __name__ == "__main__":
    main()
