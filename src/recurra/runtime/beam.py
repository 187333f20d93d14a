"""Beam search: the most probable sequences of symbols that a program writes, one symbol after the other.

The program takes a symbol's number in a step and gives the probability of each to be the next; where its last op is a
`Readout`, it may give numbers of what it copies, too, and what it is to be given again. All hypotheses of all
sequences are rows of one batch. A row's bits do not depend on the others, logarithms are taken one by one, and ties are
broken by number: what is found for a sequence is the same alone and in any company, and a beam of one is the greedy
choice at every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recurra import _native
from recurra.errors import ShapeError
from recurra.runtime.ops import Attend, Readout
from recurra.runtime.program import Program
from recurra.runtime.session import Session
from recurra.weights import Array

TOGETHER = 64  # rows of a batch
MOST_BYTES = 1 << 28  # of their states: long memories are searched in fewer rows
_MEMORY = ("keys", "values", "count", "places")  # states that all hypotheses of a sequence share


@dataclass(frozen=True)
class Limits:
    """What is searched, and how far.

    Attributes:
        begin, end: the symbols that stand before the first one and behind the last one.
        beam: hypotheses that are kept; 1: the most probable symbol at every step.
        penalty: a finished hypothesis of n symbols, its end included, is worth log p / n ** penalty.
        most: symbols; a search ends there, whatever it has.
        least: symbols before the end may come.
        no_repeat: no n symbols in a row come twice; 0: they may.
    """

    begin: int
    end: int
    beam: int = 4
    penalty: float = 1.0
    most: int = 100
    least: int = 0
    no_repeat: int = 0


@dataclass(frozen=True)
class Hypothesis:
    """A sequence of symbols, and how good it is.

    Attributes:
        symbols: numbers, without begin and end; those from V on are places to copy from, V + m.
        log_probability: of all of them, the end included where it came.
        score: by which hypotheses are ranked.
        ended: whether the end came before the search did.
        looked: [symbols, n], which row of the memory each symbol had most of, as shares; None without attention.
    """

    symbols: tuple[int, ...]
    log_probability: float
    score: float
    ended: bool
    looked: Array | None = None


@dataclass(slots=True)
class _Row:
    """A hypothesis that grows; `path` says which row of the batch it was at each step."""

    symbols: tuple[int, ...] = ()
    total: float = 0.0
    path: tuple[int, ...] = ()


def search(program: Program, begins: Sequence[Mapping[str, Array]], limits: Limits) -> list[list[Hypothesis]]:
    """The best hypotheses of each of N sequences, the best first: at least one, at most `limits.beam`.

    Args:
        program: a symbol's number in, a probability for each symbol out (its last op is a softmax, or a `Readout`).
        begins: for each sequence the states that are not as at the beginning, such as a memory: [width] each, by name.
        limits: of the search.

    Raises:
        ShapeError: the states or the limits do not fit the program.
    """
    _check(program, limits)
    bytes_ = 4 * sum(program.state_widths().values()) * limits.beam
    groups, found = max(1, min(TOGETHER // limits.beam, MOST_BYTES // max(1, bytes_))), list[list[Hypothesis]]()
    for at in range(0, len(begins), groups):
        some = Search(program, begins[at : at + groups], limits)
        while not some.done:
            some.step()
        found += map(some.best, range(len(some.begins)))
    return found


def writing(program: Program, begin: Mapping[str, Array], limits: Limits) -> Iterator[int]:
    """The symbols of the best hypothesis of `search`, each as soon as it is certain: when all hypotheses have it.

    With a beam of one that is at once.

    Raises:
        ShapeError: as in `search`.
    """
    one, said = Search(program, [begin], limits), 0
    while not one.done:
        one.step()
        sure = one.certain(0)
        yield from sure[said:]
        said = len(sure)


class Search:
    """A search as it goes on, symbol by symbol: hypotheses of a sequence are rows of one batch beside those of others.

    Args:
        program, begins, limits: as `search` takes them.

    Attributes:
        session: of all rows; what an encoder learns meanwhile may be put into its states.
        steps: so far.
        done: whether nothing more can be found.
    """

    def __init__(self, program: Program, begins: Sequence[Mapping[str, Array]], limits: Limits) -> None:
        _check(program, limits)
        self.program, self.begins, self.limits = program, begins, limits
        self.session = _begun(program, begins, limits.beam)
        self.written, self.symbols, fed = _sizes(program)
        self.looks = _Looks(program)
        self.steps, self.done = 0, False
        self._shared = [name for name in program.state_widths() if name.rpartition(".")[2] in _MEMORY]
        self._live: list[list[_Row]] = [[_Row()] for _ in begins]
        self._found: list[list[Hypothesis]] = [[] for _ in begins]
        self._x = np.zeros((len(begins) * limits.beam, 1 + fed), np.float32)
        self._x[:, 0] = limits.begin

    def step(self) -> None:
        """One symbol more for each hypothesis."""
        x, beam = self._x, self.limits.beam
        given = self.session.step(x if not self.program.vocabulary_size else x[:, 0].astype(np.int64))
        self.looks.note(self.session)
        order, said = list(range(len(x))), [self.limits.end] * len(x)
        for n, ways in enumerate(self._ways(given[:, : self.written])):
            if self._live[n]:
                self._live[n] = self._grow(n, ways)
                for at, row in enumerate(self._live[n], n * beam):
                    order[at], said[at] = row.path[-1], row.symbols[-1]
        self.steps += 1
        self.done = self.steps >= self.limits.most or not any(self._live)
        if not self.done:
            x[:, 0] = [symbol if symbol < self.symbols else 0 for symbol in said]  # what is copied is no symbol
            x[:, 1:] = given[order, self.written :]
            if beam > 1:
                self.session.take(order, self._shared)

    def _ways(self, p: Array) -> Iterator[Iterator[tuple[int, int, float]]]:
        """For each sequence how its hypotheses may go on, the best first: which, with which symbol, and its total."""
        limits, beam = self.limits, self.limits.beam
        p = np.ascontiguousarray(p)
        p[:, limits.begin] = 0
        totals = np.full(len(p), -np.inf)
        for n, rows in enumerate(self._live):
            for at, row in enumerate(rows, n * beam):
                totals[at] = row.total
                if len(row.symbols) < limits.least:
                    p[at, limits.end] = 0
                if limits.no_repeat:
                    p[at, list(_repeated(row.symbols, limits.no_repeat))] = 0
        taken = np.empty((len(self._live), 2 * beam), np.int64)  # as each may end, and one goes on for each
        symbols, results = np.zeros_like(taken), np.zeros(taken.shape)
        _native.ways_on(p, totals, taken, symbols, results)
        for each in zip(taken.tolist(), symbols.tolist(), results.tolist(), strict=True):
            yield zip(*each, strict=True)

    def _grow(self, n: int, ways: Iterator[tuple[int, int, float]]) -> list[_Row]:
        """The hypotheses of a sequence after one symbol more; those that end are found."""
        limits, beam = self.limits, self.limits.beam
        rows, found, grown = self._live[n], self._found[n], list[_Row]()
        for rank, (r, symbol, total) in enumerate(ways):
            if r < 0 or len(grown) == beam:
                break
            row = rows[r]
            if symbol != limits.end:
                grown.append(_Row((*row.symbols, symbol), total, (*row.path, n * beam + r)))
            elif rank < beam and len(found) < beam:
                found.append(self._finished(_Row(row.symbols, total, row.path), ended=True))
        return grown if len(found) < beam else []

    def _finished(self, row: _Row, ended: bool) -> Hypothesis:
        worth = row.total / max(1, len(row.symbols) + ended) ** self.limits.penalty
        return Hypothesis(row.symbols, row.total, worth, ended, self.looks.of(row.path))

    def best(self, n: int) -> list[Hypothesis]:
        """What is found for a sequence so far, the best first; what goes on comes last."""
        missing = self.limits.beam - len(self._found[n])
        found = self._found[n] + [self._finished(row, ended=False) for row in self._live[n][:missing]]
        return sorted(found, key=lambda h: (-h.ended, -h.score, h.symbols))

    def certain(self, n: int) -> tuple[int, ...]:
        """The symbols with which the best of a sequence begins, whatever comes."""
        if self.done:
            return self.best(n)[0].symbols
        first, *others = [h.symbols for h in self._found[n]] + [row.symbols for row in self._live[n]]
        same = 0
        while same < len(first) and all(len(o) > same and o[same] == first[same] for o in others):
            same += 1
        return first[:same]


def _check(program: Program, limits: Limits) -> None:
    symbols, fed = _sizes(program)[1:]
    for name in ("begin", "end"):
        if not 0 <= getattr(limits, name) < symbols:
            raise ShapeError(f"search: `{name}` is {getattr(limits, name)}, expected a symbol: 0 to {symbols - 1}")
    if limits.beam < 1 or limits.most < 1 or not 0 <= limits.least <= limits.most or limits.no_repeat < 0:
        raise ShapeError(
            f"search: beam={limits.beam}, most={limits.most}, least={limits.least}, no_repeat={limits.no_repeat}, "
            "expected at least one hypothesis and one symbol, and a least that is not above the most"
        )
    if program.input_size != 1 + fed:
        raise ShapeError(
            f"search: the program takes {program.input_size} numbers, expected {1 + fed}: a symbol's"
            f"{', and what it is fed' if fed else ''}"
        )


def _sizes(program: Program) -> tuple[int, int, int]:
    """What can be written, how many of these are symbols, and the numbers behind them that are to be fed."""
    last = program.ops[-1]
    if isinstance(last, Readout):
        return last.symbols, last.sizes["V"], last.fed
    return program.output_size, program.output_size, 0


def _begun(program: Program, begins: Sequence[Mapping[str, Array]], beam: int) -> Session:
    """A session of all rows at their beginning."""
    rows = len(begins) * beam
    session = program.session(rows)
    state = {name: np.repeat(a[None], rows, 0) for name, a in program.beginnings().items()}
    for n, given in enumerate(begins):
        for name, array in given.items():
            state[name][n * beam : (n + 1) * beam] = array
    session.state = state
    return session


def _repeated(symbols: Sequence[int], n: int) -> set[int]:
    """What would make the last n symbols come twice."""
    if n == 0 or len(symbols) < n - 1:
        return set()
    ending = tuple(symbols[len(symbols) - n + 1 :])
    return {symbols[i + n - 1] for i in range(len(symbols) - n + 1) if tuple(symbols[i : i + n - 1]) == ending}


class _Looks:
    """Where the rows of a program that attends have looked, step by step."""

    def __init__(self, program: Program) -> None:
        found = [(i, op) for i, op in enumerate(program.ops) if isinstance(op, Attend)]
        self.place = found[0][0] if found else 0
        self.op: Attend | None = found[0][1] if found else None
        self.steps: list[tuple[Array, list[int]]] = []

    def note(self, session: Session) -> None:
        """The last step: of each row the mean of the heads, and how many rows its memory had."""
        if self.op is not None:
            weights, count = (session.read(f"layers.{self.place}.{name}") for name in ("weights", "count"))
            heads = weights.reshape(len(weights), self.op.heads, self.op.capacity)
            self.steps.append((heads.mean(1), count[:, 0].astype(int).tolist()))

    def of(self, path: Sequence[int]) -> Array | None:
        """What a path has looked at, [steps, n] of a memory that has grown to n; None: nothing attends."""
        if self.op is None or not path:
            return None
        looked = np.zeros((len(path), self.steps[len(path) - 1][1][path[-1]]), np.float32)
        for seen, (shares, counts), row in zip(looked, self.steps, path, strict=False):
            seen[: counts[row]] = shares[row, : counts[row]]
        return looked
