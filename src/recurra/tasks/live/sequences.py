"""`LiveSequences`: an answer to the steps so far, after every step of every sequence; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.runtime.model import Model
from recurra.tasks.live.stepwise import Steps, Stepwise

if TYPE_CHECKING:
    from recurra.data.transform import Transform
    from recurra.tasks.base import Task


class LiveSequences(Stepwise):
    """Answers of a model that an estimator made, one step after the other, for any number of sequences side by side.

    An answer is that of the task for all steps so far: a label with a probability for each, or a number. What
    `predict` says of a whole sequence is what this says after its last step, to the last bit. Where the training table
    had a column that names the sequences, so has an observation, and `end` forgets one that has ended; where it had
    none, an empty line of a stream ends the sequence. A column that is none of the model's is passed over, which
    `notes` says once.

    Args:
        model: from `recurra.load`.
        task, transform: those of the model.

    >>> import numpy as np, recurra
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(40, 9, 1)), [0, 1] * 20
    >>> live = recurra.Classifier(hidden=4, epochs=1).fit(X, y, evaluate=False).live()
    >>> sorted(live.step([0.5])["probabilities"])
    ['0', '1']
    >>> live.fields
    ['label', 'probabilities.0', 'probabilities.1']
    """

    def __init__(self, model: Model, task: Task, transform: Transform) -> None:
        series = task.roles.get("series")
        super().__init__(model, transform, [] if series is None else [series], transform.inputs)
        self.task, self.transform = task, transform

    def steps(self, observation: Any, series: str = "") -> Steps[dict[str, Any] | None]:
        """Take one step of a sequence: the answer so far; None where the network answers at some steps only.

        Args:
            observation: I numbers in the order of the columns; or a mapping by their names, in which what is missing
                is None, an empty text or left out.
            series: the name of the sequence, where it is not in a column of the observation.

        Raises:
            DataError: something is no number, or there are more or fewer; nothing has changed.
        """
        named: dict[str, Any] = {}
        if isinstance(observation, Mapping):
            if self.keys and not series:
                series = self._series_of(observation, self.keys[0])
                named = {self.keys[0]: series}
            for name in observation.keys() - set(self.names) - self._said:
                self._said.add(name)
                self.notes.append(f"there is no column {name!r} in the model: it is passed over")
            observation = np.array([self._number(observation, name) for name in self.transform.inputs])
        one = self._series.get(series) or self._begun(series)
        row = one.rows.push(observation)
        self._series[series] = one
        output = yield one.session, row
        if output is None:
            return None
        return named | self.task.answer(self.task.decode(output[None], self.transform, series)[0])

    @property
    def apart(self) -> str | None:
        """The column that names sequences, where there is one."""
        return self.keys[0] if self.keys else None

    def empty_line(self) -> bool:
        """End the sequence, where sequences have no names."""
        ends = not self.keys and bool(self._series)
        if ends:
            self.end()
        return ends

    @cached_property
    def fields(self) -> list[str]:
        """The sequence, and what the task answers."""
        nothing = self.task.decode(np.zeros((1, self.model.output_size), np.float32), self.transform, "")[0]
        return [*self.keys, *_flat(self.task.answer(nothing))]

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """An answer as the cells of a line; numbers to the last bit."""
        return [value if isinstance(value, str) else repr(value) for value in _flat(answer).values()]

    def to_dict(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as it is."""
        return dict(answer)


def _flat(answer: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """An answer without mappings and lists in it: `probabilities.up`, `answer.1`."""
    found: dict[str, Any] = {}
    for name, value in answer.items():
        inner = {str(i): one for i, one in enumerate(value, 1)} if isinstance(value, list) else value
        found |= _flat(inner, f"{prefix}{name}.") if isinstance(inner, Mapping) else {f"{prefix}{name}": value}
    return found
