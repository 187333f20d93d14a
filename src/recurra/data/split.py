"""The parts of data: training, validation, test; of a series in time, or sequence by sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.series import Series
from recurra.errors import DataError

PARTS = ("train", "valid", "test")

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """Where the parts of a series end: rows [begin, train_end), [train_end, valid_end) and [valid_end, end).

    What lies before `begin` is context: it may be read, and nothing is learned from it.

    >>> split = Split(70, 85, 100)
    >>> split.origins("valid", horizon=5), split.part("test")
    ((70, 80), (85, 100))
    """

    train_end: int
    valid_end: int
    end: int
    begin: int = field(default=0, repr=False)

    def part(self, name: str) -> tuple[int, int]:
        """The first row of a part, and the row after its last."""
        edges = (self.begin, self.train_end, self.valid_end, self.end)
        i = PARTS.index(name)
        return edges[i], edges[i + 1]

    def origins(self, name: str, horizon: int) -> tuple[int, int]:
        """The rows of a part from which to forecast: the row and its next `horizon` rows all lie in the part.

        Rows of earlier parts may be read as context, never as a target. Empty (start == stop) where the part is short.
        """
        start, stop = self.part(name)
        return start, max(start, stop - horizon)


def split_by_time(
    series: Sequence[Series],
    parts: tuple[float, float, float] | tuple[Any, Any] = (0.70, 0.15, 0.15),
    *,
    horizon: int = 1,
) -> list[Split]:
    """One split for each series.

    `parts` are three shares, the last of which may be 0, or two times: the first ones of validation and of test. Where
    a column of the table said which part each row is in, that holds.

    Several series are cut at the same two times, so that a test never lies before the training of another series; the
    times are such that the parts have these shares of all rows. Rows that only count are cut series by series.

    Raises:
        DataError: the parts are no shares of one, no series has an origin in each part, or nothing was observed in the
            validation part.

    >>> from recurra.data import as_table, series_of
    >>> split_by_time(series_of(as_table({"y": np.arange(20.0)}), "y"))
    [Split(train_end=14, valid_end=17, end=20)]
    """
    check_horizon(horizon)
    splits, shares = _cut(series, parts)
    _check_parts(splits, horizon, max(one.observed for one in series), shares)
    _check_observed(series, splits)
    return splits


def _cut(series: Sequence[Series], parts: Sequence[Any]) -> tuple[list[Split], list[float]]:
    """The splits, and the shares above 0 where parts are shares."""
    if series[0].edges:
        ends = [[min(edge, one.observed) for edge in one.edges] for one in series]
        return [Split(a, b, one.observed) for (a, b), one in zip(ends, series, strict=True)], []
    if len(parts) == 2:
        return _at_times(series, parts), []
    if len(parts) != 3 or not min(parts[:2]) > 0 <= parts[2] or abs(sum(parts) - 1) > 1e-6:
        raise DataError(
            f"the parts are {parts}, expected three shares whose sum is 1, such as (0.7, 0.15, 0.15), or the two times "
            "at which validation and test begin"
        )
    shares = parts[0], parts[0] + parts[1] if parts[2] else 1.0
    if series[0].columns.time is None or len(series) == 1:
        ends = [[round(share * one.observed) for share in shares] for one in series]
    else:
        ticks = np.sort(np.concatenate([one.ticks[: one.observed] for one in series]))
        cuts = [ticks[min(round(share * len(ticks)), len(ticks) - 1)] if share < 1 else np.inf for share in shares]
        ends = [[int(np.searchsorted(one.ticks[: one.observed], cut)) for cut in cuts] for one in series]
    return [Split(a, b, one.observed) for (a, b), one in zip(ends, series, strict=True)], [
        share for share in parts if share
    ]


def _at_times(series: Sequence[Series], times: Sequence[Any]) -> list[Split]:
    """Validation and test begin at two times of the data's clock."""
    clock = series[0].clock
    try:
        first, second = (clock.read(time) for time in times)
    except (ValueError, OverflowError) as error:
        raise DataError(f"the parts are {times}: {error}") from None
    if first >= second:
        raise DataError(f"the parts are {times}, expected the time at which validation begins before that of test")
    ends = [np.searchsorted(one.ticks[: one.observed], [first, second]) for one in series]
    return [Split(int(a), int(b), one.observed) for (a, b), one in zip(ends, series, strict=True)]


