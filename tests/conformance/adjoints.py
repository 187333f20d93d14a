"""The symbolic routines of a cell, evaluated in NumPy and compared with the definition's chain rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers import generator, random_state, random_weights
from recurra import reference
from recurra.cells import Cell
from recurra.cells.functions import ARITHMETIC, FUNCTIONS
from recurra.cells.layout import layout
from recurra.cells.routines import Place, Routine, routines
from recurra.cells.symbols import Node, node
from recurra.weights import Array

Memory = dict[Place, Array]


def evaluate(routine: Routine, memory: Memory) -> Memory:
    """What a routine stores, from what it loads; a value that cannot be computed from the loads is a KeyError."""
    values: dict[Node, Any] = {}
    for n in routine.order():
        if n in routine.loads:
            values[n] = memory[routine.loads[n]]
        elif n._op == "const":
            values[n] = n._value
        else:
            values[n] = (ARITHMETIC.get(n._op) or FUNCTIONS[n._op].value)(*(values[a] for a in n._args))
    return {place: values[n] for place, n in routine.stores}


def check_adjoint(cell: Cell, rows: int = 3, H: int = 2) -> None:
    """Every routine of a cell against one step of the definition, forward and back."""
    rng = generator(cell.text)
    weights = random_weights(cell, 2, H, 3, rng=rng)
    states, seeds = random_state(cell, weights, rows, rng), random_state(cell, weights, rows, rng)
    values = reference.step(cell, weights, rng.normal(size=(rows, 2)), states)
    want = reference.step_back(cell, values, seeds, weights)
    shape, first = layout(cell), 0 if cell.projection is None else 1
    by_name = {r.name: r for r in routines(cell)}

    memory: Memory = {Place("slot", i): values[s.node] for i, s in enumerate(shape.slots)}
    memory |= {Place("state", k): a for k, a in enumerate(states)}
    memory |= {Place("parameter", i): weights.parameters[p] for i, p in enumerate(cell.parameters)}
    computed = [*shape.inner, *(cell.projection._args if cell.projection is not None else ())]
    _expect(evaluate(by_name["inner"], memory), {Place("inner", i): values[v] for i, v in enumerate(shape.inner)})
    after = {Place("next", k): values[n] for k, n in enumerate(cell.next) if k >= first}
    hidden = {Place("inner", i): values[v] for i, v in enumerate(computed) if i >= len(shape.inner)}
    _expect(evaluate(by_name["forward"], memory), after | hidden)

    kept = evaluate(by_name["forward_saving"], memory)
    _expect({p: a for p, a in kept.items() if p.array != "slot"}, after | hidden)
    memory = {p: a for p, a in (memory | kept).items() if p.array in ("state", "parameter", "next") or p in kept}
    _expect(
        evaluate(by_name["gates"], memory),
        {Place("gate", i): values[n] for i, n in enumerate(cell.gate_values.values())},
    )

    memory |= {Place("next_gradient", k): d for k, d in enumerate(seeds) if k >= first}
    for i, _ in enumerate(computed):
        memory[Place("inner_gradient", i)] = np.zeros((rows, H))
    if cell.projection is not None:
        memory[Place("inner_gradient", len(shape.inner))] = seeds[0] @ weights.R
    late = evaluate(by_name["backward_inner"], memory)
    zero = np.zeros((rows, H))
    _expect(late, {p: want.get(shape.slots[p.vector].node, zero) for p in late})
    for i, second in enumerate(shape.inner):
        memory[Place("inner_gradient", i)] = _through_products(cell, second, want, weights, zero)
    back = evaluate(by_name["backward"], memory)

    wanted: Memory = {Place("slot_gradient", i): want.get(s.node, zero) for i, s in enumerate(shape.slots)}
    for k, s in enumerate(cell.states[first:], first):
        state = node("state", value=s)
        wanted[Place("state_gradient", k)] = want.get(state, zero) - _through_products(cell, state, want, weights, zero)
    for i, p in enumerate(cell.parameters):
        wanted[Place("parameter_gradient", i)] = want.get(node("param", value=p), zero)
    wanted |= {Place("inner", i): values[v] for i, v in enumerate(computed)}
    _expect(late | back, wanted)


def _through_products(cell: Cell, operand: Node, gradients: dict[Node, Array], weights: Any, zero: Array) -> Array:
    """The part of an operand's gradient that comes back through its recurrent products."""
    H, total = weights.hidden_size, 0 * zero
    for i, gate in enumerate(cell.recurrent_gates):
        if cell.operands[gate] is operand:
            d = gradients.get(node("product", operand, value=gate), zero)
            total = total + d @ weights.U[i * H : (i + 1) * H]
    return total


def _expect(got: Memory, want: Memory) -> None:
    assert sorted(got) == sorted(want)
    for place, array in want.items():
        a, b = np.broadcast_arrays(got[place], array)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11, err_msg=str(place))
