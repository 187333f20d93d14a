"""Whether a model gives the same bits however it is run: measured, and written into its file."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

from recurra.engine import isa
from recurra.runtime.file import load, save_model
from recurra.runtime.model import Model
from recurra.weights import Array


def check_parity(model: Model, x: Array) -> dict[str, Any]:
    """Run x [T, B, I] (ids [T, B]) as a whole, in chunks, step by step, in batches, and from a saved file.

    Returns:
        A report: the sample's shape, the ISA, and `differing`, for each way of running how many of the output's numbers
        differ in their bits from those of the whole. A network that cannot step is run alone and reloaded only.

    >>> import numpy as np
    >>> from recurra import runtime
    >>> model = runtime.Model([runtime.Linear(np.ones((1, 2), np.float32)), runtime.Activation("tanh")])
    >>> check_parity(model, np.ones((4, 3, 2), np.float32))["differing"]
    {'batched': 0, 'chunked': 0, 'stepped': 0, 'sessions': 0, 'reloaded': 0}
    """
    T, B = x.shape[:2]
    whole = model.run(x)
    others = {"batched": np.stack([model.run(np.ascontiguousarray(x[:, b])) for b in range(B)], 1)}
    if model.streams:
        others |= {"chunked": _chunked(model, x), "stepped": _stepped(model, x), "sessions": _sessions(model, x)}
    others["reloaded"] = _reloaded(model).run(x)
    return {
        "sample": {"steps": T, "rows": B},
        "isa": isa(),
        "differing": {name: _differing(whole, other) for name, other in others.items()},
    }


def _differing(a: Array, b: Array) -> int:
    """Numbers with other bits."""
    return int(np.count_nonzero(a.view(np.uint32) != b.view(np.uint32)))


def _chunked(model: Model, x: Array) -> Array:
    """In chunks of 1, 2, 3, ... steps."""
    session, at, count = model.session(batch=x.shape[1]), 0, 1
    parts: list[Array] = []
    while at < len(x) or not parts:
        parts.append(session.run(x[at : at + count]))
        at, count = at + count, count + 1
    return np.concatenate(parts)


def _stepped(model: Model, x: Array) -> Array:
    """One row after the other, a step a call, half of them into an array that is there already."""
    T, B = x.shape[:2]
    out = np.empty((T, B, model.output_size), np.float32)
    for b in range(B):
        session = model.session()
        for t in range(T):
            step = np.ascontiguousarray(x[t, b]) if x.ndim == 3 else int(x[t, b])
            if t % 2:
                session.step(step, out=out[t, b])
            else:
                out[t, b] = session.step(step)
    return out


def _sessions(model: Model, x: Array) -> Array:
    """A session a row, all of them in one call a step."""
    sessions = [model.session() for _ in range(x.shape[1])]
    return np.stack([model.step_many(sessions, step) for step in x])


def _reloaded(model: Model) -> Model:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.recurra")
        save_model(model, path)
        return load(path)
