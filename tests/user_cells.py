"""Three cells as users write them: what the zoo does not have."""

from __future__ import annotations

from recurra.cells import cell, erf, exp, hard_sigmoid, maximum, product, sigmoid, softplus, tanh, where


@cell(source="tests: two states and per-unit parameters")
def adaptive(x, h, a, *, p):
    f = sigmoid(x.f + h.f + p.f * a)
    n = tanh(x.n + h.n - p.n * a)
    h = f * h + (1 - f) * n
    return h, sigmoid(p.decay) * a + 0.2 * h * h


@cell(source="tests: a second product, branches and activations that the zoo does not use")
def branching(x, h):
    z = hard_sigmoid(x.z + h.z)
    s = softplus(x.s - h.s)
    v = x.n + product(z * h).n
    n = 0.5 * v * (1 + erf(v * 0.7071067811865476))
    m = maximum(tanh(x.m), where(x.s > h.z, 0.3 * h, tanh(n)))
    return (z * h + (1 - z) * m) / (1 + exp(-s))


@cell(source="tests: two states with a recurrent product each, and a bare parameter")
def entangled(x, h, c, *, a):
    u = tanh(x.u + h.u + c.v)
    w = sigmoid(x.w + c.w)
    return w * h + (1 - w) * u, tanh(a * c + u * h)


CELLS = (adaptive, branching, entangled)