def _check_parts(splits: Sequence[Split], horizon: int, longest: int, shares: Sequence[float]) -> None:
    """Raise DataError where no series has an origin in some part that there is to be."""
    for name in PARTS[: len(shares) or None]:
        if all(len(range(*split.origins(name, horizon))) == 0 for split in splits):
            cure = "choose other times"
            if shares:
                cure = (
                    f"give about {int(np.ceil((horizon + 1) / min(shares)))} rows or more, or a horizon of at most "
                    f"{max(0, int(min(shares) * longest) - 1)}"
                )
            raise DataError(
                f"{longest} rows are too few for a horizon of {horizon}: the {name} part has "
                f"{max(len(range(*s.part(name))) for s in splits)}, expected more than {horizon}: {cure}"
            )


def _check_observed(series: Sequence[Series], splits: Sequence[Split]) -> None:
    """Raise DataError where the validation part has no value to compare forecasts with."""
    parts = [(one, *split.part("valid")) for one, split in zip(series, splits, strict=True)]
    if any(np.isfinite(one.target[start + 1 : stop]).any() for one, start, stop in parts):
        return
    one, start, stop = max(parts, key=lambda part: part[2] - part[1])
    first, last = (one.clock.text(int(one.ticks[row])) for row in (start, stop - 1))
    raise DataError(
        f"the target {one.columns.target!r} has no value in the validation part, {first} to {last}, expected some, "
        "since they say when training has come to its end: choose other parts, or leave these rows out"
    )


def check_horizon(horizon: int) -> None:
    """Raise DataError unless the horizon is a whole number of steps, 1 to 10,000."""
    if isinstance(horizon, bool) or not isinstance(horizon, (int, np.integer)) or not 1 <= horizon <= 10_000:
        raise DataError(f"the horizon is {horizon!r}, expected a whole number of steps from 1 to 10000")


