"""Keras' own tests of its recurrent layers, which come with Keras, with Recurra's layers in their place."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest
from keras.src import layers as theirs

import recurra.keras as ours
from recurra.keras import layers as modules

NAMES = ("simple_rnn", "lstm", "gru", "bidirectional")  # the files in which our layers take part

calls = 0
_run = modules.run


def counted(*arguments: object) -> object:
    """The loop over time, counted."""
    global calls
    calls += 1
    return _run(*arguments)  # type: ignore[arg-type]


def main(options: list[str]) -> int:
    """Swap the layers and run the tests; print how often our kernels ran, and return pytest's exit status."""
    modules.run = counted  # type: ignore[assignment]
    for name in ("SimpleRNN", "LSTM", "GRU"):
        for namespace in (theirs, keras.layers):
            setattr(namespace, name, getattr(ours, name))
    folder = Path(theirs.__file__).parent / "rnn"
    status = pytest.main([*options, f"--rootdir={folder}", *(str(folder / f"{name}_test.py") for name in NAMES)])
    print(f"kernels ran {calls} times")
    return int(status)
