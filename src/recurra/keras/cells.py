"""Keras' cells in the language of cells, those of the zoo and those whose recurrent products see dropped units.

Keras drops units of h before its recurrent products, the same ones in all steps of a sequence. Such a mask is one number
for each row and unit that does not change with time: a state that every step returns as it was. So the language has a
word for it already, and the kernels, the gradient and ragged batches know nothing of dropout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from recurra import _native
from recurra.cells import Cell, cell, gru, gru_reset_before, lstm, product, rnn, sigmoid, tanh

# ruff: noqa: ANN001, ANN202  (equations have symbols for arguments)


@cell(source="Elman 1990; Gal & Ghahramani 2016, A theoretically grounded application of dropout in RNNs, eq. 7")
def _rnn_dropped(x, h, m, *, activation=tanh):
    return activation(x.n + product(m * h).n), m


@cell(source="Hochreiter & Schmidhuber 1997; Gal & Ghahramani 2016, eq. 7, with a mask for each gate")
def _lstm_dropped(x, h, c, mi, mf, mg, mo, *, activation=tanh, recurrent_activation=sigmoid):
    i = recurrent_activation(x.i + product(mi * h).i)
    f = recurrent_activation(x.f + product(mf * h).f)
    g = activation(x.g + product(mg * h).g)
    o = recurrent_activation(x.o + product(mo * h).o)
    c = f * c + i * g
    return o * activation(c), c, mi, mf, mg, mo


@cell(source="Cho et al. 2014, reset after the product; Gal & Ghahramani 2016, eq. 7, with a mask for each gate")
def _gru_dropped(x, h, mr, mz, mn, *, activation=tanh, recurrent_activation=sigmoid):
    r = recurrent_activation(x.r + product(mr * h).r)
    z = recurrent_activation(x.z + product(mz * h).z)
    n = activation(x.n + r * product(mn * h).n)
    return (1 - z) * n + z * h, mr, mz, mn


@cell(source="Cho et al. 2014, reset before the product; Gal & Ghahramani 2016, eq. 7, with a mask for each gate")
def _gru_reset_before_dropped(x, h, hr, hz, mr, mz, mn, *, activation=tanh, recurrent_activation=sigmoid):
    # The candidate's operand needs r, so the masked h of the other gates cannot be made in the same step: it is carried.
    r = recurrent_activation(x.r + hr.r)
    z = recurrent_activation(x.z + hz.z)
    n = activation(x.n + product(r * (mn * h)).n)
    h = (1 - z) * n + z * h
    return h, mr * h, mz * h, mr, mz, mn


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
    ("SimpleRNNCell", True): Recipe(_rnn_dropped, (0,), masks=(0,)),
    ("LSTMCell", False): Recipe(lstm, (0, 1, 2, 3), 2),
    ("LSTMCell", True): Recipe(_lstm_dropped, (0, 1, 2, 3), 2, masks=(0, 1, 2, 3)),
    ("GRUCell", False): Recipe(gru, (1, 0, 2)),
    ("GRUCell", True): Recipe(_gru_dropped, (1, 0, 2), masks=(1, 0, 2)),
    ("GRUCell before", False): Recipe(gru_reset_before, (1, 0, 2)),
    ("GRUCell before", True): Recipe(_gru_reset_before_dropped, (1, 0, 2), carried=(1, 0), masks=(1, 0, 2)),
}


@lru_cache(maxsize=256)
def recipe(kind: str, dropped: bool, activation: Any, recurrent_activation: Any = None) -> Recipe | str:
    """The recipe of one of Keras' cells, or why there is none.

    Args:
        kind: a key of the table above: the class's name, with "before" for a GRU that resets before the product.
        dropped: whether units of h are dropped.
        activation, recurrent_activation: Keras' functions.
    """
    from recurra.keras.activations import meaning

    plain = _RECIPES[kind, dropped]
    options: dict[str, Any] = {}
    for name, function in (("activation", activation), ("recurrent_activation", recurrent_activation)):
        if name in plain.cell.options:
            options[name] = meaning(function)
            if options[name] is None:
                return f"{name}={getattr(function, '__name__', function)!r} has no word in the language of cells"
    made = Recipe(plain.cell(**options), plain.order, plain.states, plain.carried, plain.masks)
    return (lacks_compiler(made.cell) if made.compiled else "") or made


def lacks_compiler(cell: Cell) -> str:
    """Why a cell that is not built in cannot be compiled here, or ""."""
    from importlib.util import find_spec

    missing = next((name for name in ("llvmlite", "sympy", "networkx") if find_spec(name) is None), None)
    if missing is None:
        return ""
    return f"{cell.name} must be compiled, and {missing} is not installed: pip install 'recurra[cells]'"
