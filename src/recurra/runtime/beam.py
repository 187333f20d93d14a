"""Beam search: the most probable sequences of symbols that a program writes, one symbol after the other.

The program takes a symbol's number in a step and gives the probability of each to be the next; where its last op is a
`Readout`, it may give numbers of what it copies, too, and what it is to be given again. All hypotheses of all
sequences are rows of one batch. A row's bits do not depend on the others, logarithms are taken one by one, and ties are
broken by number: what is found for a sequence is the same alone and in any company, and a beam of one is the greedy
choice at every step.
"""

from __future__ import annotations

import math
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
    """A hypothesis that grows."""

    symbols: tuple[int, ...] = ()
    total: float = 0.0
    looked: tuple[Array, ...] = ()


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
        places, p = _best(given[:, : self.written], self._live, self.limits)
        shares, order = self.looks.of(self.session), list(range(len(x)))
        x[:, 0] = self.limits.end
        for n, rows in enumerate(self._live):
            at, found = n * beam, self._found[n]
            grown = _grow(rows, places[at : at + beam], p[at : at + beam], self.limits, found)
            self._live[n] = [] if len(found) >= beam else [row for _, row in grown]
            for k, (parent, row) in enumerate(grown):
                order[at + k] = at + parent
                if shares is not None:
                    row.looked = (*rows[parent].looked, shares[at + parent])
                x[at + k, 0] = row.symbols[-1] if row.symbols[-1] < self.symbols else 0  # what is copied is no symbol
        self.steps += 1
        self.done = self.steps >= self.limits.most or not any(self._live)
        if not self.done:
            x[:, 1:] = given[order, self.written :]
            self.session.take(order, self._shared)

    def best(self, n: int) -> list[Hypothesis]:
        """What is found for a sequence so far, the best first; what goes on comes last."""
        missing = self.limits.beam - len(self._found[n])
        found = self._found[n] + [_finished(row, self.limits, ended=False) for row in self._live[n][:missing]]
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


def _best(p: Array, live: Sequence[Sequence[_Row]], limits: Limits) -> tuple[list[list[int]], list[list[float]]]:
    """The most probable of what may come next in each row, and their probabilities; what may not has none."""
    p = np.ascontiguousarray(p)
    p[:, limits.begin] = 0
    for n, rows in enumerate(live):
        for k, row in enumerate(rows):
            if len(row.symbols) < limits.least:
                p[n * limits.beam + k, limits.end] = 0
            if limits.no_repeat:
                p[n * limits.beam + k, list(_repeated(row.symbols, limits.no_repeat))] = 0
    places = np.empty((len(p), min(limits.beam + 1, p.shape[1])), np.int64)
    _native.largest(p, places)
    return places.tolist(), np.take_along_axis(p, places, 1).tolist()


def _grow(
    rows: Sequence[_Row],
    places: Sequence[Sequence[int]],
    p: Sequence[Sequence[float]],
    limits: Limits,
    found: list[Hypothesis],
) -> list[tuple[int, _Row]]:
    """The rows after one more symbol, each with the row that it comes from; those that end go to `found`."""
    candidates = sorted(
        (-(row.total + math.log(chance)), r, symbol)
        for r, row in enumerate(rows)
        for symbol, chance in zip(places[r], p[r], strict=True)
        if chance > 0
    )
    grown: list[tuple[int, _Row]] = []
    for rank, (cost, r, symbol) in enumerate(candidates):
        if symbol == limits.end:
            if rank < limits.beam and len(found) < limits.beam:
                found.append(_finished(_Row(rows[r].symbols, -cost, rows[r].looked), limits, ended=True))
        elif len(grown) < limits.beam:
            grown.append((r, _Row((*rows[r].symbols, symbol), -cost)))
    return grown


def _repeated(symbols: Sequence[int], n: int) -> set[int]:
    """What would make the last n symbols come twice."""
    if n == 0 or len(symbols) < n - 1:
        return set()
    ending = tuple(symbols[len(symbols) - n + 1 :])
    return {symbols[i + n - 1] for i in range(len(symbols) - n + 1) if tuple(symbols[i : i + n - 1]) == ending}


def _finished(row: _Row, limits: Limits, ended: bool) -> Hypothesis:
    count, looked = len(row.symbols) + ended, None
    if row.looked:  # a memory may have grown meanwhile
        looked = np.zeros((len(row.looked), len(row.looked[-1])), np.float32)
        for seen, one in zip(looked, row.looked, strict=True):
            seen[: len(one)] = one
    return Hypothesis(row.symbols, row.total, row.total / max(1, count) ** limits.penalty, ended, looked)


class _Looks:
    """Where the rows of a program that attends have looked."""

    def __init__(self, program: Program) -> None:
        found = [(i, op) for i, op in enumerate(program.ops) if isinstance(op, Attend)]
        self.place = found[0][0] if found else 0
        self.op: Attend | None = found[0][1] if found else None

    def of(self, session: Session) -> list[Array] | None:
        """At the last step, for each row: the mean of the heads, [n] of n rows of its memory; None: nothing attends."""
        if self.op is None:
            return None
        weights, count = (session.read(f"layers.{self.place}.{name}") for name in ("weights", "count"))
        found = weights.reshape(len(weights), self.op.heads, self.op.capacity).mean(1)
        return [row[: int(n)] for row, n in zip(found, count[:, 0], strict=True)]
