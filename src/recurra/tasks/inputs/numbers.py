"""`Numbers`: sequences of numbers, standardized; what is missing is flagged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.data.leakage import check_shared_steps
from recurra.data.sequences import Sequences, is_table, read_sequences
from recurra.data.split import Split
from recurra.data.transform import Standardize, Transform
from recurra.errors import DataError
from recurra.tasks.inputs import Input

if TYPE_CHECKING:
    from recurra.runtime.model import Model
    from recurra.tasks.base import Task
    from recurra.tasks.bench import Bench
    from recurra.tasks.live.base import Live


@dataclass
class Numbers(Input):
    """Numbers at each step, from whatever `read_sequences` takes."""

    name = "numbers"

    @classmethod
    def takes(cls, X: Any, given: Mapping[str, Any]) -> bool:
        """Anything: what is none is said when it is read."""
        return True

    def read(self, task: Task, X: Any, **given: Any) -> Sequences:
        """The columns and their roles are kept for what will be read later."""
        found = read_sequences(X, **given)
        task.columns = found.columns
        given_names = {role: given.get(role) for role in ("series", "time", "y", "groups")}
        task.roles = {role: name for role, name in given_names.items() if isinstance(name, str)}
        return found

    def again(self, task: Task, X: Any, transform: Any, targets: bool, **given: Any) -> Sequences:
        """Of the same width."""
        if is_table(X):
            wanted = ("series", "time", "y") if targets else ("series", "time")
            given = {role: name for role, name in task.roles.items() if role in wanted} | given
        found = read_sequences(X, columns=transform.inputs, **given)
        width, expected = found.x[0].shape[1], len(transform.inputs)
        if width != expected:
            raise DataError(
                f"sequences: they have {width} numbers a step, expected {expected} as in training: "
                f"{', '.join(transform.inputs[:12])}"
            )
        return found

    def transform(self, task: Task, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """`Standardize`."""
        return Standardize.fit(sequences, splits, task.columns)

    def transform_from(self, described: Mapping[str, Any]) -> Transform:
        """`Standardize`."""
        return Standardize.from_dict(described)

    def live(self, task: Task, model: Model, transform: Any) -> Live:
        """`LiveSequences`."""
        from recurra.tasks.live.sequences import LiveSequences

        return LiveSequences(model, task, transform)

    def pack(self, sequences: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Their numbers one after the other."""
        return {"x": np.concatenate([s.x for s in sequences])}, {}

    def unpack(self, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Sequences:
        """See `Input`."""
        x = np.split(arrays["x"], np.cumsum(arrays["lengths"])[:-1])
        return Sequences(tuple(settings["names"]), tuple(x), (), None, list(settings["groups"]), arrays["time"])

    def suspicions(self, bench: Bench) -> list[str]:
        """Sequences cut from one recording on both sides of a split."""
        check_shared_steps([s.x for s in bench.sequences], bench.splits)
        return []
