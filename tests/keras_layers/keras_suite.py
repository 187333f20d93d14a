"""Keras' own tests of its recurrent layers, with Recurra's in their place: `python keras_suite.py`, KERAS_BACKEND set.

Prints how many tests ran and how often our kernels did; the exit status is pytest's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import pytest
from keras.src import layers as theirs

import recurra.keras as ours
from recurra.keras import layers as modules

FILES = ("simple_rnn_test.py", "lstm_test.py", "gru_test.py", "rnn_test.py", "bidirectional_test.py", "time_distributed_test.py")

calls = 0
_run = modules.run


def counted(*arguments: object) -> object:
    """The loop over time, counted."""
    global calls
    calls += 1
    return _run(*arguments)  # type: ignore[arg-type]


def main() -> int:
    """Swap the layers, and run the tests."""
    modules.run = counted  # type: ignore[assignment]
    for name in ("SimpleRNN", "LSTM", "GRU"):
        for namespace in (theirs, keras.layers):
            setattr(namespace, name, getattr(ours, name))
    folder = Path(theirs.__file__).parent / "rnn"
    here = Path(__file__).parent
    options = ["-q", "-p", "no:cacheprovider", "-c", str(here / "keras_suite.ini"), f"--rootdir={folder}", "-W", "ignore"]
    status = pytest.main([*options, *(str(folder / name) for name in FILES)])
    print(f"kernels ran {calls} times")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
