"""Pairs of texts side by side, for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.data.batches import Batch, Examples, Piece, Shuffled
from recurra.data.text.pairs import BEGIN


class PairExamples(Examples):
    """Pairs side by side; targets are [T + 1, B]: what is written with its begin and end, then NaN."""

    def __init__(self, transform: Any, pieces: Sequence[Piece], copies: bool) -> None:
        super().__init__(transform, pieces)
        self.copies = copies

    def batch(self, some: Any, rng: np.random.Generator | None = None) -> Batch:
        """These pairs; with `rng`, what is read as it might have been, where the transform can say so."""
        return batch_of(self.transform, [self.pieces[int(i)].sequence for i in some], self.copies, rng)


class PairBatches(Shuffled):
    """Pairs in another order in each epoch, those of about one length together."""

    def __init__(self, transform: Any, pieces: Sequence[Piece], batch: int, seed: int, copies: bool) -> None:
        super().__init__(transform, pieces, batch, seed)
        self.examples = PairExamples(transform, pieces, copies)


def batch_of(transform: Any, pairs: Sequence[Any], copies: bool, rng: np.random.Generator | None = None) -> Batch:
    """Some pairs side by side.

    Args:
        transform: learned.
        pairs: some.
        copies: whether rows have the number of each place behind what is read.
        rng: where it is given, what is read is as it might have been.
    """
    lengths = np.array([len(pair) for pair in pairs], np.int64)
    size = transform.row_size
    rows = np.zeros((lengths.max(), len(pairs), size + copies), np.float32)
    written = [transform.written(pair, copies) if copies else transform.written(pair) for pair in pairs]
    targets = np.full((1 + max(map(len, written)), len(pairs)), np.nan, np.float32)
    targets[0] = BEGIN
    for b, pair in enumerate(pairs):
        varied = None if rng is None else transform.varied(pair, len(pair), rng)
        rows[: lengths[b], b, :size] = transform.rows(pair, 0, len(pair)) if varied is None else varied[0]
        if copies:
            rows[: lengths[b], b, size] = transform.places(pair)
        targets[1 : 1 + len(written[b]), b] = written[b]
    return Batch(rows, targets, lengths)


def before(targets: Any, symbols: int) -> Any:
    """What stands before each symbol of targets [T + 1, B] of a batch: [T, B, 1]; what is copied is no symbol."""
    known = np.nan_to_num(targets[:-1], nan=0.0)[..., None]
    return np.where(known < symbols, known, 0.0).astype(np.float32)