def split_sequences(
    lengths: Sequence[int],
    parts: tuple[float, float, float] | Sequence[str] = (0.70, 0.15, 0.15),
    *,
    groups: Sequence[str] | None = None,
    times: Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> list[Split]:
    """Each sequence in one part, as a split of its steps: `Split(T, T, T)` is wholly in training.

    By time where there are times: what was taken last is the test part. Else at random, with the shares as near as they
    can be within each label. No group is in two parts.

    Args:
        lengths: T of each sequence.
        parts: three shares whose sum is 1, the last of which may be 0; or "train", "valid" or "test" for each sequence.
        groups: what each was taken from.
        times: when each was taken.
        labels: of each, where there are few different ones.
        seed: of the order.

    Raises:
        DataError: the parts are neither, a part would be empty, or a group would be in two of them.

    >>> [s.part("test") for s in split_sequences([5, 5, 4], ["train", "valid", "test"])]
    [(5, 5), (5, 5), (0, 4)]
    """
    count = len(lengths)
    names = [str(i) for i in range(count)] if groups is None else list(groups)
    if len(parts) and isinstance(parts[0], str):
        numbers = _own_parts([str(part) for part in parts], count)
    else:
        shares = np.cumsum(np.asarray(_checked_shares(parts), np.float64))[:2]
        numbers = _by_time(times, shares) if times is not None else _at_random(names, labels, shares, seed)
    first: dict[str, int] = {}
    for i, name in enumerate(names):
        if numbers[first.setdefault(name, i)] != numbers[i]:
            raise DataError(
                f"the group {name!r} is in the {PARTS[numbers[first[name]]]} part with sequence {first[name]} and in "
                f"the {PARTS[numbers[i]]} part with sequence {i}, expected each group in one: give other parts"
            )
    wanted = PARTS[:2] if isinstance(parts[0], str) or parts[2] == 0 else PARTS
    for number, name in enumerate(wanted):
        if number not in numbers:
            raise DataError(
                f"{len(set(names))} {'sequences' if groups is None else 'groups'} are too few for a {name} part, "
                "expected some in each: give more, or other parts"
            )
    pairs = zip(lengths, numbers, strict=True)
    return [Split(T if number == 0 else 0, T if number < 2 else 0, T) for T, number in pairs]


def _checked_shares(parts: Any) -> Sequence[float]:
    try:
        fine = len(parts) == 3 and min(parts[:2]) > 0 <= parts[2] and abs(sum(parts) - 1) < 1e-6
    except TypeError:
        fine = False
    if not fine:
        raise DataError(
            f"the parts are {parts!r}, expected three shares of training, validation and test whose sum is 1, such as "
            "(0.7, 0.15, 0.15), or the name of its part for each sequence"
        )
    checked: Sequence[float] = parts
    return checked


def _own_parts(parts: Sequence[str], count: int) -> list[int]:
    odd = next((part for part in parts if part not in PARTS), None)
    if odd is not None or len(parts) != count:
        got = f"{odd!r}" if odd is not None else f"{len(parts)} names for {count} sequences"
        raise DataError(f"the parts have {got}, expected one of {', '.join(PARTS)} for each sequence")
    return [PARTS.index(part) for part in parts]


def _by_time(times: Sequence[float], shares: Floats) -> list[int]:
    """The earliest in training; what was taken at the same time stays together."""
    order = np.sort(np.asarray(times, np.float64))
    cuts = [order[min(round(share * len(order)), len(order) - 1)] for share in shares]
    ends = [-np.inf, cuts[0], cuts[1] if shares[1] < 1 else np.inf]
    return [int(np.searchsorted(ends[1:], time, "right")) for time in times]


def dealt(groups: Sequence[str], labels: Sequence[str] | None, folds: int, seed: int) -> NDArray[np.int64]:
    """The number of its fold for each sequence, at random; those of a label are spread, and those of a group together.

    >>> sorted(dealt(list("aabbcc"), None, 3, seed=0).tolist())
    [0, 0, 1, 1, 2, 2]

    Raises:
        DataError: there are fewer groups than folds, or none for one of them.
    """
    if len(set(groups)) < folds:
        raise DataError(f"{len(set(groups))} sequences or groups are too few for {folds} folds: take fewer folds")
    found = np.array(_at_random(list(groups), labels, np.arange(1, folds) / folds, seed), np.int64)
    if len(set(found.tolist())) < folds:
        raise DataError(f"labels of fewer than {folds} sequences or groups leave a fold empty: take fewer folds")
    return found


def in_blocks(times: Sequence[float], blocks: int) -> NDArray[np.int64]:
    """The number of its block for each sequence, by time; those of one time are together.

    >>> in_blocks([5, 1, 1, 9, 7, 2], 3).tolist()
    [1, 0, 0, 2, 2, 1]

    Raises:
        DataError: there are fewer times than blocks.
    """
    order = np.sort(np.asarray(times, np.float64))
    cuts = order[[len(order) * k // blocks for k in range(1, blocks)]]
    if len(np.unique(cuts)) < blocks - 1 or cuts[0] == order[0]:
        raise DataError(f"{len(np.unique(order))} different times are too few for {blocks} blocks: take fewer folds")
    return np.searchsorted(cuts, times, "right")


def _at_random(names: Sequence[str], labels: Sequence[str] | None, shares: Floats, seed: int) -> list[int]:
    """Group by group, those of one label (of its first sequence) spread over the parts; or all alike, where a group has
    several labels and that leaves fewer parts empty."""
    label_of: dict[str, str] = {}
    for i, name in enumerate(names):
        label_of.setdefault(name, "" if labels is None else labels[i])
    part_of = _spread(label_of, shares, seed)
    if labels is not None and any(label_of[name] != label for name, label in zip(names, labels, strict=True)):
        alike = _spread(dict.fromkeys(label_of, ""), shares, seed)
        part_of = max(part_of, alike, key=lambda one: len(set(one.values())))
    return [part_of[name] for name in names]


def _spread(label_of: Mapping[str, str], shares: Floats, seed: int) -> dict[str, int]:
    """The part of each group, at random, those of one label in all parts."""
    rng, part_of = np.random.default_rng(seed), dict[str, int]()
    for label in sorted(set(label_of.values())):
        own = [name for name in label_of if label_of[name] == label]
        where = np.searchsorted(shares, (np.arange(len(own)) + 0.5) / len(own))
        part_of |= {own[i]: int(part) for i, part in zip(rng.permutation(len(own)), where, strict=True)}
    return part_of
