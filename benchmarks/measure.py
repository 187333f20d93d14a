"""Timing: all libraries take turns in many short rounds, so that a slow moment of the machine is everyone's."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, perf_counter_ns

import numpy as np

from benchmarks import machine
from benchmarks.adapters import ENTRANTS
from benchmarks.cases import Case, Goal
from benchmarks.check import Checker
from benchmarks.task import Problem, Task


@dataclass(frozen=True)
class Effort:
    """How long to measure a case.

    Attributes:
        rounds: how many at most; in each, every library has its turn.
        turn: the seconds of a turn, or one call if that takes longer. Short, so that the other programs of a busy
            machine spoil some turns and not a part of each.
        limit: after this many seconds no round starts, but there are FEWEST.
    """

    rounds: int
    turn: float
    limit: float


QUICK, FULL = Effort(31, 0.003, 1.0), Effort(201, 0.003, 6.0)
FEWEST = 7


@dataclass(frozen=True)
class Spread:
    """The median and the quartiles of something measured once a round."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> Spread:
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        return cls(float(median), float(low), float(high))


@dataclass(frozen=True)
class Result:
    """A measured case.

    Attributes:
        seconds: per call, one number a round, by the name of who ran; `bound` and `bound + latency` are constants.
    """

    case: Case
    seconds: dict[str, np.ndarray]
    bound: float
    latency: float | None

    def ratio(self, goal: Goal) -> Spread:
        """How many times longer the goal's `against` takes, round by round."""
        return Spread.of(self.seconds[goal.against] / self.seconds[goal.of])


def measure(case: Case, effort: Effort) -> Result:
    """Check every entrant of a case, then time them in turns.

    Raises:
        ValueError: an entrant computes something else.
    """
    problem = Problem.of(case)
    checker = Checker(problem)
    tasks = {name: ENTRANTS[case.kind, name](problem) for name in case.entrants}
    for name, task in tasks.items():
        checker.check(name, task)
    seconds = in_turns(tasks, effort)
    bound, latency = machine.bound(case), machine.latency(case)
    rounds = len(seconds["recurra"])
    seconds["bound"] = np.full(rounds, bound)
    if latency is not None:
        seconds["bound + latency"] = np.full(rounds, bound + latency)
    return Result(case, seconds, bound, latency)


def in_turns(tasks: dict[str, Task], effort: Effort) -> dict[str, np.ndarray]:
    """Seconds per call of each task in each round."""
    with _quiet():
        counts = {name: _calls(task, effort.turn) for name, task in tasks.items()}
        rounds: list[list[float]] = []
        end = perf_counter() + effort.limit
        while len(rounds) < FEWEST or (len(rounds) < effort.rounds and perf_counter() < end):
            rounds.append([_time(task, counts[name]) for name, task in tasks.items()])
    return dict(zip(tasks, np.array(rounds).T, strict=True))


def _time(task: Task, count: int) -> float:
    """Seconds per call, after a few more calls, so that none pays for the caches that others have filled."""
    task.times((count + 3) // 4)
    start = perf_counter_ns()
    task.times(count)
    return (perf_counter_ns() - start) / count * 1e-9


def _calls(task: Task, turn: float) -> int:
    """How many calls fill a turn, found by doubling; the best of three, for the first calls are slow."""
    count = 1
    while (call := min(_time(task, count) for _ in range(3))) * count < turn / 2:
        count *= 2
    return max(1, round(turn / call))


@contextmanager
def _quiet() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
