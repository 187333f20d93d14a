"""Labelled sequences as they are given: read, checked, split by groups, imputed and scaled by the training part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.compare.classify import Labelled
from recurra.compare.leakage import check_sequences
from recurra.compare.problem import PARTS, Array
from recurra.errors import CompareError, ShapeError

SHARES = (0.70, 0.15, 0.15)  # of training, validation and test


def labelled(
    x: Any,
    y: Any,
    *,
    test: tuple[Any, Any] | None = None,
    groups: Sequence[Any] | None = None,
    seed: int = 0,
) -> Labelled:
    """Split, impute and scale labelled sequences; all that is learned is learned from the training part.

    Args:
        x: an array [n, T, I] or [n, T], or a list of arrays [T, I] or [T] of any lengths.
        y: n labels: numbers or text.
        test: other sequences and labels, which are then the test part; else a share of x is.
        groups: for each sequence what it was taken from (a recording, a person): no group is on both sides of a split.
        seed: of the split.

    Raises:
        ShapeError, CompareError: sequences, labels or groups do not fit one another, or are too few.
        LeakageError: a channel is the label, or the test part repeats steps of the training part.
    """
    raw, names = _sequences(x), _labels(y)
    if len(raw) != len(names):
        raise ShapeError(f"labels: got {len(names)} for {len(raw)} sequences, expected one for each")
    parts = _split(names, _groups(groups, len(raw)), test is None, seed)
    if test is not None:
        more, more_names = _sequences(test[0]), _labels(test[1])
        if len(more) != len(more_names) or not more:
            raise ShapeError(f"test: got {len(more_names)} labels for {len(more)} sequences, expected one for each")
        raw, names = raw + more, names + more_names
        parts = np.concatenate([parts, np.full(len(more), PARTS.index("test"), parts.dtype)])
    _check_channels(raw)
    labels = sorted(set(names), key=_natural)
    if len(labels) < 2:
        raise CompareError(f"labels: all are {labels[0]!r}, expected at least two different ones")
    number = {label: k for k, label in enumerate(labels)}
    y_numbers = np.array([number[name] for name in names], np.int64)
    unseen = sorted({names[i] for i in np.flatnonzero(parts > 0)} - {names[i] for i in np.flatnonzero(parts == 0)})
    if unseen:
        raise CompareError(
            f"labels: {unseen[0]!r} is not in the training part, expected every label there: get more data"
        )
    mean, scale, flagged = _learn([raw[i] for i in np.flatnonzero(parts == 0)])
    check_sequences(raw, y_numbers, parts)
    x_scaled = tuple(_scaled(s, mean, scale, flagged) for s in raw)
    return Labelled(x_scaled, y_numbers, tuple(labels), parts, mean, scale, flagged)


def _sequences(x: Any) -> list[Array]:
    if isinstance(x, np.ndarray) and x.dtype != object and x.ndim not in (2, 3):
        raise ShapeError(f"sequences: the array has shape {x.shape}, expected [n, T, channels] or [n, T]")
    found = []
    for i, one in enumerate(x):
        try:
            array = np.asarray(one, np.float64)
        except (TypeError, ValueError):
            raise ShapeError(f"sequences: number {i} is no array of numbers, expected [T, channels] or [T]") from None
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or 0 in array.shape:
            raise ShapeError(
                f"sequences: number {i} has shape {array.shape}, expected [T, channels] with at least 1 step"
            )
        if np.isinf(array).any():
            raise ShapeError(
                f"sequences: number {i} has an infinite value, expected numbers, or NaN where one is missing"
            )
        found.append(array)
    return found


def _check_channels(raw: list[Array]) -> None:
    odd = next((i for i, s in enumerate(raw) if s.shape[1] != raw[0].shape[1]), None)
    if odd is not None:
        raise ShapeError(
            f"sequences: number {odd} has {raw[odd].shape[1]} channels, expected {raw[0].shape[1]} as the first: "
            "sequences are [T, channels], so transpose those that are [channels, T]"
        )


def _labels(y: Any) -> list[str]:
    names = [str(v) for v in np.asarray(y).ravel().tolist()]
    if any(name in ("nan", "None", "") for name in names):
        raise CompareError("labels: some are missing, expected one for each sequence: leave those sequences out")
    return names


def _natural(label: str) -> tuple[int, float, str]:
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def _groups(groups: Sequence[Any] | None, count: int) -> Array:
    if groups is None:
        return np.arange(count)
    if len(groups) != count:
        raise ShapeError(f"groups: got {len(groups)} for {count} sequences, expected one for each")
    return np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]


def _split(names: list[str], groups: Array, with_test: bool, seed: int) -> Array:
    """0, 1 or 2 for each sequence; within each label (the first of a group) the shares are as near as they can be."""
    if len(names) < 10:
        raise CompareError(f"sequences: got {len(names)}, expected at least 10 to train, validate and test with")
    rng = np.random.default_rng(seed)
    parts = np.zeros(len(names), np.int8)
    first = {g: names[i] for i, g in reversed(list(enumerate(groups)))}
    ends = np.cumsum(SHARES) if with_test else np.array([SHARES[0] / (SHARES[0] + SHARES[1]), 1.0, 1.0])
    for label in sorted(set(first.values())):
        own = rng.permutation([g for g, name in first.items() if name == label])
        where = np.searchsorted(ends[:2], (np.arange(len(own)) + 0.5) / len(own))
        for g, part in zip(own, where, strict=True):
            parts[groups == g] = part
    for part in range(3 if with_test else 2):
        if not (parts == part).any():
            raise CompareError(f"sequences: too few for a {PARTS[part]} part, expected some of each label (and group)")
    return parts


def _learn(raw: list[Array]) -> tuple[Array, Array, tuple[int, ...]]:
    rows = np.concatenate(raw)
    missing = np.isnan(rows)
    if missing.all(0).any():
        raise CompareError(f"sequences: channel {int(missing.all(0).argmax())} has no value in training: leave it out")
    mean, scale = np.nanmean(rows, 0), np.nanstd(rows, 0)
    return mean, np.where(scale > 0, scale, 1.0), tuple(int(k) for k in np.flatnonzero(missing.any(0)))


def _scaled(s: Array, mean: Array, scale: Array, flagged: tuple[int, ...]) -> Array:
    z = (s - mean) / scale
    flags = np.isnan(z)[:, list(flagged)]
    filled: Array = np.concatenate([np.where(np.isnan(z), 0.0, z), flags], 1)
    return filled.astype(np.float32)
