"""`risk_within`: whether something happens within the next h hours of every step, where that is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recurra.data.irregular.reading import Floats, Histories
from recurra.errors import DataError


def risk_within(
    histories: Histories, when: Sequence[float], until: Sequence[float], hours: float
) -> tuple[Histories, list[Floats]]:
    """Targets for a `Classifier`, one for each step at time t: 1 where it happens in (t, t + hours], 0 where it is
    known not to, NaN where watching ended before that can be said (censoring).

    What was measured when it happened, or later, is left out: it would tell.

    Args:
        histories: N of them.
        when: of each the time at which it happened, on the clock of its steps; NaN where it did not.
        until: of each the time at which watching ended.
        hours: how far ahead, in the unit of the times.

    Returns:
        The histories cut, those that have a step left and a target that is known, and their targets.

    Raises:
        DataError: there are more or fewer times than histories, or one ended before it was seen to happen.

    >>> from recurra.data.irregular import read_events
    >>> found = read_events({"t": [0, 5, 9], "v": ["a"] * 3, "x": [1.0, 2.0, 3.0]}, time="t", variable="v", value="x")
    >>> risk_within(found, [np.nan], [10.0], 4.0)[1], risk_within(found, [8.0], [8.0], 4.0)[1]
    ([array([ 0.,  0., nan])], [array([0., 1.])])
    """
    events, ends = np.asarray(when, np.float64), np.asarray(until, np.float64)
    for name, values in (("when", events), ("until", ends)):
        if values.shape != (len(histories),):
            raise DataError(f"{name}: got {values.size} times for {len(histories)} histories, expected one for each")
    if not hours > 0 or np.isnan(ends).any() or (events > ends).any():
        raise DataError("the times: expected hours above 0, and each `until` no earlier than its `when`")
    kept, targets, cut = [], [], []
    for i, (x, event, end) in enumerate(zip(histories.x, events, ends, strict=True)):
        seen = x[x[:, 0] < event] if event == event else x[x[:, 0] <= end]
        t = seen[:, 0]
        happens = (event > t) & (event <= t + hours)
        free = (end >= t + hours) | (event > t + hours)
        target = np.where(happens, 1.0, np.where(free, 0.0, np.nan))
        if np.isfinite(target).any():
            kept.append(i)
            targets.append(target)
            cut.append(seen)
    left = histories.only(kept)
    return Histories(left.names, tuple(cut), left.columns, None, left.groups, left.times, left.met), targets
