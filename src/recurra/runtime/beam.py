"""Beam search: the most probable sequences of symbols that a program writes, one symbol after the other.

The program takes a symbol's number in a step and gives the probability of each to be the next. All hypotheses of all
sequences are rows of one batch. A row's bits do not depend on the others, logarithms are taken one by one, and ties are
broken by number: what is found for a sequence is the same alone and in any company, and a beam of one is the greedy
choice at every step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recurra.errors import ShapeError
from recurra.runtime.ops import Attend
from recurra.runtime.program import Program
from recurra.weights import Array

TOGETHER = 64  # rows of a batch
_MEMORY = ("keys", "values", "count")  # states that all hypotheses of a sequence share


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
        symbols: numbers, without begin and end.
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


@dataclass(frozen=True)
class _Row:
    """A hypothesis that grows."""

    symbols: tuple[int, ...] = ()
    total: float = 0.0
    looked: tuple[Array, ...] = ()


def search(program: Program, begins: Sequence[Mapping[str, Array]], limits: Limits) -> list[list[Hypothesis]]:
    """The best hypotheses of each of N sequences, the best first: at least one, at most `limits.beam`.

    Args:
        program: a symbol's number in, a probability for each symbol out (its last op is a softmax).
        begins: for each sequence the states that are not as at the beginning, such as a memory: [width] each, by name.
        limits: of the search.

    Raises:
        ShapeError: the states or the limits do not fit the program.
    """
    _check(program, limits)
    groups, result = max(1, TOGETHER // limits.beam), list[list[Hypothesis]]()
    for at in range(0, len(begins), groups):
        *_, (_, found) = _together(program, begins[at : at + groups], limits)
        result += found
    return result


def writing(program: Program, begin: Mapping[str, Array], limits: Limits) -> Iterator[int]:
    """The symbols of the best hypothesis of `search`, each as soon as it is certain: when all hypotheses have it.

    With a beam of one that is at once.

    Raises:
        ShapeError: as in `search`.
    """
    _check(program, limits)
    said = 0
    for live, found in _together(program, [begin], limits):
        rows = [row.symbols for row in live[0]] + [one.symbols for one in found[0]]
        for symbols in list(zip(*rows, strict=False))[said:]:
            if len(set(symbols)) > 1:
                break
            said += 1
            yield symbols[0]
    yield from found[0][0].symbols[said:]


def _check(program: Program, limits: Limits) -> None:
    symbols = program.output_size
    for name in ("begin", "end"):
        if not 0 <= getattr(limits, name) < symbols:
            raise ShapeError(f"search: `{name}` is {getattr(limits, name)}, expected a symbol: 0 to {symbols - 1}")
    if limits.beam < 1 or limits.most < 1 or not 0 <= limits.least <= limits.most or limits.no_repeat < 0:
        raise ShapeError(
            f"search: beam={limits.beam}, most={limits.most}, least={limits.least}, no_repeat={limits.no_repeat}, "
            "expected at least one hypothesis and one symbol, and a least that is not above the most"
        )
    if program.input_size != 1:
        raise ShapeError(f"search: the program takes {program.input_size} numbers, expected one: a symbol's")


def _together(
    program: Program, begins: Sequence[Mapping[str, Array]], limits: Limits
) -> Iterator[tuple[list[list[_Row]], list[list[Hypothesis]]]]:
    """The same of sequences whose hypotheses are rows of one batch: after each symbol those that grow and those that
    have ended, and at last all in their order."""
    beam, N = limits.beam, len(begins)
    session = program.session(N * beam)
    first = session.state
    for n, given in enumerate(begins):
        for name, array in given.items():
            first[name][n * beam : (n + 1) * beam] = array
    session.state = first
    attend = next((i for i, op in enumerate(program.ops) if isinstance(op, Attend)), None)
    live: list[list[_Row]] = [[_Row()] for _ in begins]
    found: list[list[Hypothesis]] = [[] for _ in begins]
    last = np.full((N * beam, 1), limits.begin, np.float32)
    for step in range(1, limits.most + 1):
        given = session.step(last) if not program.vocabulary_size else session.step(last[:, 0].astype(np.int64))
        weights = None if attend is None else session.state[f"layers.{attend}.weights"]
        order, last = np.arange(N * beam), np.full_like(last, limits.end)
        for n in range(N):
            if len(found[n]) >= beam or not live[n]:
                continue
            own = slice(n * beam, n * beam + len(live[n]))
            looked = None if weights is None else _looked(program, attend, weights[own], begins[n])
            grown = _grow(live[n], given[own], looked, limits, step, found[n])
            live[n] = [row for _, row in grown]
            for k, (parent, row) in enumerate(grown):
                order[n * beam + k], last[n * beam + k] = n * beam + parent, row.symbols[-1]
        if all(len(f) >= beam or not rows for f, rows in zip(found, live, strict=True)):
            break
        yield live, found
        if (order != np.arange(N * beam)).any():
            state = session.state
            session.state = {
                name: a if name.rpartition(".")[2] in _MEMORY else np.ascontiguousarray(a[order])
                for name, a in state.items()
            }
    for n, rows in enumerate(live):
        missing = beam - len(found[n])
        found[n] += [_finished(row, limits, ended=False) for row in rows[:missing]]
        found[n].sort(key=lambda h: (-h.ended, -h.score, h.symbols))
    yield live, found


def _grow(
    rows: Sequence[_Row],
    given: Array,
    looked: Array | None,
    limits: Limits,
    step: int,
    found: list[Hypothesis],
) -> list[tuple[int, _Row]]:
    """The rows after one more symbol, each with the row that it comes from; those that end go to `found`."""
    wanted = min(2 * limits.beam + len(rows) * (limits.no_repeat > 0) * 8, given.shape[1])
    best = np.argpartition(-given, wanted - 1, axis=1)[:, :wanted] if wanted < given.shape[1] else None
    candidates: list[tuple[float, int, int]] = []
    for r, row in enumerate(rows):
        places = range(given.shape[1]) if best is None else best[r].tolist()
        banned = _repeated(row.symbols, limits.no_repeat)
        for symbol in places:
            p = float(given[r, symbol])
            early = symbol == limits.end and len(row.symbols) < limits.least
            if p > 0 and not early and symbol != limits.begin and symbol not in banned:
                candidates.append((-(row.total + math.log(p)), r, symbol))
    candidates.sort()
    grown: list[tuple[int, _Row]] = []
    for rank, (cost, r, symbol) in enumerate(candidates):
        row = replace(rows[r], total=-cost)
        if symbol == limits.end:
            if rank < limits.beam and len(found) < limits.beam:
                found.append(_finished(row, limits, ended=True))
        elif len(grown) < limits.beam:
            seen = row.looked if looked is None else (*row.looked, looked[r])
            grown.append((r, replace(row, symbols=(*row.symbols, symbol), looked=seen)))
    return grown


def _repeated(symbols: Sequence[int], n: int) -> set[int]:
    """What would make the last n symbols come twice."""
    if n == 0 or len(symbols) < n - 1:
        return set()
    ending = tuple(symbols[len(symbols) - n + 1 :])
    return {symbols[i + n - 1] for i in range(len(symbols) - n + 1) if tuple(symbols[i : i + n - 1]) == ending}


def _finished(row: _Row, limits: Limits, ended: bool) -> Hypothesis:
    count = len(row.symbols) + ended
    looked = np.array(row.looked) if row.looked else None
    return Hypothesis(row.symbols, row.total, row.total / max(1, count) ** limits.penalty, ended, looked)


def _looked(program: Program, attend: int | None, weights: Array, begin: Mapping[str, Array]) -> Array:
    """What each row looked at: the mean of the heads, [rows, n]."""
    op = program.ops[attend or 0]
    assert isinstance(op, Attend)
    n = int(begin[f"layers.{attend}.count"][0])
    found: Array = weights.reshape(len(weights), op.heads, op.capacity)[..., :n].mean(1)
    return found
