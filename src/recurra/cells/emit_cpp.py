"""The routines of the zoo, and the vector functions they call, as C++; run at build time.

python -m recurra.cells.emit_cpp OUTPUT_DIRECTORY     writes vmath.hpp, activations.hpp, zoo.hpp, zoo_layouts.hpp there
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from recurra.cells import symbols, vmath, zoo_cells
from recurra.cells.layout import numbers
from recurra.cells.lower import lower
from recurra.cells.routines import Place, Routine, routines
from recurra.cells.symbols import WORDS, Node, node

_HEADER = "// Written by recurra.cells.emit_cpp from the equations; not kept in the repository.\n#pragma once\n\n"


class _Printer:
    """Prints each operation as one C++ statement; values are names of variables."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.lines: list[str] = []
        self._names: dict[str, str] = {}

    def _let(self, expression: str) -> str:
        """A variable for the expression, the same one when the expression comes again."""
        if expression not in self._names:
            self._names[expression] = f"v{len(self._names)}"
            self.lines.append(f"const auto {self._names[expression]} = {expression};")
        return self._names[expression]

    def const(self, value: float) -> str:
        number = "__builtin_inf()" if value == float("inf") else repr(value)
        return self._let(f"V::set(T({number}))")

    def add(self, a: str, b: str) -> str:
        return self._let(f"{a} + {b}")

    def sub(self, a: str, b: str) -> str:
        return self._let(f"{a} - {b}")

    def mul(self, a: str, b: str) -> str:
        return self._let(f"{a} * {b}")

    def div(self, a: str, b: str) -> str:
        return self._let(f"{a} / {b}")

    def neg(self, a: str) -> str:
        return self._let(f"-{a}")

    def isub2(self, i: str, j: str) -> str:
        return self._let(f"{i} - {j}")

    def shl(self, i: str, n: int) -> str:
        return self._let(f"{i} << {n}")

    def sra(self, i: str, n: int) -> str:
        return self._let(f"{i} >> {n}")

    def bits(self, a: str) -> str:
        return self._let(f"{a}.bits()")

    def float(self, i: str) -> str:
        return self._let(f"V::from_bits({i})")

    def __getattr__(self, function: str) -> Callable[..., str]:
        """fma, abs, copysign, sqrt, gt and select are functions of the same name in simd.hpp."""
        if function not in ("fma", "abs", "copysign", "sqrt", "gt", "select"):
            raise AttributeError(function)
        return lambda *args: self._let(f"{function}({', '.join(args)})")

    def call(self, function: str, a: str) -> str:
        return self._let(f"vmath::{function}({a})")

    def load(self, place: Place) -> str:
        return self._let(f"m.load({_address(place)})")

    def store(self, place: Place, value: str) -> None:
        address = _address(place)
        kept = f"m.load({address}) + {value}" if place.array == "parameter_gradient" else value
        self.lines.append(f"m.store({address}, {kept});")


def _address(place: Place) -> str:
    array, index = place
    if array in ("slot", "slot_gradient", "gate"):
        return f"t.{array} + r * t.{array}_stride + {index} * t.units + u"
    row = "" if array.startswith("parameter") else "r * t.stride + "
    return f"t.{array}[{index}] + {row}t.first + u"


def vmath_header() -> str:
    """vmath.hpp: exp, tanh and the other functions of `vmath` for a vector of either type."""
    parts = []
    for name, function in vmath.FUNCTIONS.items():
        branches = []
        for dtype, size in (("float32", 4), ("float64", 8)):
            printer: Any = _Printer(dtype)
            result = function(printer, "x")
            lines = _indented([*printer.lines, f"return {result};"], 8)
            branches.append(f"    if constexpr (sizeof(T) == {size}) {{\n{lines}\n    }}")
        parts.append(
            f"template <class T> RECURRA_INLINE Vec<T> {name}(Vec<T> x) {{\n"
            "    using V = Vec<T>;\n" + "\n".join(branches) + "\n}\n"
        )
    return _HEADER + _namespaced("vmath", parts)


# The activations that stand between the layers of a network, besides those within a cell.
ACTIVATIONS = (
    *("relu", "tanh", "sigmoid", "gelu", "silu", "softplus", "elu", "softsign", "hard_sigmoid", "leaky_relu"),
    "identity",
)


class _FunctionPrinter(_Printer):
    """Prints a function of x (and of `number`, the slope of leaky_relu) with values in registers."""

    def load(self, place: Place) -> str:
        return place.array

    def store(self, place: Place, value: str) -> None:
        self.lines.append(f"return {value};")


