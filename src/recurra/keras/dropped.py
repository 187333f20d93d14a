"""Keras' cells with dropped units of h: equations, and nothing else.

Keras drops units of h before its recurrent products, the same ones in all steps of a sequence. Such a mask is one
number for each row and unit that does not change with time: a state that every step returns as it was. So the language
has a word for it already, and the kernels, the gradient and ragged batches know nothing of dropout.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False
# ruff: noqa: ANN001, ANN201, D103  (equations have symbols for arguments and a paper for a docstring)

from __future__ import annotations

from recurra.cells import cell, product, sigmoid, tanh


@cell(source="Elman 1990; Gal & Ghahramani 2016, A theoretically grounded application of dropout in RNNs, eq. 7")
def rnn_dropped(x, h, m, *, activation=tanh):
    return activation(x.n + product(m * h).n), m


@cell(source="Hochreiter & Schmidhuber 1997; Gal & Ghahramani 2016, eq. 7, with a mask for each gate")
def lstm_dropped(x, h, c, mi, mf, mg, mo, *, activation=tanh, recurrent_activation=sigmoid):
    i = recurrent_activation(x.i + product(mi * h).i)
    f = recurrent_activation(x.f + product(mf * h).f)
    g = activation(x.g + product(mg * h).g)
    o = recurrent_activation(x.o + product(mo * h).o)
    c = f * c + i * g
    return o * activation(c), c, mi, mf, mg, mo


@cell(source="Cho et al. 2014, reset after the product; Gal & Ghahramani 2016, eq. 7, with a mask for each gate")
def gru_dropped(x, h, mr, mz, mn, *, activation=tanh, recurrent_activation=sigmoid):
    r = recurrent_activation(x.r + product(mr * h).r)
    z = recurrent_activation(x.z + product(mz * h).z)
    n = activation(x.n + r * product(mn * h).n)
    return (1 - z) * n + z * h, mr, mz, mn


@cell(source="Cho et al. 2014, reset before the product; Gal & Ghahramani 2016, eq. 7, with a mask for each gate")
def gru_reset_before_dropped(x, h, hr, hz, mr, mz, mn, *, activation=tanh, recurrent_activation=sigmoid):
    # The candidate's operand needs r, so the masked h of the other gates cannot be made in this step: it is carried.
    r = recurrent_activation(x.r + hr.r)
    z = recurrent_activation(x.z + hz.z)
    n = activation(x.n + product(r * (mn * h)).n)
    h = (1 - z) * n + z * h
    return h, mr * h, mz * h, mr, mz, mn
