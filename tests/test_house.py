"""The rules of the house: imports run one way, everything public says what it does, examples run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

import recurra

SOURCE = Path(recurra.__file__).parent

# What may import what: a module may import its own layer and those above it here.
LAYERS = (
    ("errors", "cluster", "files", "formatting", "imports", "terminal"),
    ("cells",),
    ("weights", "checks", "reference", "_native", "jit", "engine", "traces"),
    ("torch", "keras", "onnx", "runtime"),
    ("conversion", "data", "models", "train"),
    ("tasks",),
    ("compare", "doctor", "draw", "serve"),
    ("report",),
    ("demos",),
    ("cli", "__main__"),
)
LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}

# Within the engine's own layer, the definition stands alone.
NEVER = {
    "cells": {"weights", "checks", "reference", "_native", "jit", "engine"},
    "weights": {"checks", "reference", "_native", "jit", "engine"},
    "checks": {"reference", "_native", "jit", "engine"},
    "reference": {"checks", "_native", "jit", "engine"},
    "jit": {"engine", "reference"},
    "engine": {"reference"},
    "runtime": {"torch", "keras", "onnx"},
}
HEAVY = {
    "torch",
    "sympy",
    "pandas",
    "keras",
    "networkx",
    "triton",
    "llvmlite",
    "matplotlib",
    "plotly",
    "fastapi",
    "onnx",
    "narwhals",
    "pyarrow",
    "jinja2",
    "arch",
    "skfolio",
    "exchange_calendars",
    "statsforecast",
}
# Methods of results that users call to get a page; they import the presenter when called.
PAGES = {("doctor.findings", "report"), ("compare.run", "report"), ("tasks.forecasting.forecaster", "report")}
# Modules below which heavy packages may be imported at the top.
OWNERS = {
    "torch": {"torch"},
    "models": {"torch"},
    "doctor": {"torch"},
    "keras": {"keras"},
    "onnx": {"onnx"},
    "cells.adjoint": {"sympy"},
    **{f"compare.{name}": {"torch"} for name in ("networks", "matching", "training")},
}

FILES = sorted(p for p in SOURCE.rglob("*.py"))


def dotted(path: Path) -> str:
    """The name of a module inside the package: `cells.zoo`, or nothing for the package itself."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def imported(tree: ast.AST) -> set[str]:
    """Every module that is imported, with the names imported from it."""
    found: set[str] = set()
    for n in ast.walk(tree):
        if isinstance(n, ast.Import):
            found |= {a.name for a in n.names}
        elif isinstance(n, ast.ImportFrom):
            assert n.level == 0, "imports are absolute"
            found |= {f"{n.module}.{a.name}" for a in n.names}
    return found


def at_the_top(tree: ast.Module) -> ast.Module:
    """The statements that run when a module is imported, save those for type checkers."""
    body = [
        n
        for n in tree.body
        if not isinstance(n, (ast.FunctionDef, ast.ClassDef))
        and not (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))
    ]
    return ast.Module(body=body, type_ignores=[])


def test_there_is_something_to_check() -> None:
    assert {"engine", "reference", "cells.zoo"} <= {dotted(p) for p in FILES}


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_imports_run_one_way(path: Path) -> None:
    own = dotted(path).partition(".")[0]
    if not own:
        return
    assert own in LEVEL, f"{own} has no place in the table of layers"
    for name in imported(ast.parse(path.read_text())):
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if package != "recurra" or other == own:
            continue
        assert other in LEVEL, f"{path.name} imports {name}"
        if (dotted(path), other) in PAGES:
            assert name not in imported(at_the_top(ast.parse(path.read_text())))
            continue
        assert LEVEL[other] <= LEVEL[own], f"{path.name} imports {name}, which is built on it"
        assert other not in NEVER.get(own, ()), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_heavy_packages_are_imported_when_used(path: Path) -> None:
    name = dotted(path)
    allowed = OWNERS.get(name, set()) | OWNERS.get(name.partition(".")[0], set())
    top = {n.partition(".")[0] for n in imported(at_the_top(ast.parse(path.read_text())))}
    assert not (top & HEAVY) - allowed


MODULES = sorted(f"recurra.{name}" for name in map(dotted, FILES) if name and "__main__" not in name)


@pytest.mark.parametrize("name", ["recurra", *MODULES])
def test_everything_public_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    if name == "recurra.cells.zoo":  # equations, whose docstring is their source
        return
    for public, thing in vars(module).items():
        if public.startswith("_") or getattr(thing, "__module__", None) != name:
            continue
        if not (inspect.isfunction(thing) or inspect.isclass(thing)):
            continue
        assert _written(thing), f"{name}.{public} has no docstring"
        for attribute, member in vars(thing).items() if inspect.isclass(thing) else ():
            function = (
                getattr(member, "fget", None) or getattr(member, "func", None) or getattr(member, "__func__", member)
            )
            if (
                not attribute.startswith("_")
                and inspect.isfunction(function)
                and function.__qualname__.startswith(thing.__name__)
            ):
                assert _written(function) or _inherited(thing, attribute), (
                    f"{name}.{public}.{attribute} has no docstring"
                )


def _written(thing: object) -> bool:
    """Whether somebody wrote a docstring; a dataclass writes its signature where there is none."""
    text = thing.__doc__ or ""
    return bool(text) and not text.startswith(f"{thing.__name__}(")


def _inherited(owner: type, attribute: str) -> bool:
    return any(getattr(getattr(base, attribute, None), "__doc__", None) for base in owner.__mro__[1:])


@pytest.mark.parametrize("name", ["recurra", *MODULES])
def test_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    examples = {n: sum(len(t.examples) for t in finder.find(importlib.import_module(n))) for n in MODULES}
    assert examples["recurra.engine"] >= 4
    assert examples["recurra.cells.trace"] >= 2


def test_the_public_names_are_listed_once() -> None:
    assert sorted(recurra.__all__) == list(recurra.__all__)
    assert set(recurra.__all__) <= set(dir(recurra))
    for name in recurra.__all__:
        assert getattr(recurra, name) is not None
    with pytest.raises(AttributeError, match="module 'recurra' has no attribute 'lsmt'"):
        recurra.lsmt  # noqa: B018


# Where the op layer_norm is known: an op takes a file of its own, a native function, a row in each bridge, and, where
# files of weights have it, its place there.
KNOWS_LAYER_NORM = {
    "native/src/ops/elementwise.cpp",
    "src/recurra/runtime/ops/__init__.py",
    "src/recurra/runtime/ops/layer_norm.py",
    "src/recurra/torch/bridge.py",
    "src/recurra/keras/bridge.py",
    "src/recurra/onnx/bridge.py",
    "src/recurra/conversion/mapping.py",
    "src/recurra/conversion/state_dict.py",
}
# Those that use torch's layer as any program does, or evaluate the node of that name.
USES_ITS_NAME = {
    "speech.py",
    "encoders.py",
    "networks.py",
    "wrappers.py",
    "remedies.py",
    "modules.py",
    "operators.py",
} | {"functions.py"}


def test_an_op_is_known_in_few_places() -> None:
    root = SOURCE.parents[1]
    files = [p for folder in ("src", "native/src", "native/include") for p in (root / folder).rglob("*.[chp]*")]
    found = {p for p in files if p.suffix != ".pyc" and re.search("layer_?norm", p.read_text(), re.IGNORECASE)}
    assert {str(p.relative_to(root)) for p in found if p.name not in USES_ITS_NAME} == KNOWS_LAYER_NORM
    assert len(KNOWS_LAYER_NORM) <= 8
