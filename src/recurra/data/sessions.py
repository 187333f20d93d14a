"""Sessions: items in the order in which somebody bought, heard or saw them, read, and as rows for a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.times import read_times
from recurra.data.readers import read_table
from recurra.data.sequences import Sequences, is_table
from recurra.data.split import Split
from recurra.data.table import Table, as_table
from recurra.data.text.reading import JSON_ENDINGS, json_lines
from recurra.data.text.vocabulary import Vocabulary
from recurra.data.transform import Transform
from recurra.errors import DataError

SERIES = ("user", "user_id", "userid", "session", "session_id", "customer", "customer_id", "visitor")  # found by name
ITEMS = ("item", "item_id", "itemid", "product", "product_id", "article_id", "movie_id", "track_id", "items")
TIMES = ("time", "timestamp", "date", "datetime", "ts")
REMEMBERED = 256  # the last items of a session that are left out of what is recommended, and that rules see

F32: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Session:
    """The items of one user. Step t has item t, and its target is item t + 1; an open one has a step more.

    Attributes:
        name: of the user.
        ids: the place in `symbols` of each item, int32.
        symbols: every item that came, shared by all sessions that were read together.
        open: whether what follows the last item is asked for.
        group: the name.
        time: of the last item; NaN where nothing was said.
    """

    name: str
    ids: Ids
    symbols: list[str]
    open: bool = False
    group: str = ""
    time: float = float("nan")

    def __len__(self) -> int:
        return len(self.ids) - (not self.open)

    @property
    def target(self) -> NDArray[np.float64]:
        """The place of the next item of each step; NaN where it is not known."""
        found = np.full(len(self), np.nan)
        found[: len(self.ids) - 1] = self.ids[1:]
        return found


@dataclass(frozen=True)
class Sessions(Sequences):
    """What was read: `x` are the places of items in `symbols`, `columns` the item's."""

    symbols: list[str] = field(default_factory=list)
    open: bool = False

    def with_targets(self, targets: Sequence[Any] | None) -> list[Any]:
        """As `Session`."""
        times = self.times if self.times is not None else np.full(len(self), np.nan)
        parts = zip(self.names, self.x, times, strict=True)
        return [Session(n, x.astype(np.int32), self.symbols, self.open, n, float(t)) for n, x, t in parts]


def read_sessions(
    X: Any, item: str | None = None, series: str | None = None, time: str | None = None, *, open_end: bool = False
) -> tuple[Sessions, dict[str, str]]:
    """Sessions from whatever holds them, and the columns that were read, by their roles.

    Args:
        X: a list of lists of items, in the order of time; or a long table, an event a row (a frame, a dict of columns,
            CSV, Parquet, JSON Lines); or one whose cells are lists of items, a session a row.
        item, series, time: columns; found by their names where they have usual ones. Rows are put in the order of
            `time`; those of the same time stay as they are.
        open_end: whether what follows the last item is asked for, so that one item is enough.

    Raises:
        DataError: there are no sessions, an item or a user is missing, or no session is long enough.

    >>> found, _ = read_sessions({"user": ["a", "b", "a"], "item": ["x", "x", "y"]})
    >>> found.symbols, [x.tolist() for x in found.x], found.names
    (['x', 'y'], [[0, 1]], ('a',))
    """
    roles: dict[str, str] = {}
    if is_table(X) or isinstance(X, os.PathLike):
        table = _table(X)
        roles = _roles(table, item, series, time)
        names, lists, times = _of_table(table, roles)
    else:
        names, lists = _of_lists(X)
        times = None
    place: dict[str, int] = {}
    x = [np.array([place.setdefault(i, len(place)) for i in one], np.int64) for one in lists]
    kept = [k for k, one in enumerate(x) if len(one) >= (1 if open_end else 2)]
    if not kept:
        raise DataError(
            "sessions: none has two items, expected a session and what came next: group events by user or day"
        )
    found: Any = tuple(x[k] for k in kept)
    when = None if times is None else times[kept]
    return Sessions(tuple(names[k] for k in kept), found, ("item",), None, None, when, list(place), open_end), roles


def item_name(value: Any) -> str:
    """An item as text; empty where there is none.

    >>> item_name(7.0), item_name(" b "), item_name(None)
    ('7', 'b', '')
    """
    if value is None or value != value:
        return ""
    if isinstance(value, (float, np.floating)) and value == int(value):
        value = int(value)
    return str(value).strip()


def _table(X: Any) -> Table:
    if not isinstance(X, (str, os.PathLike)):
        return as_table(X)
    path = Path(X)
    if path.suffix.lower() in JSON_ENDINGS:
        return json_lines(path.read_bytes(), path.name)
    return read_table(path)


def _roles(table: Table, item: str | None, series: str | None, time: str | None) -> dict[str, str]:
    """The columns by their roles."""
    small = {name.lower(): name for name in reversed(list(table.columns))}
    found = {}
    for role, given, usual in (("item", item, ITEMS), ("series", series, SERIES), ("time", time, TIMES)):
        column = given or next((small[name] for name in usual if name in small), None)
        if column is not None:
            table.require(column, f"column of {role}")
            found[role] = column
    if "item" not in found:
        raise DataError(
            f"{table.source}: no column of items is named, expected one of {', '.join(list(table.columns)[:12])}: give "
            "item"
        )
    return found


