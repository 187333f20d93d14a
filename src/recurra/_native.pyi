from collections.abc import Sequence
from typing import Any

zoo: dict[str, int]

def isas() -> list[tuple[str, bool]]: ...
def ran(isa: str) -> bool: ...
def zoo_routines(isa: str, cell: int) -> tuple[list[int], list[int]]: ...
def helpers() -> int: ...
def fma_peak(isa: str, dtype_bytes: int) -> float: ...
def bandwidth(size: int) -> float: ...

class Kernel:
    def __init__(
        self,
        isa: str,
        counts: Sequence[int],
        slots: Sequence[tuple[int, int]],
        runs: Sequence[Sequence[int]],
        single: Sequence[int],
        twofold: Sequence[int],
    ) -> None: ...

class Weights:
    def __init__(self, W: Any, U: Any, b: Any, c: Any, R: Any | None, parameters: Sequence[Any]) -> None: ...

class Batch:
    def __init__(
        self, x: Any, reverse: bool, lengths: Any | None, reset: Any | None, initial: Sequence[Any]
    ) -> None: ...

class Tape: ...

def forward(
    kernel: Kernel,
    weights: Weights,
    batch: Batch,
    hidden: int,
    output: Any | None,
    final: Sequence[Any],
    states: Sequence[Any],
    gates: Any | None,
    threads: int,
    tape: Tape | None,
    every: int,
) -> None: ...
def backward(
    kernel: Kernel,
    weights: Weights,
    batch: Batch,
    hidden: int,
    tape: Tape,
    output: Any | None,
    final: Sequence[Any | None],
    x: Any | None,
    initial: Sequence[Any],
    to: Weights,
) -> None: ...

class LiveFloat32:
    def __init__(self, kernel: Kernel, weights: Weights, hidden: int, rows: int, dimensions: int) -> None: ...
    def step(self, x: Any) -> Any: ...
    def repeat(self, x: Any, output: Any, steps: int) -> None: ...
    def read(self, to: Sequence[Any]) -> None: ...
    def write(self, of: Sequence[Any]) -> None: ...

class LiveFloat64(LiveFloat32): ...
