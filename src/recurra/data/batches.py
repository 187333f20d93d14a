"""Batches for training: parallel lanes whose states are carried on, windows of what is looked at, or whole sequences.

An example is a `Piece`: a sequence, and the steps at which an answer is wanted. The rows before them are context:
they may be read, but nothing is learned from their targets. Letters: T steps, B rows of a batch, R numbers of a row.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.transform import Transform

MOST_KEPT = 1 << 29  # bytes of rows that are kept between epochs; beyond it they are made again each time
MOST_TOGETHER = 64  # sequences that are read at once outside training
STEPS = 512  # of a chunk there
TOGETHER = 8  # batches of sequences of about one length, so that there is little padding
MANY = 8 * TOGETHER  # batches of an epoch from which on that is done: fewer would be the same in every epoch

F32: TypeAlias = NDArray[np.float32]


class Piece(NamedTuple):
    """A sequence, and the first step and the end of those at which an answer is wanted."""

    sequence: Any
    start: int
    stop: int


@dataclass(frozen=True)
class Batch:
    """Some steps of B rows.

    Attributes:
        rows: [T, B, R].
        targets: [T, B, ...], NaN where there is none; of whole sequences [B, ...], for their ends.
        lengths: the steps of each row [B], of whole sequences; else None.
        reset: [T, B], whether a row's state begins anew before a step; None: nowhere.
        first: whether the states of all rows begin anew.
        lead: steps before the first that has targets, which a window looks back to.
        wanted: [T, B], the steps at which an answer is wanted: neither context nor padding; None: not said.
        ends: whether targets are of whole sequences.
    """

    rows: F32
    targets: F32
    lengths: NDArray[np.int64] | None = None
    reset: NDArray[np.bool_] | None = None
    first: bool = True
    lead: int = 0
    wanted: NDArray[np.bool_] | None = None
    ends: bool = False

    def share(self, first: int, stop: int) -> Batch:
        """Rows first .. stop - 1, as they would be alone but for their padding."""
        cut = slice(first, stop)
        return replace(
            self,
            rows=self.rows[:, cut],
            targets=self.targets[cut] if self.ends else self.targets[:, cut],
            lengths=None if self.lengths is None else self.lengths[cut],
            reset=None if self.reset is None else self.reset[:, cut],
            wanted=None if self.wanted is None else self.wanted[:, cut],
        )


class Batches(ABC):
    """What is trained on in an epoch; the same whenever it is asked for the same epoch.

    Attributes:
        updates: batches of an epoch.
    """

    updates: int

    @abstractmethod
    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of an epoch, numbered from 0."""