def _of_table(table: Table, roles: Mapping[str, str]) -> tuple[list[str], list[list[str]], NDArray[np.float64] | None]:
    column = table.column(roles["item"], "column of items")
    if len(column) and isinstance(column[0], (list, tuple, np.ndarray)):  # a session a row
        names = [str(i) for i in range(len(column))]
        if "series" in roles:
            names = [str(name) for name in table.column(roles["series"])]
        return names, [_items(f"{table.where(k)}", one) for k, one in enumerate(column)], None
    if "series" not in roles:
        raise DataError(
            f"{table.source}: no column of users or sessions is named, expected one of "
            f"{', '.join(list(table.columns)[:12])}: give series"
        )
    at = table.groups(roles["series"])
    ticks = None
    if "time" in roles:
        _, ticks, _ = read_times(table, roles["time"], None, [np.arange(len(column))])
    items = [item_name(cell) for cell in column]
    odd = next((row for row, name in enumerate(items) if not name), None)
    if odd is not None:
        raise DataError(f"{table.where(odd)}: the item {roles['item']!r} is missing, expected one: leave the row out")
    lists, times = [], []
    for rows in at.values():
        order = rows if ticks is None else rows[np.argsort(ticks[rows], kind="stable")]
        lists.append([items[row] for row in order])
        times.append(float("nan") if ticks is None else float(ticks[order[-1]]))
    return list(at), lists, None if ticks is None else np.array(times)


def _of_lists(X: Any) -> tuple[list[str], list[list[str]]]:
    try:
        given = list(X)
    except TypeError:
        raise DataError(f"sessions: got a {type(X).__name__}, expected lists of items, a table or a file") from None
    if not given:
        raise DataError("sessions: there are none, expected at least one")
    return [str(i) for i in range(len(given))], [_items(f"sessions: number {i}", one) for i, one in enumerate(given)]


def _items(where: str, one: Any) -> list[str]:
    """The items of one session."""
    if isinstance(one, (str, bytes)) or not hasattr(one, "__iter__"):
        raise DataError(f"{where} is {str(one)[:40]!r}, expected a list of items")
    found = [item_name(item) for item in one]
    if not all(found):
        raise DataError(f"{where} has an item that is missing, expected names or numbers: leave it out")
    return found


@dataclass(frozen=True)
class NextItem(Transform):
    """The number of each item, one float32 a row, for a network that says which comes next; 0 is one that is not known.

    >>> session = Session("", np.array([0, 1, 0], np.int32), ["a", "b"])
    >>> learned = NextItem.learn([session], [Split(2, 2, 2)])
    >>> learned.rows(session, 0, 2)[:, 0].tolist(), learned.targets(session, 0, 2).tolist()
    ([1.0, 2.0], [2.0, 1.0])
    """

    vocabulary: Vocabulary

    inputs = ("item",)
    input_size = 1
    row_size = 1

    @classmethod
    def learn(
        cls, sessions: Sequence[Session], splits: Sequence[Split], min_count: int = 1, most: int | None = None
    ) -> Self:
        """From the items of the training part.

        Raises:
            DataError: there are fewer than two.
        """
        parts = zip(sessions, splits, strict=True)
        items = (s.symbols[i] for s, split in parts if split.train_end for i in s.ids[: split.train_end + 1])
        vocabulary = Vocabulary.learn(items, min_count, most)
        if len(vocabulary) < 3:
            raise DataError(f"sessions: training has {len(vocabulary) - 1} item, expected at least 2 different ones")
        return cls(vocabulary)

    @property
    def tables(self) -> tuple[int, ...]:  # type: ignore[override]
        """The items that there are."""
        return (len(self.vocabulary),)

    def numbers(self, session: Session, start: int, stop: int) -> F32:
        """The numbers of the items start .. stop - 1."""
        return self.vocabulary.ids([session.symbols[i] for i in session.ids[start:stop]])

    def rows(self, sequence: Session, start: int, stop: int) -> F32:
        """See `Transform`."""
        return self.numbers(sequence, start, stop)[:, None]

    def targets(self, sequence: Session, start: int, stop: int) -> F32:
        """See `Transform`."""
        found = np.full(stop - start, np.nan, np.float32)
        known = self.numbers(sequence, start + 1, stop + 1)
        found[: len(known)] = known
        return found

    def live(self, name: str = "") -> LiveItems:
        """See `Transform`."""
        return LiveItems(self)

    def to_dict(self) -> dict[str, Any]:
        """See `Transform`."""
        return {"input": "items", "vocabulary": self.vocabulary.to_dict()}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """See `Transform`."""
        try:
            return cls(Vocabulary.from_dict(described["vocabulary"]))
        except (KeyError, TypeError) as error:
            raise DataError(f"the model's items are unreadable ({error}): save the model again") from None


class LiveItems:
    """The last items of a session by their numbers, and the last output of the network, a query [E]."""

    def __init__(self, transform: NextItem) -> None:
        self.transform = transform
        self.ids: Ids = np.zeros(0, np.int32)
        self.query: F32 = np.zeros(0, np.float32)

    def push(self, x: Any) -> F32:
        """The row [1] of an item's name."""
        row = self.transform.vocabulary.ids([x])
        self.ids = np.append(self.ids, np.int32(row[0]))[-REMEMBERED:]
        return row

    def state(self) -> dict[str, NDArray[Any]]:
        """See `LiveTransform`."""
        return {"ids": self.ids.astype(np.int64), "query": self.query.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `LiveTransform`."""
        ids, query = np.asarray(state["ids"]), np.asarray(state["query"])
        if (
            query.ndim != 1
            or ids.ndim != 1
            or len(ids) > REMEMBERED
            or ((ids < 0) | (ids >= self.transform.tables[0])).any()
        ):
            raise DataError("the state of a session is of other items")
        self.ids, self.query = ids.astype(np.int32), query.astype(np.float32)
