"""The state-to-state Jacobian of a layer: its spectrum at some steps, and Lyapunov exponents over a sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurra import reference
from recurra.doctor.walk import Values, Walk, apart, back, joined
from recurra.weights import Array

EXPONENTS = 4  # how many of the largest
ROWS = 2  # sequences that exponents are averaged over
STEPS = 5  # whose spectrum is taken
MOST_STATES = 512  # a spectrum takes S^3 operations
TINY = 1e-300
SETTLING = 0.25  # the share of the steps in which the directions turn to where they grow most; not counted


@dataclass(frozen=True)
class Spectrum:
    """How one step changes the states, seen through its Jacobian d states after / d states before, [S, S].

    Attributes:
        exponents: the largest Lyapunov exponents, from the largest down, per step: natural logarithms of the factor by
            which a small difference of the states grows at a step. Above 0 states run apart, below 0 they forget.
        radius: the median, over some steps, of the largest absolute eigenvalue; NaN where there are too many states.
        largest: the median of the largest singular value.
        eigenvalues: (real, imaginary) of one step in the middle of a sequence.
    """

    exponents: list[float]
    radius: float
    largest: float
    eigenvalues: list[tuple[float, float]]


def spectrum(walk: Walk) -> Spectrum:
    """Both measures, on the first rows of a run."""
    exponents = _exponents(walk)
    if sum(s.shape[-1] for s in walk.trace.begin) > MOST_STATES:
        return Spectrum(exponents, float("nan"), float("nan"), [])
    steps = sorted({int(t) for t in np.linspace(0, len(walk.trace.x) - 1, STEPS)})
    eigenvalues, largest = [], []
    for t in steps:
        J = jacobian(walk, t, 0)
        eigenvalues.append(np.linalg.eigvals(J))
        largest.append(np.linalg.norm(J, 2))
    middle = eigenvalues[len(eigenvalues) // 2]
    return Spectrum(
        exponents,
        float(np.median([np.abs(e).max() for e in eigenvalues])),
        float(np.median(largest)),
        [(float(e.real), float(e.imag)) for e in middle],
    )


def jacobian(walk: Walk, step: int, row: int) -> Array:
    """d states after / d states before, [S, S], of one row at one step."""
    S = sum(s.shape[-1] for s in walk.trace.begin)
    return joined(back(walk.trace, _rows(walk, step, slice(row, row + 1)), apart(walk.trace, np.eye(S))))


def _exponents(walk: Walk) -> list[float]:
    """By QR: directions are carried through the transposed Jacobians, from the last step to the first.

    The product of the transposed has the singular values of the product itself, and a vector times a Jacobian is what
    the equations' own chain rule gives. The mean over the first rows.
    """
    trace = walk.trace
    T, S, rows = len(trace.x), sum(s.shape[-1] for s in trace.begin), min(trace.x.shape[1], ROWS)
    count = min(S, EXPONENTS)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((rows, S, count)))[0]
    logs = np.zeros((T, rows, count))
    for t in range(T - 1, -1, -1):
        values = {n: np.repeat(v, count, axis=0) for n, v in _rows(walk, t, slice(rows)).items()}
        seeds = np.ascontiguousarray(Q.mT).reshape(rows * count, S)
        carried = joined(back(trace, values, apart(trace, seeds))).reshape(rows, count, S)
        if not np.isfinite(carried).all():
            return [float("nan")] * count
        Q, R = np.linalg.qr(carried.mT)
        logs[t] = np.log(np.maximum(np.abs(np.diagonal(R, axis1=1, axis2=2)), TINY))
    counted = logs[: max(1, round(T * (1 - SETTLING)))].mean(axis=(0, 1))
    return sorted(counted.tolist(), reverse=True)


def _rows(walk: Walk, step: int, rows: slice) -> Values:
    """The nodes of a step of some rows alone."""
    trace, before = walk.trace, [s[rows] for s in walk.states[step]]
    return reference.step(trace.cell, trace.weights, trace.x[step, rows], before)
