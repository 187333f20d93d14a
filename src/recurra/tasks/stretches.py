"""The rows of many series of different lengths, brought into batches whose states are carried from one to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.features import Features
from recurra.data.forecasting.series import Series

MOST_KEPT = 1 << 28  # bytes of rows that are kept between epochs; beyond it they are made again each time
MOST_TOGETHER = 64  # series that are validated at once
STEPS = 512  # of a chunk in validation

Piece = tuple[Series, int, int]  # a series, and the first row and the end of its origins
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Chunk:
    """Some steps of parallel rows: rows [C, B, R]; targets [C, B, N], NaN where there is none; reset [C, B], bool."""

    rows: F32
    targets: F32
    reset: NDArray[np.bool_]
    first: bool  # whether states begin anew


class Stretches:
    """Training origins as B parallel stretches, cut into chunks of a few steps.

    The series are put one after the other, in another order in each epoch, and rotated by a random number of rows. What
    comes out is cut into B stretches of one length; a state is carried along a stretch, and starts from zero where a
    series begins. Every row is an origin, and comes once in an epoch.

    Args:
        features: fitted.
        pieces: the training origins of each series.
        batch: B; None: as many as leave a stretch at least 256 rows, 16 at most.
        chunk: steps of a chunk: how far gradients go back.
        seed: of order and rotation.
    """

    def __init__(self, features: Features, pieces: Sequence[Piece], batch: int | None, chunk: int, seed: int) -> None:
        self.features, self.chunk, self.seed = features, chunk, seed
        self.pieces = [piece for piece in pieces if piece[2] > piece[1]]
        self.lengths = np.array([stop - start for _, start, stop in self.pieces])
        self.total = int(self.lengths.sum())
        self.batch = min(self.total, batch or int(np.clip(self.total // 256, 1, 16)))
        self.steps = -(-self.total // self.batch)
        self.updates = -(-self.steps // chunk)
        self.kept: tuple[F32, F32] | None = None
        if self.total * (features.row_size + features.horizon) * 4 <= MOST_KEPT:
            parts = [(features.rows(*piece), features.targets(*piece)) for piece in self.pieces]
            self.kept = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def batches(self, epoch: int) -> Iterator[Chunk]:
        """The chunks of an epoch, in the order of time."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.pieces))
        begins = np.concatenate([[0], np.cumsum(self.lengths[order])])
        places = (np.arange(self.total) + rng.integers(self.total)) % self.total
        turn = np.searchsorted(begins, places, "right") - 1
        piece, row = order[turn], places - begins[turn]  # of each place on the tape
        padded = np.full(self.batch * self.steps, -1)
        padded[: self.total] = np.arange(self.total)
        tape = padded.reshape(self.batch, self.steps).T
        for at in range(0, self.steps, self.chunk):
            places = tape[at : at + self.chunk]
            rows, targets = self._take(piece[places], row[places])
            there = places >= 0
            rows[~there], targets[~there] = 0.0, np.nan
            yield Chunk(rows, targets, (row[places] == 0) & there, at == 0)

    def _take(self, piece: NDArray[np.int64], row: NDArray[np.int64]) -> tuple[F32, F32]:
        """The rows and targets of some places [C, B]."""
        if self.kept is not None:
            begins = np.concatenate([[0], np.cumsum(self.lengths)])
            at = begins[piece] + row
            return self.kept[0][at], self.kept[1][at]
        rows = np.empty((*piece.shape, self.features.row_size), np.float32)
        targets = np.empty((*piece.shape, self.features.horizon), np.float32)
        for b in range(piece.shape[1]):
            cuts = np.flatnonzero((np.diff(piece[:, b]) != 0) | (np.diff(row[:, b]) != 1)) + 1
            for run in np.split(np.arange(len(piece)), cuts):
                series, start, _ = self.pieces[piece[run[0], b]]
                first = start + int(row[run[0], b])
                rows[run, b] = self.features.rows(series, first, first + len(run))
                targets[run, b] = self.features.targets(series, first, first + len(run))
        return rows, targets


def in_order(
    features: Features, pieces: Sequence[Piece], context: int
) -> Iterator[tuple[list[Series], Iterator[Chunk]]]:
    """The origins of some series in their order, in parallel where there are many, each after some rows of context.

    What comes out is, for a group of series, the series and its chunks [C, series, ...]; targets are NaN in the context
    and after a series' end.
    """
    long = sorted((p for p in pieces if p[2] > p[1]), key=lambda p: p[1] - max(0, p[1] - context) - p[2])
    for i in range(0, len(long), MOST_TOGETHER):
        group = long[i : i + MOST_TOGETHER]
        yield [series for series, _, _ in group], _chunks(features, group, context)


def _chunks(features: Features, group: Sequence[Piece], context: int) -> Iterator[Chunk]:
    begins = [max(0, start - context) for _, start, _ in group]
    steps = max(stop - begin for begin, (_, _, stop) in zip(begins, group, strict=True))
    for at in range(0, steps, STEPS):
        count = min(STEPS, steps - at)
        rows = np.zeros((count, len(group), features.row_size), np.float32)
        targets = np.full((count, len(group), features.horizon), np.nan, np.float32)
        for b, (begin, (series, start, stop)) in enumerate(zip(begins, group, strict=True)):
            first, last = begin + at, min(begin + at + count, stop)
            if first >= last:
                continue
            rows[: last - first, b] = features.rows(series, first, last)
            known: Any = features.targets(series, first, last)
            known[: max(0, start - first)] = np.nan
            targets[: last - first, b] = known
        yield Chunk(rows, targets, np.zeros(rows.shape[:2], bool), at == 0)
