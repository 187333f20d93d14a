"""The routines of a user's own cell: compiled by LLVM when they are first needed, and kept on disk.

Measured on two cores with AVX-512: the first use of new equations takes 0.5 to 1.1 s, most of it SymPy's import and
algebra; each further new cell takes 0.1 to 0.4 s. A process that finds the code in the cache takes 0.03 to 0.06 s, most
of it llvmlite's import, and 2 to 8 ms for each further cell; it imports no SymPy. Resident memory grows by some 120 MB
to compile and 50 MB to load, nearly all of it the libraries. Compiled code, some 65 kB a cell, belongs to those who use
it, and its memory is given back with the last of them.

The cache is the folder `RECURRA_CACHE`, or else `recurra` in the user's cache folder. An entry belongs to the
equations, the instruction set, the platform, the version of LLVM and the source of the compiler. It is signed with a
key that only the user can read: an entry that is damaged, or that another has written, is compiled again and replaced.
Any number of the user's processes may share the folder, which is used only where it is the user's and nobody else can
enter it. It may be deleted at any time. Where it cannot be used, the code stays in memory only, and a `RuntimeWarning`
says so once in a process.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import threading
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from recurra.cells.cell import Cell
from recurra.cells.emit_llvm import ISAS, LENGTH, TABLE, module
from recurra.cells.routines import NAMES, forward_routines, routines
from recurra.errors import IsaError, MissingExtraError
from recurra.files import read_private, write_private

# What decides the code, apart from this file. Not SymPy: to ask for its version costs more than to load a cell.
_SOURCES = ("symbols", "functions", "adjoint", "routines", "layout", "lower", "vmath", "emit_llvm")

_lock = threading.Lock()
if hasattr(os, "register_at_fork"):  # a thread that compiles is not in the child, and would never give it back
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_loaded: WeakValueDictionary[str, Code] = WeakValueDictionary()
_warned: set[str] = set()


@dataclass(frozen=True, eq=False)
class Code:
    """The routines of a cell in memory, which is given back with this object.

    Attributes:
        f32, f64: the addresses of the six routines in the order of `routines.NAMES`; 0 where one has nothing to do.
        engine: LLVM's, which owns the memory.
    """

    f32: tuple[int, ...]
    f64: tuple[int, ...]
    engine: Any


def routines_of(cell: Cell, isa: str, gradient: bool = True) -> Code:
    """A cell's routines, for float32 and for float64: those in memory, else those of the cache, else compiled.

    The routines give the bits that built-in ones would. Any thread may call; one compiles at a time.

    Args:
        cell: the equations.
        isa: "avx512", "avx2", "x86-64-v2" or "generic"; the machine must have it.
        gradient: whether all are wanted. A step takes only the first two: where nothing of the cell is compiled yet,
            these alone are, without SymPy, and the other addresses are 0.

    Raises:
        IsaError: the instruction set is none of these.
        MissingExtraError: llvmlite is not installed, or the gradient must be compiled and SymPy or NetworkX is not.

    >>> from recurra import cells, engine, jit
    >>> @cells.cell
    ... def leaky(x, h):
    ...     return 0.9 * h + 0.1 * cells.tanh(x.n + h.n)
    >>> code = jit.routines_of(leaky, engine.isa())
    >>> [address != 0 for address in code.f32]
    [False, True, True, False, True, True]
    """
    if isa not in ISAS:
        raise IsaError(f"the kernel of {cell.name}: isa is {isa!r}, expected one of: {', '.join(ISAS)}")
    with _lock:
        llvm = _llvm(cell)
        keys = [_key(cell, isa, llvm, part) for part in (("all",) if gradient else ("all", "steps"))]
        for key in keys:
            if found := _loaded.get(key) or _fetched(key, isa, llvm):
                return found
        content = _compile(cell, isa, llvm, gradient)
        made = _loaded[keys[-1]] = _load(content, isa, llvm)
        _write(_path(keys[-1]), content)
    return made


def cache_folder() -> Path | None:
    """Where compiled cells are kept: `RECURRA_CACHE`, or `recurra` in the user's cache folder; None without a home."""
    if chosen := os.environ.get("RECURRA_CACHE"):
        return Path(chosen)
    try:
        if sys.platform == "darwin":
            return Path.home() / "Library/Caches/recurra"
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "recurra"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recurra"
    except RuntimeError:
        return None