def activations_header() -> str:
    """activations.hpp: each activation for a vector, and their names."""
    x, number = (node("state", value=name) for name in ("x", "number"))
    loads = {x: Place("x", 0), number: Place("number", 0)}
    parts = []
    for name in ACTIVATIONS:
        value: Node = _leaky_relu(x, number) if name == "leaky_relu" else WORDS[name](x)
        printer: Any = _FunctionPrinter("float32")
        lower(Routine(name, loads, ((Place("y", 0), value),)), printer)
        parts.append(
            f"struct {name} {{\n"
            "    template <class T> static RECURRA_INLINE Vec<T> at(Vec<T> x, Vec<T> number [[maybe_unused]]) {\n"
            "        using V [[maybe_unused]] = Vec<T>;\n"
            f"{_indented(printer.lines, 8)}\n    }}\n}};\n"
        )
    names = ", ".join(f'"{name}"' for name in ACTIVATIONS)
    table = ", ".join(f"map<activations::{name}>" for name in ACTIVATIONS)
    return (
        _HEADER
        + f"namespace recurra {{\ninline constexpr const char* activation_names[] = {{{names}}};\n}}\n\n"
        + '#ifdef RECURRA_ISA\n#include "vmath.hpp"\n'
        + _namespaced("activations", parts)
        + f"#define RECURRA_ACTIVATION_TABLE(map) {{{table}}}\n#endif\n"
    )


def _leaky_relu(x: Node, slope: Node) -> Node:
    return symbols.where(x > 0.0, x, slope * x)


def zoo_header() -> str:
    """zoo.hpp: one struct per routine of each cell and of what prepares its inputs, and the table of them all."""
    parts, rows, fingerprints = [], [], []
    for cell in (*zoo_cells(), *(c.inputs for c in zoo_cells() if c.inputs is not None)):
        row = []
        for routine in routines(cell):
            if not routine.stores:
                row.append("nullptr")
                continue
            printer: Any = _Printer("float32")
            lower(routine, printer)
            struct = f"{cell.name}_{routine.name}"
            parts.append(
                f"struct {struct} {{\n"
                "    template <class T, class M>\n"
                "    static RECURRA_INLINE void at(const Tile<T>& t, int64_t r, int64_t u, M m) {\n"
                f"        using V [[maybe_unused]] = Vec<T>;\n{_indented(printer.lines, 8)}\n    }}\n}};\n"
            )
            row.append(f"over_tile<T, {struct}>")
        rows.append("    {" + ", ".join(row) + f"}},  // {cell.name}")
        fingerprints.append(f'    {{"{cell.name}", "{cell.fingerprint}"}},')
    table = "template <class T> inline constexpr Routines<T> zoo[] = {\n" + "\n".join(rows) + "\n};\n"
    names = (
        "namespace recurra {\nstruct ZooName { const char *name, *fingerprint; };\n"
        "inline constexpr ZooName zoo_names[] = {\n" + "\n".join(fingerprints) + "\n};\n}  // namespace recurra\n"
    )
    include = '#ifdef RECURRA_ISA\n#include "recurra/over_tile.hpp"\n'
    return _HEADER + names + "\n" + include + _namespaced("", [*parts, table]) + "#endif\n"


def layouts_header() -> str:
    """zoo_layouts.hpp: the layout of each cell, for the native tests, which have no Python to ask."""
    rows = []
    for cell in zoo_cells():
        (*counts, projects), slots, runs = numbers(cell)
        parts = [
            *map(str, counts),
            str(bool(projects)).lower(),
            _braces(map(_braces, slots)),
            _braces(map(_braces, runs)),
        ]
        rows.append(f"        {_braces(parts)},  // {cell.name}")
    return (
        _HEADER
        + '#include "recurra/cell.hpp"\n\nnamespace recurra {\n'
        + "inline std::vector<Layout> zoo_layouts() {\n    return {\n"
        + "\n".join(rows)
        + "\n    };\n}\n}  // namespace recurra\n"
    )


def _braces(parts: Iterable[object]) -> str:
    return "{" + ", ".join(map(str, parts)) + "}"


def _indented(lines: Sequence[str], by: int) -> str:
    return "\n".join(" " * by + line for line in lines)


def _namespaced(inner: str, parts: Sequence[str]) -> str:
    opened, closed = (f"namespace {inner} {{\n", f"}}  // namespace {inner}\n") if inner else ("", "")
    return (
        f"namespace recurra {{\ninline namespace RECURRA_ISA {{\n{opened}\n"
        + "\n".join(parts)
        + f"\n{closed}}}  // namespace RECURRA_ISA\n}}  // namespace recurra\n"
    )


def main(directory: str) -> None:
    """Write the headers; an unchanged file keeps its time, so that nothing is compiled again for it."""
    headers = {
        "vmath.hpp": vmath_header(),
        "activations.hpp": activations_header(),
        "zoo.hpp": zoo_header(),
        "zoo_layouts.hpp": layouts_header(),
    }
    for name, text in headers.items():
        path = Path(directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
