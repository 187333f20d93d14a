"""What Triton kernels of a cell are made of: lines of a tile of rows (r) and units (u), and how they read and write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recurra.cells import vmath
from recurra.cells.cell import Cell
from recurra.cells.layout import layout
from recurra.cells.lower import lower
from recurra.cells.routines import Place, routines

LOOP = "    for i in range(0, steps):"
HEADER = "import triton\nimport triton.language as tl\n"
SIZES = ("first", "steps", "rows", "H", "P")
CONSTANTS = ("BB", "BH", "BP", "LENGTHS", "RESET", "RESIDENT", "PRECISION")

_EXPRESSIONS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "fma": "tl.fma({0}, {1}, {2})",
    "neg": "-{0}",
    "abs": "tl.abs({0})",
    "sqrt": "tl.sqrt({0})",
    "gt": "{0} > {1}",
    "select": "tl.where({0}, {1}, {2})",
    "bits": "{0}.to(tl.int32, bitcast=True)",
    "float": "{0}.to(tl.float32, bitcast=True)",
    "isub2": "{0} - {1}",
    "shl": "{0} << {1}",
    "sra": "{0} >> {1}",
    "unsigned": "{0} & 0x7FFFFFFF",
    "signed": "{0} & -0x80000000",
    "joined": "{0} | {1}",
}


class Block:
    """Lines of a kernel at some depth; an expression that comes again is the name that it already has."""

    def __init__(self, prefix: str, depth: int) -> None:
        self.lines: list[str] = []
        self._prefix, self._indent = prefix, "    " * depth
        self._names: dict[str, str] = {}

    def say(self, line: str) -> None:
        """Add a line."""
        self.lines.append(self._indent + line)

    def let(self, expression: str) -> str:
        """The name of an expression."""
        if expression not in self._names:
            self._names[expression] = f"{self._prefix}{len(self._names)}"
            self.say(f"{self._names[expression]} = {expression}")
        return self._names[expression]


class Printer:
    """Prints each operation as one line; what a place holds and where a result goes, the kernel says."""

    dtype = "float32"

    def __init__(self, block: Block, held: dict[Place, str], results: dict[Place, str]) -> None:
        self._block, self._held, self._results = block, held, results

    def __getattr__(self, operation: str) -> Callable[..., str]:
        if operation not in _EXPRESSIONS:
            raise AttributeError(operation)
        return lambda *values: self._block.let(_EXPRESSIONS[operation].format(*values))

    def const(self, value: float) -> str:
        """The exact float32, for every lane."""
        with np.errstate(over="ignore"):
            rounded = repr(float(np.float32(value)))
        rounded = f'float("{rounded}")' if "inf" in rounded else rounded
        return self._block.let(f"tl.full((1, 1), {rounded}, tl.float32)")

    def copysign(self, magnitude: str, sign: str) -> Any:
        """By bits."""
        return self.float(self.joined(self.unsigned(self.bits(magnitude)), self.signed(self.bits(sign))))

    def call(self, function: str, value: str) -> Any:
        """A function of `vmath`, in place."""
        kernel: Any = self
        return vmath.FUNCTIONS[function](kernel, value)

    def load(self, place: Place) -> str:
        """What the kernel holds of a place."""
        return self._held[place]

    def store(self, place: Place, value: str) -> None:
        """Hand a result to the kernel."""
        self._results[place] = value


class Tile:
    """The parts that the kernels of a cell share.

    Attributes:
        cell: the equations.
        layout: its slots and products.
        routines: by name.
        inner: how many values are multiplied within a step.
        projects: whether the first state is a projection.
        kept: how many numbers of a unit are kept for the adjoint.
        arrays: of each kernel printed so far, the names of its arrays.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell, self.layout = cell, layout(cell)
        self.routines = {r.name: r for r in routines(cell)}
        self.inner = len(self.layout.inner)
        self.projects = cell.projection is not None
        self.kept = sum(p.array == "slot" for p, _ in self.routines["forward_saving"].stores)
        self.arrays: dict[str, list[str]] = {}

    def _kernel(self, name: str, arrays: list[str], *parts: Block | str) -> str:
        self.arrays[name] = arrays
        constants = [f"{c}: tl.constexpr" for c in CONSTANTS]
        parameters = ", ".join([*arrays, *SIZES, *constants])
        lines = ["@triton.jit(do_not_specialize=['first', 'steps'])", f"def {name}({parameters}):"]
        for part in parts:
            lines += part.lines if isinstance(part, Block) else [part]
        return "\n".join(lines) + "\n"

    def _numbered(self, name: str, count: int) -> list[str]:
        return [f"{name}{k}" for k in range(count)]

    @property
    def _states(self) -> int:
        return len(self.cell.states)

    @property
    def _inputs(self) -> list[int]:
        """The slots that the input feeds."""
        return [i for i, s in enumerate(self.layout.slots) if s.input]

    def _wide(self, k: int) -> tuple[str, str, str]:
        """The width of state k, its place in a row, and where that is inside."""
        return ("P", "p", "at_p") if k == 0 and self.projects else ("H", "u", "at")

    def _start(self) -> Block:
        """Where a program is."""
        block = Block("a", 1)
        block.say("r = tl.program_id(0) * BB + tl.arange(0, BB)[:, None]")
        block.say("u = tl.program_id(1) * BH + tl.arange(0, BH)[None, :]")
        block.say("here = r < rows")
        block.say("at = here & (u < H)")
        if self.projects:
            block.say("p = tl.arange(0, BP)[None, :]")
            block.say("at_p = here & (p < P)")
        block.say("ends = tl.load(lengths + r, mask=here, other=0) if LENGTHS else tl.full((BB, 1), 1 << 30, tl.int64)")
        for i in range(len(self.cell.parameters)):
            block.say(f"theta{i} = tl.load(parameter{i} + u, mask=u < H, other=0.0)")
        return block

    def _of_rows(self, array: str, width: str, place: str, inside: str, at: str = "r") -> str:
        return f"tl.load({array} + {at} * {width} + {place}, mask={inside}, other=0.0).to(tl.float32)"

    def _write(self, block: Block, array: str, value: str, k: int, at: str = "r") -> None:
        width, place, inside = self._wide(k)
        block.say(f"tl.store({array} + {at} * {width} + {place}, {value}, mask={inside})")

    def _write_slot(self, block: Block, array: str, at: str, count: int, j: int, value: str) -> None:
        block.say(f"tl.store({array} + {at} * ({count} * H) + {j} * H + u, {value}, mask=at)")

    def _read_slot(self, array: str, at: str, count: int, j: int, inside: str = "at") -> str:
        return f"tl.load({array} + {at} * ({count} * H) + {j} * H + u, mask={inside}, other=0.0)"

    def _when(self, block: Block) -> None:
        """Which rows run at step i of this launch, and which begin anew there."""
        block.say("row = (i * rows + r).to(tl.int64)")
        block.say("runs = here & (first + i < ends)")
        block.say("fresh = tl.load(reset + row, mask=here, other=0) != 0 if RESET else tl.full((BB, 1), 0, tl.int1)")

    def _weight(self, gate: str, across: str) -> tuple[str, str]:
        """A gate's U as [operand, units], or as [units, operand], and where that is inside."""
        g, width = self.cell.recurrent_gates.index(gate), "P"
        size = "BP" if self.projects else "BH"
        if across == "units":
            k = f"tl.arange(0, {size})[:, None]"
            return f"weights + ({g} * H + u) * {width} + {k}", f"({k} < {width}) & (u < H)"
        k, j = f"tl.arange(0, {size})[None, :]", "tl.arange(0, BH)[:, None]"
        return f"weights + ({g} * H + {j}) * {width} + {k}", f"({k} < {width}) & ({j} < H)"

    def _matrix(self, setup: Block, body: Block, name: str, pointers: str, inside: str) -> str:
        """A matrix that is loaded once where it fits, else in each step."""
        setup.say(f"if RESIDENT:\n        {name} = tl.load({pointers}, mask={inside}, other=0.0)")
        body.say(f"if not RESIDENT:\n            {name} = tl.load({pointers}, mask={inside}, other=0.0)")
        return name

    def _dot(self, value: str, matrix: str) -> str:
        return f"tl.dot(({value}).to({matrix}.dtype), {matrix}, input_precision=PRECISION)"

    def _projection(self, across: str) -> tuple[str, str]:
        """R as [units, P], or as [P, units]."""
        if across == "P":
            k = "tl.arange(0, BH)[:, None]"
            return f"projection + p * H + {k}", f"({k} < H) & (p < P)"
        k = "tl.arange(0, BP)[:, None]"
        return f"projection + {k} * H + u", f"({k} < P) & (u < H)"

    def _known(self, states: list[str]) -> dict[Place, str]:
        """What all routines may read: states before the step, and parameters."""
        held = {Place("state", k): name for k, name in enumerate(states)}
        return held | {Place("parameter", i): f"theta{i}" for i in range(len(self.cell.parameters))}

    def _run(self, routine: str, block: Block, held: dict[Place, str]) -> dict[Place, str]:
        results: dict[Place, str] = {}
        printer: Any = Printer(block, held, results)
        lower(self.routines[routine], printer)
        return results

    def _slots_of(self, held: dict[Place, str], block: Block, setup: Block, states: list[str], inside: bool) -> None:
        """The sums of all slots; those of inner products after the values that they multiply."""
        late = [r for r in self.layout.runs if r.operand >= self._states]
        late_slots = {i for r in late for i in range(r.first, r.first + r.slots)}

        def add(i: int, operand: str) -> None:
            slot = self.layout.slots[i]
            parts = []
            if slot.input:
                parts.append(self._read_slot("inputs", "row", len(self._inputs), self._inputs.index(i), "at & runs"))
            if slot.recurrent and inside:
                g = self.cell.recurrent_gates.index(slot.recurrent)
                setup.say(f"bias{g} = tl.load(biases + {g} * H + u, mask=u < H, other=0.0).to(tl.float32)")
                matrix = self._matrix(setup, block, f"U{g}", *self._weight(slot.recurrent, "units"))
                parts += [self._dot(operand, matrix), f"bias{g}"]
            elif slot.recurrent:
                parts.append(self._read_slot("products", "r", len(self.layout.slots), i))
            block.say(f"slot{i} = {' + '.join(parts)}")
            held[Place("slot", i)] = f"slot{i}"

        by_slot = {i: r.operand for r in self.layout.runs if r.operand >= 0 for i in range(r.first, r.first + r.slots)}
        for i in range(len(self.layout.slots)):
            if i not in late_slots:
                add(i, states[by_slot[i]] if i in by_slot else "")
        if late and inside:
            for place, value in self._run("inner", block, held).items():
                block.say(f"value{place.vector} = tl.where(at, {value}, 0.0)")
        for i in sorted(late_slots):
            add(i, f"value{by_slot[i] - self._states}")
