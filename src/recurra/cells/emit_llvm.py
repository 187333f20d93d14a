"""The routines of a user's own cell as LLVM IR: the same programs as `emit_cpp` prints, so the same bits.

Every operation rounds once, in every lane by itself: no fast-math flag, and nothing is fused but what is written fma.
A routine is a function of a tile (see native/include/recurra/tile.hpp) whose text has four parts:

    setup   the pointers of the tile
    row     the addresses in one row
    whole   the work on a vector of units, again and again
    part    the same under a mask, on what is left of the row

Nothing is repeated, and nothing is computed in a loop that could be before it: LLVM's middle passes would find no work.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from recurra.cells import vmath
from recurra.cells.lower import lower
from recurra.cells.routines import Place, Routine

TABLE = "recurra_routines"  # a module's symbols: the address of each routine, null where it has nothing to do,
LENGTH = "recurra_routine_count"  # and how many routines there are for each dtype
DTYPES = ("float32", "float64")


class Isa(NamedTuple):
    """The vectors of an instruction set, as in native/include/recurra/simd.hpp, and what LLVM calls it."""

    bytes: int
    fma: bool
    features: str


ISAS = {
    "avx512": Isa(64, True, "+avx512f,+avx512dq,+avx512vl,+avx512bw,+fma,+avx2,-prefer-256-bit"),
    "avx2": Isa(32, True, "+avx2,+fma"),
    "x86-64-v2": Isa(16, False, "+sse4.2,+popcnt"),
    "generic": Isa(16, True, ""),
}

# V, I and M are the types of a vector, of its bits and of a mask; v names V in an intrinsic; i is a lane of I.
_INSTRUCTIONS = {
    "fused": "call {V} @llvm.fma.{v}({V} {0}, {V} {1}, {V} {2})",
    "add": "fadd {V} {0}, {1}",
    "sub": "fsub {V} {0}, {1}",
    "mul": "fmul {V} {0}, {1}",
    "div": "fdiv {V} {0}, {1}",
    "neg": "fneg {V} {0}",
    "abs": "call {V} @llvm.fabs.{v}({V} {0})",
    "copysign": "call {V} @llvm.copysign.{v}({V} {0}, {V} {1})",
    "sqrt": "call {V} @llvm.sqrt.{v}({V} {0})",
    "gt": "fcmp ogt {V} {0}, {1}",
    "select": "select {M} {0}, {V} {1}, {V} {2}",
    "bits": "bitcast {V} {0} to {I}",
    "float": "bitcast {I} {0} to {V}",
    "isub2": "sub {I} {0}, {1}",
    "shl": "shl {I} {0}, splat ({i} {1})",
    "sra": "ashr {I} {0}, splat ({i} {1})",
}
_LOAD = "load {V}, ptr {0}, align {align}"
_STORE = "store {V} {1}, ptr {0}, align {align}"
_LOAD_PART = "call {V} @llvm.masked.load.{v}.p0(ptr {0}, i32 {align}, {M} %mask, {V} zeroinitializer)"
_STORE_PART = "call void @llvm.masked.store.{v}.p0({V} {1}, ptr {0}, i32 {align}, {M} %mask)"

_DECLARATIONS = """\
declare {V} @llvm.fabs.{v}({V})
declare {V} @llvm.copysign.{v}({V}, {V})
declare {V} @llvm.sqrt.{v}({V})
declare {V} @llvm.fma.{v}({V}, {V}, {V})
declare {V} @llvm.masked.load.{v}.p0(ptr, i32, {M}, {V})
declare void @llvm.masked.store.{v}.p0({V}, ptr, i32, {M})
"""

_FUNCTION = """\
define internal void @{name}(ptr %tile) #0 {{
entry:
  %rows = load i64, ptr %tile
  %any_row = icmp sgt i64 %rows, 0
  br i1 %any_row, label %setup, label %done
