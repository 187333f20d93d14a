"""From a Python function, or from text, to a `Cell`; and the shelf on which cells are found by name."""

from __future__ import annotations

import ast
import inspect
import keyword
import textwrap
import traceback
from collections.abc import Callable, Sequence
from typing import Any, overload

from recurra.cells import text as text_form
from recurra.cells.cell import Cell, check_names
from recurra.cells.printing import show
from recurra.cells.symbols import RESERVED, WORDS, Input, Node, node, observer, walk
from recurra.errors import CellError

WEIGHT_NAMES = ("W", "U", "b", "c_", "R")  # of the arrays that every recurrence has

_shelf: dict[str, Cell] = {}


class _Observer:
    """Collects gates and parameters in the order of their first naming, and refuses what cannot be."""

    def __init__(self) -> None:
        self.gates: list[str] = []
        self.parameters: list[str] = []
        self.operands: dict[str, Node] = {}

    def __call__(self, leaf: Node) -> None:
        names = self.parameters if leaf._op == "param" else self.gates
        if leaf._value not in names and (leaf._op != "param" or "." in leaf._value):
            names.append(leaf._value)
        if leaf._op != "product":
            return
        operand = leaf._args[0]
        if operand._op != "state" and any(n._op == "product" and n._args[0]._op != "state" for n in walk([operand])):
            raise CellError(
                f"`{show(leaf)}` is a product of a product; a step has one product of the states and one more of "
                "what is computed from it: make the inner product a gate of a state, as in h.n"
            )
        if self.operands.setdefault(leaf._value, operand) is not operand:
            raise CellError(
                f"the gate {leaf._value!r} multiplies both {show(self.operands[leaf._value])} and {show(operand)}, "
                "but has one matrix U: give the second product a gate name of its own"
            )


def from_function(
    function: Callable[..., Any],
    name: str | None = None,
    source: str = "",
    options: dict[str, Any] | None = None,
    inputs: Cell | None = None,
) -> Cell:
    """Trace a function of symbols into a cell. Errors name the line of the function."""
    name = name or function.__name__
    parameters = inspect.signature(function).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    options = {n: d for n, d in keywords.items() if d is not inspect.Parameter.empty} | (options or {})
    bare = [n for n in keywords if n not in options]
    states = positional[1:]

    def equations() -> Any:
        symbols = {p: node("param", value=p) for p in bare}
        return function(Input(), *(node("state", value=s) for s in states), **symbols, **options)

    def where(error: BaseException | None = None) -> str:
        return _line_of(function, name, error)

    if not positional or not states:
        raise CellError(f"{where()}: a cell takes the input and at least one state: def {name}(x, h):")
    try:
        traced, seen = _observe(equations)
    except CellError as error:
        raise CellError(f"{where(error)}: {error}") from error
    except NameError as error:
        known = ", ".join([*positional, *keywords])
        raise CellError(
            f"{where(error)}: {error}; the symbols here are {known}; the words of `recurra.cells` are "
            f"{', '.join(WORDS)}"
        ) from error
    except (TypeError, AttributeError) as error:
        raise CellError(
            f"{where(error)}: {error}; equations are built from + - * / and the words {', '.join(WORDS)}"
        ) from error
    try:
        return _build(name, states, bare, traced, seen, source, function, options, inputs)
    except CellError as error:
        raise CellError(f"{where()}: {error}") from error


def from_text(text: str, inputs: str | None = None) -> Cell:
    """Rebuild a cell from its text form, and that of what prepares its inputs, without running any code.

    >>> from recurra.cells import from_text, get
    >>> from_text(get("gru").text) == get("gru")
    True
    """
    definition, states, bare = text_form.parse(text)
    check_names(definition.name, [definition.args.args[0].arg, *states, *bare])
    symbols: dict[str, Node | Input] = {definition.args.args[0].arg: Input()}
    symbols |= {s: node("state", value=s) for s in states}
    symbols |= {p: node("param", value=p) for p in bare}
    traced, seen = _observe(lambda: text_form.interpret(definition, symbols))
    source = ast.get_docstring(definition, clean=False) or ""
    prepared = None if inputs is None else from_text(inputs)
    return _build(definition.name, states, bare, traced, seen, source, inputs=prepared)


@overload
def cell(function: Callable[..., Any]) -> Cell: ...
@overload
def cell(
    *, source: str = ..., name: str | None = ..., inputs: Cell | None = ...
) -> Callable[[Callable[..., Any]], Cell]: ...
def cell(
    function: Callable[..., Any] | None = None,
    *,
    source: str = "",
    name: str | None = None,
    inputs: Cell | None = None,
) -> Any:
    """Make a cell of a Python function of its symbols.

    The first argument is the input x, the others are the states; keyword-only arguments are per-unit parameters, or,
    with a default, activations that can be changed by argument. The function returns the new states; the first state
    is the output.

    Args:
        function: the equations of one step.
        source: paper and equation numbers.
        name: the cell's name, the function's if not given.
        inputs: a cell without products, which is done to the fields of the input before, element by element.

    Raises:
        CellError: the equations are ill-formed; the message names the line.

    >>> from recurra.cells import cell, tanh
    >>> @cell(source="Elman 1990")
    ... def elman(x, h):
    ...     return tanh(x.n + h.n)
    >>> elman.gates, elman.states
    (('n',), ('h',))
    """
    if function is None:
        return lambda f: from_function(f, name, source, inputs=inputs)
    return from_function(function, name, source, inputs=inputs)


