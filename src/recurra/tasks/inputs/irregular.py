"""`Irregular`: histories of events at irregular times, as `recurra.data.irregular.read_events` reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.data.irregular import Histories, IrregularRows, read_event_table
from recurra.data.sequences import Sequences
from recurra.data.split import Split
from recurra.data.transform import Transform
from recurra.errors import DataError, LeakageError
from recurra.tasks.calibration import auroc
from recurra.tasks.inputs import Input

if TYPE_CHECKING:
    from recurra.runtime.model import Model
    from recurra.tasks.base import Task
    from recurra.tasks.bench import Bench, ModelPredictor
    from recurra.tasks.live.base import Live

TELLS = 0.99  # the area under the curve from which on a variable is the outcome
OFTEN = 0.5  # the share of histories that have it


@dataclass
class Irregular(Input):
    """Events at irregular times.

    Attributes:
        summaries: whether rows have the mean, the least and the greatest value of each variable so far.
        forgotten: the share of variables that training takes for never measured, others in each epoch.
        unknown, positive, leave_out: as `recurra.data.irregular.read_events` takes them, where it is to read.
    """

    summaries: bool = True
    forgotten: float = 0.0
    unknown: Sequence[float] = ()
    positive: Sequence[str] = ()
    leave_out: Sequence[str] = ()
    name = "irregular"

    @classmethod
    def takes(cls, X: Any, given: Mapping[str, Any]) -> bool:
        """`Histories`, and what holds events: tables, folders, archives, of which the columns of events are named."""
        return isinstance(X, Histories) or given.get("events") is not None

    def read(self, task: Task, X: Any, **given: Any) -> Sequences:
        """They are read where they are none yet; targets and groups are added."""
        events, roles = given.pop("events", None), {}
        if not isinstance(X, Histories):
            roles = _roles(events, given)
            X, given = self._histories(X, roles, given), {}
        task.columns, task.roles = X.columns, {role: name for role, name in roles.items() if isinstance(name, str)}
        return _given(X, **given)

    def _histories(self, X: Any, roles: Mapping[str, Any], given: Mapping[str, Any]) -> Histories:
        how: dict[str, Any] = {"unknown": self.unknown, "positive": self.positive, "leave_out": self.leave_out}
        return read_event_table(X, **roles, **how, variables=given.get("columns"))

    def again(self, task: Task, X: Any, transform: Any, targets: bool, **given: Any) -> Sequences:
        """Of the same variables, in any order; others are left out, and one that there is not was never measured."""
        if not isinstance(X, Histories):
            if "variable" not in task.roles:
                raise DataError(
                    f"sequences: got a {type(X).__name__}, but the model was fitted to events, expected what "
                    "recurra.data.irregular.read_events gives"
                )
            roles = {role: name for role, name in task.roles.items() if targets or role not in ("y", "groups")}
            given = {role: given[role] for role in ("y", "series") if given.get(role) is not None}
            X, given = self._histories(X, roles | given, {}), {}
        at = {name: k for k, name in enumerate(X.columns)}
        if not set(transform.variables) & set(X.variables):
            raise DataError(f"events: none of the variables is one of training: {', '.join(transform.variables[:12])}")
        x = tuple(
            np.stack([one[:, at[n]] if n in at else np.full(len(one), np.nan) for n in transform.inputs], 1)
            for one in X.x
        )
        return _given(Histories(X.names, x, transform.inputs, X.y, X.groups, X.times, X.met), **given)

    def transform(self, task: Task, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """See `IrregularRows`; a variable that is the outcome is refused.

        Raises:
            LeakageError: one tells the labels of training.
        """
        labels = getattr(task, "labels", None)
        if labels is not None:
            train = [s for s, split in zip(sequences, splits, strict=True) if split.train_end]
            _check_outcomes(train, task.columns, len(labels))
        return IrregularRows.fit(sequences, splits, task.columns, labels is None, self.summaries, self.forgotten)

    def transform_from(self, described: Mapping[str, Any]) -> Transform:
        """See `IrregularRows`."""
        return IrregularRows.from_dict(described)

    def live(self, task: Task, model: Model, transform: Any) -> Live:
        """`LiveEvents`."""
        from recurra.tasks.live.events import LiveEvents

        return LiveEvents(model, task, transform)

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """Risks over time, what moves them, and whether they are honest."""
        from recurra.tasks.classification.risks import risk_sections

        return risk_sections(bench, predictor)

    def pack(self, sequences: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Their steps one after the other."""
        return {"x": np.concatenate([s.x for s in sequences])}, {}

    def unpack(self, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Sequences:
        """See `Input`."""
        x = np.split(arrays["x"], np.cumsum(arrays["lengths"])[:-1])
        return Sequences(tuple(settings["names"]), tuple(x), (), None, list(settings["groups"]), arrays["time"])


def _roles(events: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of events, and those that say what each is of."""
    if isinstance(events, str) or len(events) != 2 or not all(isinstance(name, str) for name in events):
        raise DataError(f"events={events!r}, expected the columns of an event's variable and of its value")
    if given.get("times") is not None:
        raise DataError("times: a table of events has its times in a column, expected None")
    roles = {"variable": events[0], "value": events[1], "time": given.get("time") or "time"}
    return roles | {role: given[role] for role in ("series", "y", "groups") if given.get(role) is not None}


def _given(X: Histories, **given: Any) -> Histories:
    """The histories with what was given beside them."""
    for role in ("series", "time", "columns"):
        if given.get(role) is not None:
            raise DataError(f"{role}: events are read with it already, expected None")
    y, groups, times = (given.get(name) for name in ("y", "groups", "times"))
    for what, values in (("y", y), ("groups", groups), ("times", times)):
        if values is not None and (isinstance(values, str) or len(values) != len(X)):
            got = f"{len(values)}" if not isinstance(values, str) else f"{values!r}"
            raise DataError(f"{what}: got {got} for {len(X)} histories, expected one for each")
    return Histories(
        X.names,
        X.x,
        X.columns,
        X.y if y is None else list(y),
        X.groups if groups is None else [str(g) for g in groups],
        X.times if times is None else np.asarray(times, np.float64),
        X.met,
    )


def _check_outcomes(train: Sequence[Any], columns: Sequence[str], labels: int) -> None:
    """Refuse a variable whose last value tells the labels apart; of labels for each step, the last one."""
    y = np.array(
        [known[-1] if len(known := np.ravel(s.target)[np.isfinite(np.ravel(s.target))]) else np.nan for s in train]
    )
    for k in range(1, len(columns)):
        have = np.array([np.isfinite(s.x[:, k]).any() for s in train])
        if have.mean() < OFTEN:
            continue
        last = np.array([s.x[np.isfinite(s.x[:, k]), k][-1] for s, one in zip(train, have, strict=True) if one])
        of = y[have]
        areas = [max(a, 1 - a) for a in (auroc(last, of == label) for label in range(labels)) if a == a]
        if areas and min(areas) > TELLS:
            raise LeakageError(
                f"the variable {columns[k]!r} tells the label (area under the curve {min(areas):.3f}): it is the "
                "outcome, or known only afterwards: leave it out"
            )
