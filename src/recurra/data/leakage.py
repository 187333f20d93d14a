"""Guards against data that tell a model what it is to predict.

Some leaks cannot happen: parts are split by time (or by sequence and group), an origin whose targets lie in two parts
belongs to none, scales and seasons are learned from the training part, and tuning runs on a copy without the test part.
The others are looked for here: a column that is the target shifted or in disguise, one that is known only afterwards,
rows out of order, a column that is the label, and sequences cut from one recording on both sides of a split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.series import Series
from recurra.data.split import PARTS, Split
from recurra.errors import LeakageError

Array: TypeAlias = NDArray[Any]

CERTAIN, SUSPICIOUS = 0.95, 0.7  # partial correlation with the future, given the target's own past
ROWS = 6_000  # of training that are looked at
SHIFTS = 512  # the longest shift that is looked for
SHARED = 0.05  # the share of test sequences that may have a run of steps in common with training sequences
NOISE = 0.01  # of a column's variance, the share within sequences up to which it is one number for each


def check_columns(series: Sequence[Series], splits: Sequence[Split], horizon: int, seasons: Sequence[int]) -> list[str]:
    """What is suspicious, in words.

    A past column at t is compared with targets after t; a known-ahead column, whose value for t + N is known at t, with
    targets up to N steps before it too. What the target's own past explains is taken out of both, and both are ranked,
    so that a scale, a shift or any rising function is no disguise.

    Raises:
        LeakageError: a column is the target in disguise.
    """
    longest = int(np.argmax([split.train_end for split in splits]))
    one, end = series[longest], splits[longest].train_end
    target = one.target[max(0, end - ROWS) : end]
    found = []
    if _is_noise(target):
        found.append(
            f"the rows of {one.columns.target} follow one another as if in random order: if they were shuffled, sort "
            "them by time; if not, nothing can forecast them"
        )
    groups = ((one.columns.past, one.past, 1), (one.columns.ahead, one.ahead, 1 - horizon))
    for names, values, first in groups:
        for name, column in zip(names, values.T, strict=True):
            shifts = range(max(first, -SHIFTS), min(horizon, SHIFTS) + 1)
            shift, r = _strongest(target, column[max(0, end - ROWS) : end], shifts, seasons)
            if r > CERTAIN:
                raise LeakageError(
                    f"the column {name!r} is the target {one.columns.target!r} {_moved(shift)}, in disguise "
                    f"(correlation {r:.3f} beyond what the target's past explains): leave it out, or move it to when "
                    "it is known"
                )
            r = max(r, _afterwards(target, column[max(0, end - ROWS) : end], horizon, seasons) if first == 1 else 0.0)
            if r > SUSPICIOUS:
                found.append(
                    f"the column {name!r} tells more of the future of {one.columns.target} than columns usually do "
                    f"(correlation {r:.2f} beyond what the target's past explains): is it really known by then?"
                )
    return found


def _moved(shift: int) -> str:
    return "of the same time" if shift == 0 else f"{abs(shift)} rows {'later' if shift > 0 else 'earlier'}"


def _is_noise(target: Array) -> bool:
    """Whether no value tells of the next ones: all early autocorrelations are what chance gives."""
    y = target[np.isfinite(target)]
    if len(y) < 50 or y.std() == 0:
        return False
    z = (y - y.mean()) / y.std()
    most = max(abs(float((z[k:] * z[:-k]).mean())) for k in range(1, 21))
    return bool(most < 3.5 / np.sqrt(len(z)))


def _strongest(target: Array, column: Array, shifts: range, seasons: Sequence[int]) -> tuple[int, float]:
    """The shift k at which column[t] and target[t + k] go together most, and their partial correlation."""
    best = (0, 0.0)
    for k in shifts:
        y, c = (target[k:], column[: len(column) - k]) if k >= 0 else (target[:k], column[-k:])
        past = _past(target, seasons)[max(k, 0) : len(target) + min(k, 0)]
        r = _partial(y, c, past)
        if r > best[1]:
            best = (k, r)
    return best


def _afterwards(target: Array, column: Array, horizon: int, seasons: Sequence[int]) -> float:
    """The strongest partial correlation of a past column with means of the target to come: what a daily mean has."""
    best, sums = 0.0, np.concatenate([[0.0], np.cumsum(np.nan_to_num(target, nan=float(np.nanmean(target))))])
    for n in {max(2, horizon // 4), max(2, horizon // 2), max(2, horizon)}:
        if len(target) <= 2 * n:
            continue
        mean = (sums[n + 1 :] - sums[1:-n]) / n  # of rows t + 1 to t + n
        now = np.stack([target[:-n], *_past(target, seasons)[:-n].T], 1)
        best = max(best, _partial(mean, column[:-n], now))
    return best


def _past(target: Array, seasons: Sequence[int]) -> Array:
    """What was known of the target just before each row: the last two values, and one season ago. [T, lags]"""
    lags = [1, 2, *(s for s in seasons if 2 < s < len(target) // 2)]
    return np.stack([np.concatenate([np.full(k, np.nan), target[:-k]]) for k in lags], 1)


def _partial(y: Array, c: Array, past: Array) -> float:
    """The absolute correlation of ranks of y and c [T], after what `past` [T, lags] explains of each."""
    there = np.isfinite(y) & np.isfinite(c) & np.isfinite(past).all(1)
    if there.sum() < 30 or np.ptp(c[there]) == 0:
        return 0.0
    X = np.stack([np.ones(int(there.sum())), *(_ranks(p) for p in past[there].T)], 1)
    both = np.stack([_ranks(y[there]), _ranks(c[there])], 1)
    rest = both - X @ np.linalg.lstsq(X, both, rcond=None)[0]
    spread = rest.std(0)
    if (spread < 1e-9).any():
        return 0.0
    return abs(float((rest[:, 0] * rest[:, 1]).mean() / (spread[0] * spread[1])))


def _ranks(values: Array) -> Array:
    """0 to 1 in the order of values; equal values have the same."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    ranks: Array = middle[place] / len(values)
    return ranks