class Lanes(Batches):
    """Training steps as B parallel stretches, cut into chunks of a few steps.

    The sequences are put one after the other, in another order in each epoch, and rotated by a random number of rows.
    What comes out is cut into B stretches of one length; a state is carried along a stretch, and starts from zero where
    a sequence begins. Every step comes once in an epoch.

    Args:
        transform: learned.
        pieces: the training steps of each sequence.
        batch: B; None: as many as leave a stretch at least 256 rows, 16 at most.
        chunk: steps of a chunk: how far gradients go back.
        seed: of order and rotation.
    """

    def __init__(self, transform: Transform, pieces: Sequence[Piece], batch: int | None, chunk: int, seed: int) -> None:
        self.transform, self.chunk, self.seed = transform, chunk, seed
        self.pieces = [piece for piece in pieces if piece.stop > piece.start]
        self.lengths = np.array([stop - start for _, start, stop in self.pieces])
        self.total = int(self.lengths.sum())
        self.batch = min(self.total, batch or int(np.clip(self.total // 256, 1, 16)))
        self.steps = -(-self.total // self.batch)
        self.updates = -(-self.steps // chunk)
        self.shape = transform.targets(*self.pieces[0]).shape[1:]  # of one target
        self.kept: tuple[F32, F32] | None = None
        if self.total * (transform.row_size + math.prod(self.shape)) * 4 <= MOST_KEPT:
            self.kept = self._all()

    def _all(self) -> tuple[F32, F32]:
        """The rows and targets of all pieces, one after the other."""
        rows = np.empty((self.total, self.transform.row_size), np.float32)
        targets = np.empty((self.total, *self.shape), np.float32)
        end = 0
        for piece in self.pieces:
            first, end = end, end + piece.stop - piece.start
            rows[first:end], targets[first:end] = self.transform.rows(*piece), self.transform.targets(*piece)
        return rows, targets

    def epoch(self, number: int) -> Iterator[Batch]:
        """The chunks of an epoch, in the order of time."""
        rng = np.random.default_rng([self.seed, number])
        order = rng.permutation(len(self.pieces))
        begins = np.concatenate([[0], np.cumsum(self.lengths[order])])
        rotation, lanes = rng.integers(self.total), self.steps * np.arange(self.batch)
        for at in range(0, self.steps, self.chunk):
            tape = np.arange(at, min(at + self.chunk, self.steps))[:, None] + lanes
            there = tape < self.total
            places = (np.minimum(tape, self.total - 1) + rotation) % self.total
            turn = np.searchsorted(begins, places, "right") - 1
            piece, row = order[turn], places - begins[turn]
            rows, targets = self._take(piece, row)
            rows[~there], targets[~there] = 0.0, np.nan
            yield Batch(rows, targets, reset=(row == 0) & there, first=at == 0)

    def _take(self, piece: NDArray[np.int64], row: NDArray[np.int64]) -> tuple[F32, F32]:
        """The rows and targets of some places [T, B]."""
        if self.kept is not None:
            begins = np.concatenate([[0], np.cumsum(self.lengths)])
            at = begins[piece] + row
            return self.kept[0][at], self.kept[1][at]
        rows = np.empty((*piece.shape, self.transform.row_size), np.float32)
        targets = np.empty((*piece.shape, *self.shape), np.float32)
        for b in range(piece.shape[1]):
            cuts = np.flatnonzero((np.diff(piece[:, b]) != 0) | (np.diff(row[:, b]) != 1)) + 1
            for run in np.split(np.arange(len(piece)), cuts):
                sequence, start, _ = self.pieces[piece[run[0], b]]
                first = start + int(row[run[0], b])
                rows[run, b] = self.transform.rows(sequence, first, first + len(run))
                targets[run, b] = self.transform.targets(sequence, first, first + len(run))
        return rows, targets


class Windows(Batches):
    """Training steps in short runs, in another order in each epoch, for what looks back at a window and keeps no state.

    Args:
        transform: learned.
        pieces: the training steps of each sequence.
        together: training steps in an update.
        length: steps of a run.
        lead: how many steps before a run are looked at.
        seed: of order, and of where runs begin.
    """

    def __init__(
        self, transform: Transform, pieces: Sequence[Piece], together: int, length: int, lead: int, seed: int
    ) -> None:
        self.transform, self.length, self.lead, self.seed = transform, length, lead, seed
        self.pieces = [piece for piece in pieces if piece.stop > piece.start]
        self.batch = max(1, together // length)
        runs = sum(1 + math.ceil((stop - start) / length) for _, start, stop in self.pieces)
        self.updates = math.ceil(runs / self.batch)
        self.shape = transform.targets(*self.pieces[0]).shape[1:]

    def epoch(self, number: int) -> Iterator[Batch]:
        """Every training step comes once."""
        rng, runs = np.random.default_rng([self.seed, number]), list[Piece]()
        for sequence, start, stop in self.pieces:
            first = start + int(rng.integers(1, self.length + 1))
            edges = [start, *range(first, stop, self.length), stop]
            runs += [Piece(sequence, a, b) for a, b in pairwise(edges) if b > a]
        order = rng.permutation(len(runs))
        for at in range(0, len(runs), self.batch):
            yield self._batch([runs[i] for i in order[at : at + self.batch]])

    def _batch(self, runs: Sequence[Piece]) -> Batch:
        """A run that is shorter has NaN before it at the beginning of a sequence, and after it at the end."""
        rows = np.zeros((self.lead + self.length, len(runs), self.transform.row_size), np.float32)
        targets = np.full((self.length, len(runs), *self.shape), np.nan, np.float32)
        for b, (sequence, start, stop) in enumerate(runs):
            before, first = min(self.lead, start), 0 if start else self.length - stop
            last = first + stop - start
            rows[first + self.lead - before : last + self.lead, b] = self.transform.rows(sequence, start - before, stop)
            targets[first:last, b] = self.transform.targets(sequence, start, stop)
        return Batch(rows, targets, lead=self.lead)


class Shuffled(Batches):
    """Whole sequences in another order in each epoch; where they are many, those of about one length together.

    Args:
        transform: learned.
        pieces: each of one sequence: its last step, or all of them.
        batch: sequences in an update.
        seed: of the order.
        by_length: those of about one length are together however few they are, and in the first epoch the short ones
            come first.
    """

    def __init__(
        self, transform: Transform, pieces: Sequence[Piece], batch: int, seed: int, by_length: bool = False
    ) -> None:
        self.seed, self.batch, self.by_length = seed, batch, by_length
        self.examples = Examples(transform, pieces)
        self.updates = -(-len(pieces) // batch)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Every sequence comes once."""
        rng = np.random.default_rng([self.seed, number])
        order = rng.permutation(len(self.examples.pieces))
        chance = np.random.default_rng([self.seed, number, 1])
        size = self.batch * TOGETHER
        if self.by_length and number == 0:
            order = np.argsort(self.examples.lengths, kind="stable")
        if self.updates < MANY and (number == 0 or not self.by_length):
            for at in range(0, len(order), self.batch):
                yield self.examples.batch(order[at : at + self.batch], chance)
            return
        groups = [order[at : at + size] for at in range(0, len(order), size)]
        sorted_ = [group[np.argsort(self.examples.lengths[group], kind="stable")] for group in groups]
        batches = [group[at : at + self.batch] for group in sorted_ for at in range(0, len(group), self.batch)]
        for i in rng.permutation(len(batches)):
            yield self.examples.batch(batches[int(i)], chance)


def in_batches(transform: Transform, pieces: Sequence[Piece], size: int = 256) -> Iterator[tuple[list[Piece], Batch]]:
    """Whole sequences in their order, some at a time, for whatever is not training."""
    examples = Examples(transform, pieces)
    for at in range(0, len(pieces), size):
        some = np.arange(at, min(at + size, len(pieces)))
        yield [pieces[int(i)] for i in some], examples.batch(some)


class Examples:
    """Whole sequences, padded side by side."""

    def __init__(self, transform: Transform, pieces: Sequence[Piece]) -> None:
        self.transform, self.pieces = transform, pieces
        self.lengths = np.array([piece.stop for piece in pieces], np.int64)
        self.ends = not any(piece.sequence.target.ndim for piece in pieces)
        self.made: dict[int, tuple[F32, F32]] = {}
        self.keep = int(self.lengths.sum()) * transform.row_size * 4 <= MOST_KEPT

    def batch(self, some: NDArray[np.int64], rng: np.random.Generator | None = None) -> Batch:
        """These sequences; with `rng`, as they might have been, where the transform can say so."""
        made = [self._made(int(i)) for i in some]
        if rng is not None:
            made = [self._varied(int(i), rng, one) for i, one in zip(some, made, strict=True)]
        lengths = np.array([len(rows) for rows, _ in made], np.int64)
        rows = np.zeros((lengths.max(), len(some), self.transform.row_size), np.float32)
        for b, (row, _) in enumerate(made):
            rows[: lengths[b], b] = row
        if self.ends:
            return Batch(rows, np.stack([target[0] for _, target in made]), lengths, ends=True)
        targets = np.full((*rows.shape[:2], *made[0][1].shape[1:]), np.nan, np.float32)
        wanted = np.zeros(rows.shape[:2], bool)
        for b, (_, target) in enumerate(made):
            at = slice(lengths[b] - len(target), lengths[b])
            targets[at, b], wanted[at, b] = target, True
        return Batch(rows, targets, lengths, wanted=wanted)

    def _varied(self, i: int, rng: np.random.Generator, made: tuple[F32, F32]) -> tuple[F32, F32]:
        sequence, _, stop = self.pieces[i]
        return self.transform.varied(sequence, stop, rng) or made

    def _made(self, i: int) -> tuple[F32, F32]:
        if i in self.made:
            return self.made[i]
        sequence, start, stop = self.pieces[i]
        made = self.transform.rows(sequence, 0, stop), self.transform.targets(sequence, start, stop)
        if self.keep:
            self.made[i] = made
        return made


def in_order(
    transform: Transform, pieces: Sequence[Piece], context: int, lead: int = 0
) -> Iterator[tuple[list[Piece], Iterator[Batch]]]:
    """The steps of some pieces in their order, in parallel where there are many, each after some steps of context.

    What comes out is, for a group of pieces, the pieces and their chunks [T, pieces, ...]; targets are NaN in the
    context and after a piece's end. With `lead`, the rows of every chunk begin so many steps earlier, with zeros
    before a sequence.
    """
    long = sorted((p for p in pieces if p.stop > p.start), key=lambda p: p.start - max(0, p.start - context) - p.stop)
    for i in range(0, len(long), MOST_TOGETHER):
        group = long[i : i + MOST_TOGETHER]
        yield group, _chunks(transform, group, context, lead)


def _chunks(transform: Transform, group: Sequence[Piece], context: int, lead: int) -> Iterator[Batch]:
    begins = [max(0, start - context) for _, start, _ in group]
    steps = max(stop - begin for begin, (_, _, stop) in zip(begins, group, strict=True))
    shape = transform.targets(*group[0]).shape[1:]
    for at in range(0, steps, STEPS):
        count = min(STEPS, steps - at)
        rows = np.zeros((lead + count, len(group), transform.row_size), np.float32)
        targets = np.full((count, len(group), *shape), np.nan, np.float32)
        wanted = np.zeros((count, len(group)), bool)
        for b, (begin, (sequence, start, stop)) in enumerate(zip(begins, group, strict=True)):
            first, last = begin + at, min(begin + at + count, stop)
            if first >= last:
                continue
            before = min(lead, first)
            rows[lead - before : lead + last - first, b] = transform.rows(sequence, first - before, last)
            known: Any = transform.targets(sequence, first, last)
            known[: max(0, start - first)] = np.nan
            targets[: last - first, b] = known
            wanted[max(0, start - first) : last - first, b] = True
        yield Batch(rows, targets, first=at == 0, lead=lead, wanted=wanted)