def shelve(*cells: Cell) -> None:
    """Let `get` find cells by name."""
    _shelf.update({c.name: c for c in cells})


def names() -> tuple[str, ...]:
    """The names of the cells in the zoo."""
    return tuple(_shelf)


def zoo_cells() -> tuple[Cell, ...]:
    """All cells of the zoo."""
    return tuple(_shelf.values())


def get(cell: str | Cell) -> Cell:
    """The cell of that name; a cell is returned as it is.

    Raises:
        CellError: no cell has that name.
    """
    if isinstance(cell, Cell):
        return cell
    if cell not in _shelf:
        raise CellError(
            f"no cell is called {cell!r}; the zoo has {', '.join(_shelf)}; make your own with @recurra.cell"
        )
    return _shelf[cell]


def _observe(equations: Callable[[], Any]) -> tuple[Any, _Observer]:
    seen = _Observer()
    token = observer.set(seen)
    try:
        return equations(), seen
    finally:
        observer.reset(token)


def _build(
    name: str,
    states: Sequence[str],
    bare: Sequence[str],
    traced: Any,
    seen: _Observer,
    source: str,
    function: Callable[..., Any] | None = None,
    options: dict[str, Any] | None = None,
    inputs: Cell | None = None,
) -> Cell:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise CellError(f"{name!r} cannot name a cell, expected an identifier: give one, as in cell(name='my_cell')")
    for word in (*states, *bare):
        if word in RESERVED or (word in WEIGHT_NAMES and word in bare):
            raise CellError(
                f"{word!r} cannot name a state or parameter, because it has a meaning of its own: rename it"
            )
    new = traced if isinstance(traced, tuple) else (traced,)
    listed = ", ".join(states)
    if any(not isinstance(n, Node) for n in new):
        kinds = ", ".join(type(n).__name__ for n in new)
        raise CellError(f"{name} returns {kinds}, expected the new value of each of its states: return {listed}")
    if any(n._op == "gt" for n in new):
        raise CellError(f"{name} returns a comparison, expected the new value of a state: return where(p > q, 1, 0)")
    if len(new) != len(states):
        missing = ", ".join(states[len(new) :])
        problem = f"{missing} is never returned" if missing else "there are more values than states"
        raise CellError(f"{name} returns {len(new)} of its states {listed}: {problem}; end with: return {listed}")
    used = [n._value for n in walk(new) if n._op == "param"]
    gated = [p for p in seen.parameters if "." in p and p in used]
    parameters = [p for b in bare for p in ([b] if b in used else []) + [g for g in gated if g.startswith(b + ".")]]
    projects = new[0]._op == "product" and new[0]._value == states[0] and new[0]._args[0]._op != "state"
    named = {n._value for n in walk(new) if n._op in ("input", "product") and not (projects and n is new[0])}
    built = Cell(
        name=name,
        states=tuple(states),
        gates=tuple(g for g in seen.gates if g in named),
        parameters=tuple(parameters),
        source=source,
        next=new,
        function=function,
        options=options or {},
        projection=new[0] if projects else None,
        inputs=inputs,
    )
    _check_projection(built)
    return built


def _check_projection(built: Cell) -> None:
    """A projected state has its own size, so it may only be multiplied, never mixed with units element by element."""
    projection, state = built.projection, built.states[0]
    if projection is None:
        return
    if any(n is projection or (n._op, n._value) == ("state", state) for n in built.next[1:]):
        raise CellError(
            f"{built.name} returns {state}, which is projected to another size, as another state: return a value of "
            "units"
        )
    foreign = [show(v) for v in built.operands.values() if (v._op, v._value) != ("state", state)]
    if foreign:
        raise CellError(
            f"{built.name} projects {state} and also multiplies {foreign[0]}: beside a projection only {state} itself "
            "may have recurrent products, because U has one width"
        )
    for n in walk(built.next):
        mixes = any(a is projection or (a._op, a._value) == ("state", state) for a in n._args)
        if mixes and n._op != "product":
            raise CellError(
                f"`{show(n)}` mixes units with {state}, which is projected to another size: only products such as "
                f"{state}.i may use it"
            )


def _line_of(function: Callable[..., Any], name: str, error: BaseException | None) -> str:
    """Where in the function an error arose (its return where it arose after), as `name (file, line n: "text")`."""
    code = function.__code__
    number, text = code.co_firstlineno, ""
    if error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        inner = [f for f in frames if f.filename == code.co_filename and f.name == code.co_name]
        if inner:
            number, text = inner[-1].lineno or number, inner[-1].line or ""
    else:
        try:
            lines, first = inspect.getsourcelines(function)
            tree = ast.parse(textwrap.dedent("".join(lines)))
            returns = [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Return)]
            number = first + (returns[-1] - 1 if returns else 0)
            text = lines[number - first].strip()
        except (OSError, SyntaxError):
            pass
    return f"{name} ({code.co_filename}, line {number}{f': `{text}`' if text else ''})"
