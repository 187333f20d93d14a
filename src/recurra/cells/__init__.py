"""The language of cells, the zoo, and what is derived from equations.

>>> from recurra.cells import cell, sigmoid, tanh
>>> @cell
... def leaky(x, h, *, a):
...     return sigmoid(a) * h + (1 - sigmoid(a)) * tanh(x.n + h.n)
"""

from recurra.cells.cell import Cell
from recurra.cells.symbols import (
    Node,
    clip,
    elu,
    erf,
    exp,
    gelu,
    hard_sigmoid,
    identity,
    leaky_relu,
    maximum,
    minimum,
    product,
    relu,
    sigmoid,
    silu,
    softplus,
    softsign,
    sqrt,
    tanh,
    where,
)
from recurra.cells.trace import cell, from_function, from_text, get, names, zoo_cells
from recurra.cells.zoo import (
    gru,
    gru_reset_before,
    indrnn,
    lstm,
    lstm_coupled,
    lstm_peephole,
    lstm_projected,
    mgu,
    mingru,
    minlstm,
    rnn,
    rnn_relu,
    ugrnn,
)
