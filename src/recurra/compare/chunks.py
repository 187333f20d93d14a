"""How a forecaster's training part is cut into chunks that are trained on side by side.

Every training origin is in one chunk of an epoch, whatever the network is, and an update has about as many origins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.compare.problem import Array

if TYPE_CHECKING:
    from torch import Tensor

    from recurra.compare.forecast import Ahead

ORIGINS = 384  # in one update, for every network
SPAN = 48  # origins in a row that a window model is trained on


@dataclass(frozen=True)
class Chunk:
    """Origins [start, stop) of one series, in a row of `length`; at the beginning of its series or not."""

    series: int
    start: int
    stop: int
    length: int


def plan(problem: Ahead, network: Any, rng: np.random.Generator) -> Iterator[tuple[list[Chunk], Array]]:
    """Chunks that are trained on side by side, and which of them begin anew.

    A recurrent network reads lanes of chunks in the order of time and carries its state; others read any order.
    """
    encoder, N = network.encoder, problem.features.horizon
    carries, length = not encoder.context, encoder.context if encoder.dense else SPAN
    length = network.window if carries else length
    lanes = max(1, ORIGINS // length)
    chunks: list[Chunk] = []
    for k, split in enumerate(problem.splits):
        begin, end = split.origins("train", N)
        edges = [begin, *range(begin + int(rng.integers(1, length + 1)), end, length), end]
        chunks += [Chunk(k, a, b, length) for a, b in pairwise(edges) if b > a]
    count = math.ceil(len(chunks) / lanes)
    if not carries:
        order = rng.permutation(len(chunks))
        for i in range(count):
            yield [chunks[j] for j in order[i * lanes : (i + 1) * lanes]], np.ones(0)
        return
    lanes = min(lanes, len(chunks))
    starts = np.linspace(0, len(chunks), lanes + 1).astype(int)[:-1]
    for i in range(count):
        at = (starts + i) % len(chunks)
        fresh = np.array([i == 0 or j == 0 or chunks[j].series != chunks[j - 1].series for j in at])
        yield [chunks[j] for j in at], fresh


def rows_of(problem: Ahead, chunks: Sequence[Chunk], lead: int) -> tuple[Tensor, Tensor]:
    """Rows [lead + length, B, row] and targets [length, B, N].

    A chunk that is shorter has zeros and NaN: before it at the beginning of a series, so that no state is carried
    through them, and after it at the end.
    """
    import torch

    f, length = problem.features, chunks[0].length
    rows = np.zeros((lead + length, len(chunks), f.row_size), np.float32)
    y = np.full((length, len(chunks), f.horizon), np.nan, np.float32)
    for b, c in enumerate(chunks):
        one, before, first = problem.series[c.series], min(lead, c.start), 0 if c.start else length - c.stop
        last = first + c.stop - c.start
        rows[first + lead - before : last + lead, b] = f.rows(one, c.start - before, c.stop)
        y[first:last, b] = f.targets(one, c.start, c.stop)
    return torch.from_numpy(rows), torch.from_numpy(y)