setup:
  %units_at = getelementptr i64, ptr %tile, i64 1
  %units = load i64, ptr %units_at
  %left = and i64 %units, {last}
  %end = sub i64 %units, %left
  %any_whole = icmp sgt i64 %end, 0
  %any_left = icmp sgt i64 %left, 0
  %left_scalar = trunc i64 %left to i32
  %left_lane = insertelement <{lanes} x i32> poison, i32 %left_scalar, i32 0
  %left_lanes = shufflevector <{lanes} x i32> %left_lane, <{lanes} x i32> poison, <{lanes} x i32> zeroinitializer
  %mask = icmp ult <{lanes} x i32> <{count}>, %left_lanes
{setup}
  br label %row
row:
  %r = phi i64 [ 0, %setup ], [ %r_next, %next ]
{row}
  br i1 %any_whole, label %whole, label %rest
whole:
  %u = phi i64 [ 0, %row ], [ %u_next, %whole ]
{whole}
  %u_next = add i64 %u, {lanes}
  %more = icmp slt i64 %u_next, %end
  br i1 %more, label %whole, label %rest
rest:
  br i1 %any_left, label %part, label %next
part:
{part}
  br label %next
next:
  %r_next = add i64 %r, 1
  %again = icmp slt i64 %r_next, %rows
  br i1 %again, label %row, label %done
