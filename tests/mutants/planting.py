"""A changed line in code that runs: the changed source is compiled, and live functions take its code."""

from __future__ import annotations

import ast
import gc
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any
from unittest import mock

import recurra
from recurra import jit

SOURCES = Path(recurra.__file__).parent
_Cached = type(lru_cache(len))


def changed(source: str, old: str, new: str, where: str) -> str:
    """The source with one piece of its text replaced, which must be there just once."""
    count = source.count(old)
    if count != 1:
        raise LookupError(f"{where}: {old!r} is there {count} times, expected once")
    return source.replace(old, new)


@contextmanager
def planted(file: str, old: str, new: str) -> Iterator[None]:
    """With one piece of a source file changed in all that is running, and afterwards as it was.

    A change inside a function reaches that function whoever has imported it, and methods, properties and lambdas alike.
    A change of a module's constant reaches every module of the package that has the same object under that name.

    Raises:
        LookupError: the text is not there once, or nothing that is running comes from there.
    """
    path = SOURCES / file
    source = path.read_text()
    other = changed(source, old, new, file)
    name = ".".join(("recurra", *path.relative_to(SOURCES).with_suffix("").parts))
    home = importlib.import_module(name.removesuffix(".__init__"))
    codes = dict(_different(*(compile(text, str(path), "exec", dont_inherit=True) for text in (source, other))))
    swaps = [(f, f.__code__, codes[f.__code__]) for f in _functions(str(path)) if f.__code__ in codes]
    constants = [] if swaps else list(_constants(home, source, other))
    if not swaps and not constants:
        raise LookupError(f"{file}: nothing that is running comes from {old!r}")
    with _without_memory():
        try:
            for function, _, code in swaps:
                function.__code__ = code
            for module, constant, _, value in constants:
                vars(module)[constant] = value
            yield
        finally:
            for function, code, _ in swaps:
                function.__code__ = code
            for module, constant, value, _ in constants:
                vars(module)[constant] = value


def _different(was: CodeType, now: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """The functions of a module whose code is not the same, those inside functions too."""
    before, after = ([c for c in code.co_consts if isinstance(c, CodeType)] for code in (was, now))
    if [c.co_qualname for c in before] != [c.co_qualname for c in after]:
        return  # a lambda more: whose is whose, nobody can say
    for a, b in zip(before, after, strict=True):
        if a != b:
            yield a, b
            yield from _different(a, b)


def _functions(path: str) -> list[FunctionType]:
    return [f for f in gc.get_objects() if type(f) is FunctionType and f.__code__.co_filename == path]


def _constants(home: ModuleType, source: str, other: str) -> Iterator[tuple[ModuleType, str, Any, Any]]:
    """Modules and names that hold a constant whose assignment has changed, with its value before and after."""
    for a, b in zip(ast.parse(source).body, ast.parse(other).body, strict=True):
        if ast.dump(a) == ast.dump(b) or not isinstance(b, (ast.Assign, ast.AnnAssign)):
            continue
        scope = dict(vars(home))
        exec(compile(ast.Module([b], []), str(home.__file__), "exec"), scope)
        for name in (n.id for n in ast.walk(b) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)):
            was = vars(home)[name]
            for module in list(sys.modules.values()):
                if getattr(module, "__name__", "").startswith("recurra") and vars(module).get(name) is was:
                    yield module, name, was, scope[name]


@contextmanager
def _without_memory() -> Iterator[None]:
    """Nothing of before is remembered now, and nothing of now afterwards: neither kernels nor compiled cells."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, RECURRA_CACHE=folder),
        mock.patch.dict(jit._loaded, clear=True),
    ):
        _forget()
        try:
            yield
        finally:
            _forget()


def _forget() -> None:
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").split(".")[0] in ("recurra", "conformance"):
            for value in list(vars(module).values()):
                if isinstance(value, _Cached):
                    value.cache_clear()