def check_shared_steps(raw: Sequence[Array], splits: Sequence[Split]) -> None:
    """See that the parts share no stretch of a recording.

    Args:
        raw: sequences [T, I].
        splits: of each; one is wholly in one part.

    Raises:
        LeakageError: they do.
    """
    part = np.array([next(k for k, name in enumerate(PARTS) if np.ptp(split.part(name))) for split in splits])
    length = _telling(raw)
    train = {run for i in np.flatnonzero(part == 0) for run in _runs(raw[i], length)}
    for number, name in ((1, "validation"), (2, "test")):
        rows = np.flatnonzero(part == number)
        shared = [i for i in rows if any(run in train for run in _runs(raw[i], length))]
        if len(shared) > max(1, SHARED * len(rows)):
            raise LeakageError(
                f"{len(shared)} of {len(rows)} {name} sequences have steps in common with training sequences (number "
                f"{shared[0]} is the first), as windows that overlap do: give `groups`, with what each was cut from"
            )


def check_constant_columns(raw: Sequence[Array], y: Array) -> None:
    """A column that is one number for each sequence, by which the labels can be told, is the label.

    Raises:
        LeakageError: there is one.
    """
    rows = np.concatenate(raw)
    for k in range(rows.shape[1]):
        with np.errstate(invalid="ignore"):
            means = np.array([np.nanmean(s[:, k]) if np.isfinite(s[:, k]).any() else np.nan for s in raw])
            within = np.nanmean([np.nanvar(s[:, k]) if np.isfinite(s[:, k]).any() else np.nan for s in raw])
        total = float(np.nanvar(rows[:, k]))
        if not total > 0 or within > NOISE * total or np.isnan(means).any():
            continue
        spans = sorted((means[y == label].min(), means[y == label].max()) for label in np.unique(y))
        if all(before[1] < after[0] for before, after in pairwise(spans)):
            raise LeakageError(
                f"column {k} is one number in each sequence, and it tells the label: it is the label in disguise; "
                "leave it out"
            )


def _telling(raw: Sequence[Array]) -> int:
    """How many steps in a row two recordings do not share by chance: twice what independent steps would need."""
    rows = np.concatenate(raw)
    _, counts = np.unique(rows, axis=0, return_counts=True)
    same = float((counts.astype(np.float64) ** 2).sum()) / len(rows) ** 2  # the chance that two steps are equal
    if same > 1 - 1e-6:
        return len(rows) + 1
    return max(3, int(np.ceil(2 * np.log(1000.0 * len(rows) ** 2) / -np.log(same))))


def _runs(s: Array, length: int) -> Iterator[bytes]:
    """Stretches of so many steps that are not all one value."""
    changing = np.concatenate([[False], (np.diff(s, axis=0) != 0).any(1)])
    for t in range(len(s) - length + 1):
        if changing[t + 1 : t + length].any():
            yield np.ascontiguousarray(s[t : t + length]).tobytes()
