"""Networks of equal size: the width at which a candidate has as many parameters as it may have.

>>> from recurra.compare.candidates import CANDIDATES
>>> encoder, head, count = matched(CANDIDATES["gru"], {"layers": 1}, 3, lambda width: torch.nn.Linear(width, 2), 5000)
>>> abs(count / 5000 - 1) < TOLERANCE
True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from recurra.cells import from_text
from recurra.compare.candidates import Candidate
from recurra.errors import CompareError
from recurra.models import encoders

TOLERANCE = 0.05
MOST = 4096  # units of one layer

Head = Callable[[int], nn.Module]


def matched(
    candidate: Candidate, params: Mapping[str, Any], input_size: int, head: Head, parameters: int
) -> tuple[encoders.Encoder, nn.Module, int]:
    """The encoder of a candidate, the head on it, and how many parameters they have: within 5 % of `parameters`.

    Args:
        candidate: a neural one.
        params: what is tuned: `layers`, `window` of a window model, `dropout`.
        input_size: I.
        head: makes the task's head from the features H.
        parameters: how many there may be.

    Raises:
        CompareError: no width is that close, for the steps between widths are too large, or the least is too much.
    """
    width = _largest(lambda w: _fits(candidate, params, input_size, head, parameters, w, 0), 1, MOST)
    best: tuple[int, int, int] | None = None
    for w in (max(1, width), width + 1):
        extra = _largest(partial(_fits, candidate, params, input_size, head, parameters, w), 0, 4 * w + 256)
        for e in (max(0, extra), extra + 1):
            size = _size(candidate, params, input_size, head, w, e)
            if best is None or abs(size - parameters) < abs(best[0] - parameters):
                best = (size, w, e)
    assert best is not None
    size, w, e = best
    if abs(size - parameters) > TOLERANCE * parameters:
        where = "".join(f", {n} {params[n]}" for n in ("window", "layers") if n in params)
        raise CompareError(
            f"parameters: {candidate.name}{where} has {size:,} at the nearest width, expected {parameters:,} within "
            f"{TOLERANCE:.0%}: allow more parameters, or leave {candidate.name} out"
        )
    encoder = build(candidate, params, input_size, w, e)
    return encoder, head(encoder.width), size


def build(candidate: Candidate, params: Mapping[str, Any], input_size: int, width: int, extra: int) -> encoders.Encoder:
    """The encoder of a width; `extra` units are added where they cost least, so that sizes can be matched closely."""
    layers, dropout, window = params.get("layers", 1), params.get("dropout", 0.0), params.get("window", 0)
    if candidate.kind == "recurrent":
        sizes = [width] * (layers - 1) + [width + (extra if layers > 1 else 0)]
        return encoders.RecurrentEncoder(from_text(candidate.cell), input_size, sizes, dropout, candidate.bidirectional)
    if candidate.kind == "feedforward":
        return encoders.Feedforward(input_size, window, [width] + [width + extra] * layers, dropout)
    if candidate.kind == "cnn":
        return encoders.Convolutional(input_size, window, width, dropout)
    even = encoders.HEADS * width
    return encoders.Transformer(input_size, window, even, layers, 2 * even + extra, dropout)


def _fits(
    candidate: Candidate,
    params: Mapping[str, Any],
    input_size: int,
    head: Head,
    parameters: int,
    width: int,
    extra: int,
) -> bool:
    return _size(candidate, params, input_size, head, width, extra) <= parameters


def _size(candidate: Candidate, params: Mapping[str, Any], input_size: int, head: Head, width: int, extra: int) -> int:
    """How many parameters."""
    if width < 1:
        return 0
    with torch.random.fork_rng(devices=[]):
        encoder = build(candidate, params, input_size, width, extra)
        parts = (encoder, head(encoder.width))
    return sum(p.numel() for part in parts for p in part.parameters())


def _largest(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The largest number for which a falling condition holds, found from below; `low` - 1 where it holds for none."""
    step = 1
    while low + step <= high and holds(low + step):
        low, step = low + step, 2 * step
    high = min(low + step, high + 1)
    low = low if step > 1 or holds(low) else low - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
