"""`Items`: sessions of items, which are known by their names alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.sequences import Sequences
from recurra.data.sessions import NextItem, Sessions, read_sessions
from recurra.data.split import Split
from recurra.data.transform import Transform
from recurra.errors import SettingError
from recurra.tasks.inputs import Input

if TYPE_CHECKING:
    from recurra.runtime.model import Model
    from recurra.tasks.base import Task
    from recurra.tasks.live.base import Live
    from recurra.torch import Embedding


@dataclass
class Items(Input):
    """Lists of items, or a long table of users, items and times.

    Attributes:
        embedding: numbers of an item, which its score is made of too.
        dropout: the share of them that is dropped in training.
        forgotten: the share of items taken for unknown in training, so that new ones are met with sense.
        min_count: how often an item comes in training at least; a rarer one is unknown.
        most: items, the most frequent ones.
    """

    embedding: int = 64
    dropout: float = 0.5
    forgotten: float = 0.1
    min_count: int = 1
    most: int | None = None
    name = "items"

    @classmethod
    def takes(cls, X: Any, given: Mapping[str, Any]) -> bool:
        """Whatever its task is given."""
        return True

    def read(self, task: Task, X: Any, **given: Any) -> Sequences:
        """The columns are kept for what is read later."""
        for name, low, high in (("embedding", 1, 4096), ("min_count", 1, 1 << 24)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SettingError(f"reading: {name}={value!r}, expected a whole number from {low} to {high}")
        for name in ("dropout", "forgotten"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(f"reading: {name}={getattr(self, name)!r}, expected a number from 0 to less than 1")
        found, roles = read_sessions(X, given.get("item"), given.get("series"), given.get("time"))
        task.roles, task.columns = roles, found.columns
        return found

    def again(self, task: Task, X: Any, transform: Any, targets: bool, **given: Any) -> Sequences:
        """By the same columns, where there are some."""
        columns = {role: task.roles.get(role) for role in ("item", "series", "time")}
        columns |= {role: given[role] for role in columns if given.get(role) is not None}
        return read_sessions(X, **columns, open_end=not targets)[0]

    def transform(self, task: Task, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """`NextItem`."""
        return NextItem.learn(sequences, splits, self.min_count, self.most)

    def transform_from(self, described: Mapping[str, Any]) -> Transform:
        """`NextItem`."""
        return NextItem.from_dict(described)

    def live(self, task: Task, model: Model, transform: Any) -> Live:
        """`LiveRecommender`."""
        from recurra.tasks.recommendation.live import LiveRecommender

        return LiveRecommender(model, task, transform)

    def table(self, transform: Any) -> Embedding:
        """That of the items, some of which are forgotten in training."""
        from recurra.models.tables import Tables

        return Tables(transform.tables, self.embedding, self.dropout, self.forgotten)

    def pack(self, sequences: Sequence[Any]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The places of all items, and their names."""
        ids = {"ids": np.concatenate([s.ids for s in sequences])}
        return ids, {"symbols": list(sequences[0].symbols), "open": sequences[0].open}

    def unpack(self, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Sequences:
        """See `Input`."""
        cuts = np.cumsum(arrays["lengths"] + (not settings["open"]))[:-1]
        x: Any = tuple(np.split(arrays["ids"], cuts))
        names, symbols = tuple(settings["names"]), list(settings["symbols"])
        return Sessions(names, x, ("item",), None, None, arrays["time"], symbols, settings["open"])

    def cut(self, sequence: Any, end: int) -> dict[str, Any]:
        """See `Input`."""
        return {"ids": sequence.ids[: end + 1]}
