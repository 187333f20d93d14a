"""Keras' cells in the language of cells: which equations, which order of gates, and what their states are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from recurra import _native
from recurra.cells import Cell, gru, gru_reset_before, lstm, rnn
from recurra.keras import dropped


@dataclass(frozen=True)
class Recipe:
    """How a Keras cell is computed.

    Attributes:
        cell: the equations.
        order: which of Keras' gates each gate of the cell is.
        states: how many of the cell's first states are Keras' own; after them come masked copies of h, then masks.
        carried: for each masked copy of h, the number of its mask.
        masks: which of Keras' dropout masks each mask is.
    """

    cell: Cell
    order: tuple[int, ...]
    states: int = 1
    carried: tuple[int, ...] = ()
    masks: tuple[int, ...] = ()

    @property
    def compiled(self) -> bool:
        """Whether LLVM has to compile the equations: they are not built in."""
        return self.cell.fingerprint not in _native.zoo


# By the class of Keras' cell and whether it drops units of h; GRUs in Keras have the gates z, r, h.
_RECIPES = {
    ("SimpleRNNCell", False): Recipe(rnn, (0,)),
    ("SimpleRNNCell", True): Recipe(dropped.rnn_dropped, (0,), masks=(0,)),
    ("LSTMCell", False): Recipe(lstm, (0, 1, 2, 3), 2),
    ("LSTMCell", True): Recipe(dropped.lstm_dropped, (0, 1, 2, 3), 2, masks=(0, 1, 2, 3)),
    ("GRUCell", False): Recipe(gru, (1, 0, 2)),
    ("GRUCell", True): Recipe(dropped.gru_dropped, (1, 0, 2), masks=(1, 0, 2)),
    ("GRUCell before", False): Recipe(gru_reset_before, (1, 0, 2)),
    ("GRUCell before", True): Recipe(dropped.gru_reset_before_dropped, (1, 0, 2), carried=(1, 0), masks=(1, 0, 2)),
}


@lru_cache(maxsize=256)
def recipe(kind: str, drops: bool, activation: Any, recurrent_activation: Any = None) -> Recipe | str:
    """The recipe of one of Keras' cells, or why there is none.

    Args:
        kind: a key of the table above: the class's name, with "before" for a GRU that resets before the product.
        drops: whether units of h are dropped.
        activation, recurrent_activation: Keras' functions.
    """
    from recurra.keras.activations import meaning

    plain = _RECIPES[kind, drops]
    options: dict[str, Any] = {}
    for name, function in (("activation", activation), ("recurrent_activation", recurrent_activation)):
        if name in plain.cell.options:
            options[name] = meaning(function)
            if options[name] is None:
                return f"{name}={getattr(function, '__name__', function)!r} has no word in the language of cells"
    made = Recipe(plain.cell(**options), plain.order, plain.states, plain.carried, plain.masks)
    return (lacks_compiler(made.cell) if made.compiled else "") or made


def recipe_of_cell(cell: Any, drops: bool) -> Recipe | str:
    """The recipe of a SimpleRNNCell, LSTMCell or GRUCell as it is set."""
    kind = type(cell).__name__ + " before" * (not getattr(cell, "reset_after", True))
    return recipe(kind, drops, cell.activation, getattr(cell, "recurrent_activation", None))


def lacks_compiler(cell: Cell) -> str:
    """Why a cell that is not built in cannot be compiled here, or ""."""
    from importlib.util import find_spec

    missing = next((name for name in ("llvmlite", "sympy", "networkx") if find_spec(name) is None), None)
    if missing is None:
        return ""
    return f"{cell.name} must be compiled, and {missing} is not installed: pip install 'recurra[cells]'"
