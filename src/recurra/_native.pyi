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
        f32: Sequence[int],
        f64: Sequence[int],
        code: object | None = None,
    ) -> None:
        """`code` owns the memory of the routines, and lives as long as anything that may call them."""

class Weights:
    def __init__(self, W: Any, U: Any, b: Any, c: Any, R: Any | None, parameters: Sequence[Any]) -> None: ...

class WeightGradients(Weights): ...

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
    to: WeightGradients,
) -> None: ...

class Call:
    """A cell at fixed sizes, for arrays given by their addresses; 0: not there.

    Tensors: x, W, U, b, c, R, the parameters, the initial states or none of them, lengths (int64), reset.
    """

    def __init__(
        self, kernel: Kernel, f32: bool, T: int, B: int, I: int, H: int, P: int, reverse: bool, every: int
    ) -> None: ...
    def forward(self, tensors: list[int], results: list[int], threads: int, tape: Tape | None) -> None:
        """Results: output, final states; and the states and the gates [T, B, G, H] of every step, or none of them."""

    def backward(self, tensors: list[int], incoming: list[int], gradients: list[int], tape: Tape) -> None:
        """Incoming: of output and final states. Gradients, written whole: of `tensors` up to the initial states."""

def block(shape: Sequence[int], f32: bool) -> Any:
    """A DLPack capsule of an array in idle memory, of undefined contents: of float32, or of float64."""

def choose_threads(count: int) -> None: ...
def chosen_threads() -> int:
    """0: nobody has said."""

def xla_handler() -> Any:
    """A capsule for jax.ffi.register_ffi_target; the attribute `site` of a call is the number of a site."""

def xla_knows(number: int) -> bool: ...
def xla_add(
    number: int,
    name: str,
    call: Call,
    backward: bool,
    keep: bool,
    tensors: Sequence[int],
    incoming: Sequence[int],
    results: Sequence[int],
    threads: int,
) -> None:
    """Give a site its number: what `call` has at each place is that argument or result of the program; -1: none.

    Forward is given `tensors` and makes `results` and, with `keep`, the number of a tape. Backward is given `tensors`,
    `incoming` and that number, and makes `results`, the gradients of what is in `tensors`.
    """

def xla_bound_tapes(most: int) -> None: ...
def xla_waiting_bytes() -> int: ...

class LiveFloat32:
    def __init__(self, kernel: Kernel, weights: Weights, hidden: int, rows: int, dimensions: int) -> None: ...
    def step(self, x: Any) -> Any: ...
    def repeat(self, x: Any, output: Any, steps: int) -> None: ...
    def read(self, to: Sequence[Any]) -> None: ...
    def write(self, of: Sequence[Any]) -> None: ...

class LiveFloat64(LiveFloat32): ...

activations: dict[str, int]

class Network:
    def __init__(self, isa: str, row: int, first: int) -> None: ...
    def add(self, name: str, arrays: Sequence[Any | None], numbers: Sequence[float], width: int) -> None: ...
    def add_recurrent(
        self, kernel: Kernel, weights: Sequence[Weights], hidden: int, initial: Sequence[Sequence[Any]]
    ) -> None: ...
    def branch(self, first: int) -> Network: ...
    def add_branches(self, chains: Sequence[Network], how: int, width: int) -> None: ...
    def add_fields(self, kernel: Kernel, weights: Weights, size: int, width: int) -> None: ...
    def step_many(self, sessions: list[Any], x: Any, out: Any) -> int: ...
    def run_many(self, sessions: list[Any], steps: Sequence[int], x: Any, out: Any) -> int: ...

def ways_on(p: Any, totals: Any, taken: Any, symbols: Any, results: Any) -> None: ...

class Session:
    def __init__(self, network: Network, rows: int, dimensions: int) -> None: ...
    def step(self, x: Any, out: Any | None = None) -> Any: ...
    def _run(self, x: Any, out: Any) -> None: ...
    def _answers(self, steps: int) -> int: ...
    def reset(self) -> None: ...
    def to_bytes(self) -> bytes: ...
    def _from_bytes(self, states: bytes) -> None: ...
    def _read(self, to: Sequence[Any]) -> None: ...
    def _write(self, of: Sequence[Any]) -> None: ...
    def _read_one(self, state: int, to: Any) -> None: ...
    def _take(self, order: Sequence[int], which: Sequence[int]) -> None: ...

class Lexicon:
    def __init__(
        self,
        letters: int,
        space: int,
        order: int,
        weights: Sequence[float],
        begin: int,
        end: int,
        spelled: Any,
        word: Any,
        within: Any,
        hot: Any,
        grams: Any,
        logarithm: Any,
        back: Any,
    ) -> None: ...

class PrefixBeam:
    def __init__(self, lexicon: Lexicon, beam: int, width: float) -> None: ...
    def reset(self, step: int) -> None: ...
    def push(self, logs: Any) -> None: ...
    @property
    def step(self) -> int: ...
    @property
    def begun(self) -> int: ...
    def text(self, whole: bool) -> list[tuple[int, int, float]]: ...
    def common(self) -> int: ...
    def state(self) -> tuple[list[int], list[int], list[float], list[float], int, int]: ...
    def restore(self, state: tuple[list[int], list[int], list[float], list[float], int, int]) -> None: ...
