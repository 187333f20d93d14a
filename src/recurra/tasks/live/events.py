"""`LiveEvents`: an answer after every event of a history, with what moved it; no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.irregular.reading import hours_of
from recurra.errors import DataError
from recurra.tasks.live.base import Live, Remembered, is_empty
from recurra.tasks.live.sequences import LiveSequences
from recurra.tasks.live.stepwise import Steps


class LiveEvents(LiveSequences):
    """Answers of a model of events, one event after the other, for any number of histories side by side.

    An observation has the `time`, the `variable` and its `value`, by these words or by the columns of the table that
    was learned from; or the time and values by the names of their variables. What comes at the time of the last step
    belongs to that step, which is answered anew. What `predict` says of a history is what this says after its last
    event, to the last bit.

    Beside the network that has seen everything, one runs for each variable that has never seen it, in the same call:
    what an answer differs from theirs is the evidence.
    """

    def __init__(self, model: Any, task: Any, transform: Any) -> None:
        self.series_, *self.called = (task.roles.get(role, role) for role in ("series", "time", "variable", "value"))
        keys = [self.series_] if "series" in task.roles else []
        Live.__init__(self, model, transform, keys, self.called)
        self.extra = () if keys else (self.series_,)
        self.task, self.transform = task, transform
        self.unknown = set(map(float, task.input.unknown))
        self.positive, self.left_out = set(task.input.positive), set(task.input.leave_out)
        self.variables: tuple[str, ...] = transform.variables

    def steps(self, observation: Any, series: str = "") -> Steps[dict[str, Any] | None]:
        """Take one event.

        Returns:
            None where the event says nothing: of no variable of the model, or a value that means unknown.

        Raises:
            DataError: it has no time, or an earlier one than the last, or something is no number; nothing has changed.
        """
        if not isinstance(observation, Mapping):
            raise DataError(f"an event is {str(observation)[:40]!r}, expected a mapping with time, variable and value")
        named: dict[str, Any] = {}
        if observation.get(self.series_) not in (None, ""):
            series = str(observation[self.series_]).strip()
            named = {self.series_: series}
        x = self._values(observation)
        if self.called[1] in observation and np.isnan(x[1:]).all():
            return None
        one = self._series.get(series) or self._begun(series)
        yield from ()  # a session of several rows steps by itself
        output = one.rows.step(one.session, x)
        self._series[series] = one
        answers = self.task.decode(output, self.transform, series)
        first = self.task.answer(answers[0])
        return named | first | {"evidence": self._evidence(answers)}

    def _values(self, observation: Mapping[str, Any]) -> NDArray[np.float64]:
        """[1 + V], NaN where nothing is said."""
        time, variable, value = self.called
        text = observation.get(time)
        if text is None or is_empty(text) or text != text:
            raise DataError("an event has no time, expected a number")
        when = hours_of(text, time)
        x = np.full(1 + len(self.variables), np.nan)
        x[0] = when
        at = {name: k + 1 for k, name in enumerate(self.variables)}
        if variable in observation:
            name = str(observation[variable]).strip()
            if name not in at:
                if name and name not in self._said | self.left_out:
                    self._said.add(name)
                    self.notes.append(f"there is no variable {name!r} in the model: it is passed over")
            else:
                x[at[name]] = self._value(observation, value, name)
            return x
        for name in observation:
            if name in at:
                x[at[name]] = self._value(observation, name, name)
        return x

    def _value(self, observation: Mapping[str, Any], cell: str, variable: str) -> float:
        """NaN, too, for what means that nothing is known, and for what cannot be."""
        found = self._number(observation, cell)
        return math.nan if found in self.unknown or (found <= 0 and variable in self.positive) else found

    def _evidence(self, answers: NDArray[Any]) -> dict[str, float]:
        """By how much each variable moved the answer (of labels, the probability of the last one), the most first."""
        values = answers[:, -1] if answers.ndim == 2 else answers
        moved = (values[0] - values[1:]).astype(np.float64)
        order = np.argsort(-np.abs(moved), kind="stable")
        return {self.variables[k]: float(moved[k]) for k in order if moved[k] != 0}

    @property
    def fields(self) -> list[str]:
        """The history, what the task answers, and the three variables that moved it most."""
        nothing = self.task.decode(np.zeros((1, self.model.output_size), np.float32), self.transform, "")[0]
        return [self.series_, *_names(self.task.answer(nothing)), *(f"evidence.{i}" for i in (1, 2, 3))]

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """An answer as the cells of a line."""
        most = [f"{name} {moved:+.4f}" for name, moved in list(answer["evidence"].items())[:3]]
        rest = {name: value for name, value in answer.items() if name not in ("evidence", self.series_)}
        return [str(answer.get(self.series_, "")), *super().cells(rest), *(most + [""] * 3)[:3]]

    def _begun(self, name: str) -> Remembered:
        session = self.model.session(batch=1 + len(self.variables))
        return Remembered(_Rows(self.transform, session), session)


class _Rows:
    """The rows of a history, and what was before its last step, which may have to be taken again."""

    def __init__(self, transform: Any, session: Any) -> None:
        self.transform, self.live = transform, transform.live()
        self.current = np.full(1 + len(transform.variables), np.nan)
        self.before = {name: array.copy() for name, array in session.state.items()}
        self.memory = self.live.state()

    def step(self, session: Any, x: NDArray[np.float64]) -> NDArray[np.float32]:
        """Take some values at a time: outputs [1 + V, O], of all variables and without each."""
        if x[0] < self.current[0]:
            raise DataError(
                f"an event is of {x[0]:g}, before the last one, of {self.current[0]:g}, expected events in "
                "the order of time"
            )
        if x[0] == self.current[0]:  # the step is taken again, with what is new
            x = np.where(np.isnan(x), self.current, x)
            session.state = self.before
            self.live.restore(self.memory)
        else:
            self.before, self.memory = session.state, self.live.state()
        self.current = x
        output: NDArray[np.float32] = session.step(self.transform.without(self.live.push(x)))
        return output

    def state(self) -> dict[str, NDArray[Any]]:
        kept: dict[str, NDArray[Any]] = {"current": self.current.copy()} | {
            f"before.{k}": a for k, a in enumerate(self.before.values())
        }
        kept |= {f"memory.{n}": a for n, a in self.memory.items()}
        kept.update(self.live.state())
        return kept

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        if state["current"].shape != self.current.shape:
            raise DataError("the snapshot is of other variables")
        self.current = state["current"].astype(np.float64)
        self.before = {name: state[f"before.{k}"].astype(np.float32) for k, name in enumerate(self.before)}
        self.memory = {name: state[f"memory.{name}"].astype(np.float64) for name in self.memory}
        self.live.restore({name: state[name] for name in self.memory})


def _names(answer: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, value in answer.items():
        found += _names(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return found