done:
  ret void
}}
"""

_FIRST, _STRIDE = 2, 3  # fields of Tile, all 8 bytes wide
_STRIDED = {"slot": 4, "slot_gradient": 6, "gate": 8}  # a stride of its own follows each
_POINTERS = {"state": 10, "next": 11, "inner": 12, "next_gradient": 13, "state_gradient": 14, "inner_gradient": 15}
_POINTERS |= {"parameter": 16, "parameter_gradient": 17}


class _Block:
    """Instructions; one that comes again is the value that it already gave."""

    def __init__(self, name: str) -> None:
        self.lines: list[str] = []
        self._name = name
        self._values: dict[str, str] = {}

    def let(self, instruction: str) -> str:
        if instruction not in self._values:
            self._values[instruction] = f"%{self._name}{len(self._values)}"
            self.lines.append(f"  {self._values[instruction]} = {instruction}")
        return self._values[instruction]


class _Addresses:
    """Where places are: what depends on the tile alone goes to `setup`, what depends on the row to `row`."""

    def __init__(self, scalar: str) -> None:
        self.setup, self.row = _Block("s"), _Block("r")
        self._scalar = scalar

    def _field(self, kind: str, index: int) -> str:
        at = self.setup.let(f"getelementptr i64, ptr %tile, i64 {index}")
        return self.setup.let(f"load {kind}, ptr {at}")

    def of(self, place: Place) -> str:
        """The first unit of a place in the row at hand."""
        array, index = place
        if array in _STRIDED:
            base, stride = self._field("ptr", _STRIDED[array]), self._field("i64", _STRIDED[array] + 1)
            offset = self.setup.let(f"mul i64 %units, {index}")
            start = self.setup.let(f"getelementptr {self._scalar}, ptr {base}, i64 {offset}")
        else:
            base = self._field("ptr", _POINTERS[array])
            at = self.setup.let(f"getelementptr ptr, ptr {base}, i64 {index}")
            whole, first = self.setup.let(f"load ptr, ptr {at}"), self._field("i64", _FIRST)
            start = self.setup.let(f"getelementptr {self._scalar}, ptr {whole}, i64 {first}")
            if array.startswith("parameter"):
                return start
            stride = self._field("i64", _STRIDE)
        offset = self.row.let(f"mul i64 %r, {stride}")
        return self.row.let(f"getelementptr {self._scalar}, ptr {start}, i64 {offset}")


class _Printer:
    """Prints each operation as one instruction, and functions of `vmath` in place; values are names or constants."""

    def __init__(self, dtype: str, isa: Isa, addresses: _Addresses, block: _Block, whole: bool) -> None:
        self.dtype = dtype
        self._has_fma = isa.fma
        self._types = _types(dtype, isa)
        self._addresses, self._block = addresses, block
        self._unit, self._load, self._store = ("%u", _LOAD, _STORE) if whole else ("%end", _LOAD_PART, _STORE_PART)

    def _let(self, instruction: str, *values: Any) -> str:
        return self._block.let(instruction.format(*values, **self._types))

    def __getattr__(self, operation: str) -> Callable[..., str]:
        if operation not in _INSTRUCTIONS:
            raise AttributeError(operation)
        return lambda *values: self._let(_INSTRUCTIONS[operation], *values)

    def const(self, value: builtins.float) -> str:
        """The exact bits: LLVM writes a float32, too, as the float64 of the same value."""
        with np.errstate(over="ignore"):
            rounded = np.float64(np.dtype(self.dtype).type(value))
        return f"splat ({self._types['scalar']} 0x{rounded.view(np.uint64):016X})"

    def fma(self, a: str, b: str, c: str) -> str:
        """As simd.hpp: in two roundings where the machine has no fused instruction."""
        return self.fused(a, b, c) if self._has_fma else self.add(self.mul(a, b), c)

    def call(self, function: str, value: str) -> Any:
        kernel: Any = self
        return vmath.FUNCTIONS[function](kernel, value)

    def _address(self, place: Place) -> str:
        return self._let("getelementptr {scalar}, ptr {0}, i64 {1}", self._addresses.of(place), self._unit)

    def load(self, place: Place) -> str:
        return self._let(self._load, self._address(place))

    def store(self, place: Place, value: str) -> None:
        address = self._address(place)
        kept = self.add(self.load(place), value) if place.array == "parameter_gradient" else value
        self._block.lines.append("  " + self._store.format(address, kept, **self._types))


def _types(dtype: str, isa: Isa) -> dict[str, Any]:
    size = np.dtype(dtype).itemsize
    lanes = isa.bytes // size
    scalar, i = {4: ("float", "i32"), 8: ("double", "i64")}[size]
    vectors = {"V": f"<{lanes} x {scalar}>", "I": f"<{lanes} x {i}>", "M": f"<{lanes} x i1>"}
    names = {"v": f"v{lanes}f{8 * size}", "i": i, "scalar": scalar, "align": size}
    count = ", ".join(f"i32 {n}" for n in range(lanes))
    return vectors | names | {"lanes": lanes, "last": lanes - 1, "count": count}


def _function(routine: Routine, name: str, dtype: str, isa: Isa) -> str:
    types = _types(dtype, isa)
    addresses = _Addresses(types["scalar"])
    whole, part = _Block("w"), _Block("p")
    for block in (whole, part):
        printer: Any = _Printer(dtype, isa, addresses, block, block is whole)
        lower(routine, printer)
    blocks = {"setup": addresses.setup, "row": addresses.row, "whole": whole, "part": part}
    return _FUNCTION.format(name=name, **types, **{n: "\n".join(block.lines) for n, block in blocks.items()})


def module(routines: Sequence[Routine], isa: Isa) -> str:
    """All routines for float32, then for float64, as the text of one module, and the table of their addresses."""
    parts, table = [], []
    for dtype in DTYPES:
        parts.append(_DECLARATIONS.format(**_types(dtype, isa)))
        for routine in routines:
            name = f"{dtype}_{routine.name}"
            table.append(f"ptr @{name}" if routine.stores else "ptr null")
            if routine.stores:
                parts.append(_function(routine, name, dtype, isa))
    parts.append(f"@{TABLE} = constant [{len(table)} x ptr] [{', '.join(table)}]\n")
    parts.append(f"@{LENGTH} = constant i64 {len(routines)}\n")
    # Without unwinding tables, and without Windows' probe of large stack frames, the code calls nothing outside.
    parts.append('attributes #0 = { nounwind "no-stack-arg-probe" }\n')
    return "\n".join(parts)
