"""The zoo: the equations of the built-in cells, each with its paper, and nothing else."""

from __future__ import annotations

from recurra.cells.symbols import exp, product, relu, sigmoid, softplus, sqrt, tanh, where
from recurra.cells.trace import cell, shelve

# ruff: noqa: ANN001, ANN201, D103  (equations have symbols for arguments and a paper for a docstring)


@cell(source="Elman 1990, Finding structure in time")
def rnn(x, h, *, activation=tanh):
    return activation(x.n + h.n)


@cell(source="Hochreiter & Schmidhuber 1997; Gers et al. 2000, eqs. 2-8, with the forget gate")
def lstm(x, h, c, *, activation=tanh, recurrent_activation=sigmoid):
    i = recurrent_activation(x.i + h.i)
    f = recurrent_activation(x.f + h.f)
    g = activation(x.g + h.g)
    o = recurrent_activation(x.o + h.o)
    c = f * c + i * g
    return o * activation(c), c


@cell(source="Gers, Schraudolph & Schmidhuber 2002, Learning precise timing with LSTM, eqs. 8-14")
def lstm_peephole(x, h, c, *, p, activation=tanh, recurrent_activation=sigmoid):
    i = recurrent_activation(x.i + h.i + p.i * c)
    f = recurrent_activation(x.f + h.f + p.f * c)
    g = activation(x.g + h.g)
    c = f * c + i * g
    o = recurrent_activation(x.o + h.o + p.o * c)
    return o * activation(c), c


@cell(source="Greff et al. 2017, LSTM: a search space odyssey, variant CIFG: f = 1 - i")
def lstm_coupled(x, h, c, *, activation=tanh, recurrent_activation=sigmoid):
    i = recurrent_activation(x.i + h.i)
    g = activation(x.g + h.g)
    o = recurrent_activation(x.o + h.o)
    c = (1 - i) * c + i * g
    return o * activation(c), c


@cell(source="Sak, Senior & Beaufays 2014, eqs. 1-6, without peepholes; h is the projection of m")
def lstm_projected(x, h, c, *, activation=tanh, recurrent_activation=sigmoid):
    i = recurrent_activation(x.i + h.i)
    f = recurrent_activation(x.f + h.f)
    g = activation(x.g + h.g)
    o = recurrent_activation(x.o + h.o)
    c = f * c + i * g
    m = o * activation(c)
    return product(m).h, c


@cell(source="Cho et al. 2014, eqs. 5-8; the reset gate applied after the recurrent product")
def gru(x, h, *, activation=tanh, recurrent_activation=sigmoid):
    r = recurrent_activation(x.r + h.r)
    z = recurrent_activation(x.z + h.z)
    n = activation(x.n + r * h.n)
    return (1 - z) * n + z * h


@cell(source="Cho et al. 2014, eqs. 5-8; the reset gate applied before the recurrent product")
def gru_reset_before(x, h, *, activation=tanh, recurrent_activation=sigmoid):
    r = recurrent_activation(x.r + h.r)
    z = recurrent_activation(x.z + h.z)
    n = activation(x.n + product(r * h).n)
    return (1 - z) * n + z * h


@cell(source="Zhou et al. 2016, Minimal gated unit for recurrent neural networks, eqs. 9-11")
def mgu(x, h, *, activation=tanh, recurrent_activation=sigmoid):
    f = recurrent_activation(x.f + h.f)
    n = activation(x.n + product(f * h).n)
    return (1 - f) * h + f * n


@cell(source="Li et al. 2018, Independently recurrent neural network, eq. 3")
def indrnn(x, h, *, u, activation=relu):
    return activation(x.n + u * h)


@cell(source="Feng et al. 2024, Were RNNs all we needed?, section 3.1.3")
def mingru(x, h, *, recurrent_activation=sigmoid):
    z = recurrent_activation(x.z)
    return (1 - z) * h + z * x.n


@cell(source="Feng et al. 2024, Were RNNs all we needed?, section 3.2.4")
def minlstm(x, h, *, recurrent_activation=sigmoid):
    f = recurrent_activation(x.f)
    i = recurrent_activation(x.i)
    total = f + i
    return f / total * h + i / total * x.n


@cell(source="Collins, Sohl-Dickstein & Sussillo 2017, Capacity and trainability in RNNs, eq. 10 (UGRNN)")
def ugrnn(x, h, *, activation=tanh, recurrent_activation=sigmoid):
    g = recurrent_activation(x.g + h.g)
    n = activation(x.n + h.n)
    return g * h + (1 - g) * n


@cell(source="Che et al. 2018, Recurrent neural networks for multivariate time series with missing values, eqs. 3-4")
def input_decay(x, value, seen, since, *, w, v):
    return value * where(seen > 0.5, 1, exp(-relu(w * since + v))), seen, since


@cell(source="Che et al. 2018 (GRU-D), eqs. 3-9; the reset gate applied after the product", inputs=input_decay)
def gru_d(x, h, *, activation=tanh, recurrent_activation=sigmoid):
    kept = exp(-relu(x.k)) * h
    r = recurrent_activation(x.r + product(kept).r)
    z = recurrent_activation(x.z + product(kept).z)
    n = activation(x.n + r * product(kept).n)
    return (1 - z) * n + z * kept


@cell(source="De et al. 2024, Griffin, eqs. 1-4 (RG-LRU), with the input projected to the units")
def rg_lru(x, h, *, decay, recurrent_activation=sigmoid):
    r = recurrent_activation(x.r)
    i = recurrent_activation(x.i)
    a = exp(-8 * softplus(-decay) * r)  # sigmoid(decay) to the power of 8 r
    return a * h + sqrt(1 - a * a) * (i * x.n)


@cell(source="Danieli et al. 2025, ParaRNN, the GRU with diagonal recurrent weights (ParaGRU)")
def gru_diagonal(x, h, *, u, activation=tanh, recurrent_activation=sigmoid):
    z = recurrent_activation(x.z + u.z * h)
    r = recurrent_activation(x.r + u.r * h)
    n = activation(x.n + u.n * (r * h))
    return (1 - z) * h + z * n


@cell(source="Danieli et al. 2025, ParaRNN, the LSTM with diagonal recurrent weights and i = 1 - f (ParaLSTM)")
def lstm_diagonal(x, h, c, *, u, p, activation=tanh, recurrent_activation=sigmoid):
    f = recurrent_activation(x.f + u.f * h + p.f * c)
    g = activation(x.g + u.g * h)
    c = f * c + (1 - f) * g
    o = recurrent_activation(x.o + u.o * h + p.o * c)
    return o * activation(c), c


rnn_relu = rnn(activation=relu)

shelve(rnn, rnn_relu, lstm, lstm_peephole, lstm_coupled, lstm_projected, gru, gru_reset_before)
shelve(mgu, indrnn, mingru, minlstm, ugrnn, gru_d, rg_lru, gru_diagonal, lstm_diagonal)
