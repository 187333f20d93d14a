"""What the nodes of a graph may cost, checked before it is spent: a small file must not want minutes or gigabytes.

Work is counted in steps of a product in float32, some tenth of a nanosecond each. A run may do `WORK` and hold `MEMORY`
whatever it is given, and more with what the model and its inputs weigh, for whoever gives much wants much.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from recurra.cells import Cell
from recurra.errors import OnnxError
from recurra.runtime.file import MOST_CELLS

MOST_NUMBERS = 1 << 28  # in one array: a gigabyte of float32
WORK, WORK_OF_MODEL, WORK_OF_INPUT = 1 << 35, 1 << 11, 1 << 20  # for a run, and for each number given
MEMORY, MEMORY_OF_GIVEN = 1 << 29, 1 << 9  # bytes
OF_NODE, OF_NUMBER = 1 << 17, 1 << 6  # what Python costs, and a number that comes from a usual function
SLOW = {"Erf": 1 << 12, "Gelu": 1 << 12}  # for a number


@dataclass
class Budget:
    """What a run may still do and hold; `held` are the bytes of the values that it has made."""

    work: int = WORK
    memory: int = MEMORY
    held: int = 0
    cells: set[str] = field(default_factory=set)


_current: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def budget(model: Iterable[Any], inputs: Iterable[Any], numbers: int = 0) -> Iterator[None]:
    """A run on arrays of the model (with `numbers` more) and others; within another run, its part of that."""
    if _current.get() is not None:
        yield
        return
    given, more = numbers + sum(a.size for a in model), sum(a.size for a in inputs)
    work, memory = WORK + WORK_OF_MODEL * given + WORK_OF_INPUT * more, MEMORY + MEMORY_OF_GIVEN * (given + more)
    token = _current.set(Budget(work, memory))
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Budget:
    """That of the run that is going on."""
    return _current.get() or Budget()


def check_size(shape: Any, where: str) -> None:
    """Raise where an array of this shape would be too large, before it is made."""
    sizes = [max(int(n), 1) for n in shape]
    count, spent = math.prod(sizes), current()
    if count > MOST_NUMBERS:
        raise OnnxError(f"{where} has the shape {sizes[:9]}, expected at most {MOST_NUMBERS} numbers")
    if spent.held + 8 * count > spent.memory:
        raise OnnxError(
            f"{where}: with the shape {sizes[:9]} the graph holds more than {spent.memory >> 20} MiB, as much as a "
            "model and inputs of this size may: give it fewer steps or rows at once"
        )
    check_work(OF_NUMBER * count, where)


def check_work(count: int, where: str) -> None:
    """Take so much from the budget, or raise where it is not there."""
    spent = current()
    spent.work -= int(count)
    if spent.work < 0:
        raise OnnxError(
            f"{where}: the graph wants more work than a model and inputs of this size may: give it fewer steps or rows "
            "at once, or run it with ONNX Runtime"
        )


def check_product(rows: int, columns: int, inner: int, dtype: Any, where: str) -> None:
    """The same for a product of matrices, which the library of linear algebra has for floats alone."""
    fast = dtype in ("float32", "float64", "complex64", "complex128")
    check_work(max(rows, 1) * max(columns, 1) * max(inner, 1) * (1 if fast else 64), where)


def check_cell(cell: Cell, where: str) -> None:
    """Count the cells of a run, which may each have to be compiled."""
    spent = current()
    spent.cells.add(cell.fingerprint)
    if len(spent.cells) > MOST_CELLS:
        raise OnnxError(f"{where}: the graph has more than {MOST_CELLS} kinds of cells to compile")