def _llvm(cell: Cell) -> Any:
    """LLVM, ready for this machine."""
    try:
        import llvmlite.binding as llvm
    except ImportError as error:
        raise MissingExtraError(f"the kernel of {cell.name}", "llvmlite", "cells") from error
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def _triple(llvm: Any) -> str:
    """This machine; on Windows, too, with the object format that LLVM's loader knows best."""
    return str(llvm.get_process_triple()) + ("-elf" if sys.platform == "win32" else "")


def _key(cell: Cell, isa: str, llvm: Any, part: str) -> str:
    parts = cell.fingerprint, part, isa, _triple(llvm), str(llvm.llvm_version_info), _compiler()
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@cache
def _compiler() -> str:
    """A hash of the source text of all that decides the code."""
    here = Path(__file__)
    sources = [here, *(here.parent / "cells" / f"{name}.py" for name in _SOURCES)]
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def _machine(isa: str, llvm: Any) -> Any:
    target = llvm.Target.from_triple(_triple(llvm))
    cpu = "" if isa == "generic" else "x86-64"
    return target.create_target_machine(cpu=cpu, features=ISAS[isa].features, opt=2, reloc="pic", codemodel="small")


def _compile(cell: Cell, isa: str, llvm: Any, gradient: bool) -> bytes:
    """Derive the routines of a cell and compile them to object code."""
    if gradient:
        try:
            import networkx  # noqa: F401  (both are used in `routines`)
            import sympy  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(f"the kernel of {cell.name}", error.name or "sympy", "cells") from error
    machine = _machine(isa, llvm)
    code = llvm.parse_assembly(module(routines(cell) if gradient else forward_routines(cell), ISAS[isa]))
    code.triple, code.data_layout = _triple(llvm), str(machine.target_data)
    return bytes(machine.emit_object(code))


def _load(code: bytes, isa: str, llvm: Any) -> Code:
    """Put object code into memory.

    llvmlite's own memory manager puts code and data into one block. LLVM's takes a block for each, and in a process
    whose memory is full of holes these can lie further apart than the code can reach, which ends the process.
    """
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(isa, llvm), use_lmm=True)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address, length = engine.get_global_value_address(TABLE), engine.get_global_value_address(LENGTH)
    count = ctypes.c_uint64.from_address(length).value
    table = tuple((ctypes.c_uint64 * (2 * count)).from_address(address))
    absent = (0,) * (len(NAMES) - count)
    return Code(table[:count] + absent, table[count:] + absent, engine)


def _fetched(key: str, isa: str, llvm: Any) -> Code | None:
    """Load an entry of the cache, if it is there."""
    content = _read(_path(key))
    if content is None:
        return None
    found = _loaded[key] = _load(content, isa, llvm)
    return found


def _path(key: str) -> Path | None:
    folder = cache_folder()
    return folder / f"{key}.o" if folder else None


def _read(path: Path | None) -> bytes | None:
    """The object code of an entry; None where there is none that this user wrote."""
    try:
        return (read_private(path) if path else None) or None
    except OSError:
        return None


def _write(path: Path | None, code: bytes) -> None:
    """Put an entry in place in one move: other processes see no entry, an older one or this one, never a part."""
    if path is None:
        _warn("there is no home folder")
        return
    try:
        write_private(path, code)
    except OSError as error:
        if _read(path) is None:  # else another process was faster, and Windows replaces no file that is being read
            _warn(str(error))


def _warn(why: str) -> None:
    if not _warned:
        _warned.add(why)
        warnings.warn(
            f"compiled cells are not kept, so every process compiles them again: {why}; "
            "set RECURRA_CACHE to a folder that can be written, by this user alone",
            RuntimeWarning,
            stacklevel=4,
        )
