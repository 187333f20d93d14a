"""Equations as text, and the reader that rebuilds them: a small interpreter, so no code of a model file is ever run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from recurra.cells.symbols import WORDS, Input, Node, Owner, Product, as_node, node
from recurra.errors import CellError

# Primitives that a composed word expands to but that are not words themselves.
_PRIMITIVES = {"abs": lambda a: node("abs", a)}

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


def parse(text: str) -> tuple[ast.FunctionDef, list[str], list[str]]:
    """The one function definition in a text, the names of its states and of its parameters."""
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        raise CellError(f"the text of a cell does not parse, line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # half a character, or nested too deep for the parser
        raise CellError(f"the text of a cell does not parse: {str(error)[:80] or 'it is nested too deep'}") from error
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef) or not body[0].args.args:
        raise CellError("the text of a cell is not one function, expected `def name(x, h, ...):` and its equations")
    definition, arguments = body[0], body[0].args
    plain = not (definition.decorator_list or definition.returns or arguments.defaults or arguments.posonlyargs)
    if (
        not plain
        or arguments.vararg
        or arguments.kwarg
        or any(arguments.kw_defaults)
        or any(a.annotation for a in ast.walk(arguments) if isinstance(a, ast.arg))
    ):
        raise CellError("the text of a cell has more than names in its first line, expected `def name(x, h, *, p):`")
    return definition, [a.arg for a in arguments.args[1:]], [a.arg for a in arguments.kwonlyargs]


def interpret(definition: ast.FunctionDef, symbols: Mapping[str, Node | Input]) -> Any:
    """Run the assignments and the `return` of a definition on symbols; only words of the language are known."""
    names: dict[str, Any] = {**WORDS, **_PRIMITIVES, **symbols}
    for statement in definition.body:
        try:
            if isinstance(statement, ast.Return) and statement.value is not None:
                return _evaluate(statement.value, names)
            if (
                isinstance(statement, ast.Assign)
                and isinstance(statement.targets[0], ast.Name)
                and len(statement.targets) == 1
            ):
                names[statement.targets[0].id] = _evaluate(statement.value, names)
            elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                raise CellError("expected `name = equation` or `return equation`")
        except (CellError, TypeError, ArithmeticError, RecursionError) as error:
            line = ast.unparse(statement).splitlines()[0]
            raise CellError(f"{definition.name}, line {statement.lineno}: `{line}`: {error}") from error
    raise CellError(f"{definition.name} never returns its states: end it with `return`")


def _value(e: ast.expr, names: Mapping[str, Any]) -> Any:
    """Of one unit: a symbol, and neither a tuple nor a word."""
    return as_node(_evaluate(e, names))


def _evaluate(e: ast.expr, names: Mapping[str, Any]) -> Any:
    match e:
        case ast.Constant(value=int() | float() as number):
            return as_node(float(number))
        case ast.Name(id=name):
            if name not in names:
                raise CellError(f"the name {name!r} is unknown; known here: {', '.join(names)}")
            return names[name]
        case ast.Attribute(value=of, attr=gate):
            owner = _evaluate(of, names)
            if not isinstance(owner, (Input, Owner, Product)) or gate.startswith("_"):
                raise CellError(f"`{ast.unparse(e)}` is no gate: only x, states, parameters and product(v) have gates")
            return getattr(owner, gate)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names)
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int() as exponent)):
            return _value(left, names) ** exponent
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
            return _BINARY[type(operator)](_value(left, names), _value(right, names))
        case ast.Compare(left=left, ops=[ast.Gt()], comparators=[right]):
            return _value(left, names) > _value(right, names)
        case ast.Call(func=ast.Name(id=word), args=args, keywords=[]) if word in WORDS or word in _PRIMITIVES:
            values = [_value(a, names) for a in args]
            return names[word](*values[:1], *(v._value if v._op == "const" else v for v in values[1:]))
        case ast.Tuple(elts=elements):
            return tuple(_evaluate(a, names) for a in elements)
        case _:
            raise CellError(f"`{ast.unparse(e)}` is not in the language: use + - * / and the words {', '.join(WORDS)}")
