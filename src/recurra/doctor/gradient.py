"""How the gradient of the loss travels back through a layer: its norm against the lag, and its rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurra.doctor.walk import Walk, back
from recurra.traces import LayerTrace
from recurra.weights import Array

SMALLEST = 1e-290  # below it float64 holds no logarithm that a rate could be read from


@dataclass(frozen=True)
class Flow:
    """The loss gradient in the states of a layer, against the lag.

    Attributes:
        lags: steps back from the step where the loss last looks at the layer; 0 is that step itself.
        norms: the norm, over rows and states, of the gradient that arrives there from the loss at that step.
        rate: what the norm is multiplied by at each further step back: exp of the slope of its logarithm, by least
            squares over the lags that float64 can hold. NaN where there are fewer than two.
        by_step: the norm of the gradient of the whole loss in the states after each step, in the order of reading.
    """

    lags: list[int]
    norms: list[float]
    rate: float
    by_step: list[float]

    def ratio(self, lag: int) -> float:
        """The norm at a lag (or the largest measured below it), relative to the norm at lag 0. NaN where that is 0."""
        at = max(i for i, k in enumerate(self.lags) if k <= lag)
        return self.norms[at] / self.norms[0] if self.norms and self.norms[0] > 0 else float("nan")

    def reaches(self, share: float) -> int:
        """The last lag before which the norm never fell under this share of the norm at lag 0."""
        below = [k for k, norm in zip(self.lags, self.norms, strict=True) if norm < share * self.norms[0]]
        return min(below, default=self.lags[-1] + 1) - 1


def flow(walk: Walk) -> Flow:
    """Carry the gradient back: that of the last step that the loss looks at, and that of all of them together."""
    trace, looks = walk.trace, last_look(walk.trace)
    ends = [np.array(d) for d in trace.d_state]
    last, whole = list(ends), list(ends)
    norms: list[float] = []
    by_step: list[float] = []
    for t in range(len(trace.x) - 1, -1, -1):
        whole[0] = whole[0] + trace.d_output[t]
        by_step.append(norm(whole))
        if t == looks:
            last[0] = last[0] + trace.d_output[t]
        if t <= looks:
            norms.append(norm(last))
        if t:
            values = walk.values(t)
            whole = back(trace, values, whole)
            last = back(trace, values, last) if t <= looks else last
    lags = np.arange(len(norms))
    return Flow(lags.tolist(), norms, rate_of(lags, np.array(norms)), by_step[::-1])


def last_look(trace: LayerTrace) -> int:
    """The last step, in the order of reading, whose output or state the loss depends on."""
    if any(np.any(d) for d in trace.d_state):
        return len(trace.x) - 1
    return int(max(np.flatnonzero(trace.d_output.any(axis=(1, 2))), default=len(trace.x) - 1))


def norm(arrays: list[Array]) -> float:
    """The Euclidean norm of several arrays together, without overflow."""
    largest = max(float(np.abs(a).max(initial=0.0)) for a in arrays)
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(sum(np.sum((a / largest) ** 2) for a in arrays)))


def rate_of(lags: np.ndarray, norms: np.ndarray) -> float:
    """The factor per step of a norm that grows or decays with the lag."""
    good = np.isfinite(norms) & (norms > SMALLEST)
    good &= np.cumsum(~good) == 0  # up to where it is lost
    if good.sum() < 2:
        return float("nan")
    return float(np.exp(np.polyfit(lags[good], np.log(norms[good]), 1)[0]))
