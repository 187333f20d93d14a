"""`LiveDetector`: after every step of a stream how rare it was, and whether to ring; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.lagged import Lagged
from recurra.errors import DataError
from recurra.tasks.detection.task import ANSWER, Detect
from recurra.tasks.detection.watcher import Watcher
from recurra.tasks.live.base import Remembered, is_empty
from recurra.tasks.live.sequences import LiveSequences
from recurra.tasks.live.stepwise import Steps

WORDS = ("right", "false", "missed")


class LiveDetector(LiveSequences):
    """Answers of a `Detector`, one step after the other, for any number of streams side by side.

    An answer has the `surprise`, its `rarity` (k where a stream without anomalies is so far from what is usual once in
    10^k steps), whether the step is `anomalous`, whether an `alarm` begins, `by` which column and which `signal`
    ("surprise of 4": of the network, averaged over four steps; or "level of 16"), and what was `expected`. An
    observation may have a `feedback` ("right", "false" or "missed"), an operator's word on what came before it: see
    `feedback`. One that has no number besides is no step, and has no answer.
    """

    task: Detect
    extra = ("feedback",)

    def steps(self, observation: Any, series: str = "") -> Steps[dict[str, Any] | None]:
        """Take one step of a stream.

        Raises:
            DataError: something is no number, or there are more or fewer; nothing has changed.
        """
        named: dict[str, Any] = {}
        said = None
        if isinstance(observation, Mapping):
            if self.keys and not series:
                series = self._series_of(observation, self.keys[0])
                named = {self.keys[0]: series}
            said = observation.get("feedback")
            observation = np.array([self._number(observation, name) for name in self.transform.inputs])
        if said is not None and not is_empty(said):
            self.feedback(str(said).strip(), series)
            if np.isnan(observation).all():
                return None
        one = self._series.get(series) or self._begun(series)
        row = one.rows.push(observation)
        self._series[series] = one
        output = yield one.session, row
        inputs = self.transform.inputs
        found = self.task.said(one.rows.watcher, one.rows.x, one.rows.z, output, inputs)
        found["surprise"] = found["surprise"] if found["surprise"] == found["surprise"] else None
        expected = self.task.in_units(output[None], row[None], self.transform)[0, :, 0].tolist()
        return named | found | {"expected": dict(zip(inputs, expected, strict=True))}

    def feedback(self, said: str, series: str = "") -> float:
        """An operator's word on a stream since the last one: "false", its alarm was for nothing, and the next one rings
        only for what is rarer; "missed", it should have rung for the rarest step; "right", nothing changes.

        Returns:
            The rarity from which it rings now.

        Raises:
            DataError: it is another word, or there is no such stream.
        """
        if said not in WORDS:
            raise DataError(f"the feedback is {said[:40]!r}, expected one of {', '.join(WORDS)}")
        if series not in self._series:
            raise DataError(f"there is no stream {series!r} yet, expected one that has had a step")
        found: float = self._series[series].rows.watcher.feedback(said)
        return found

    @cached_property
    def fields(self) -> list[str]:
        """The stream, and the parts of an answer."""
        return [*self.keys, *ANSWER, *(f"expected.{name}" for name in self.transform.inputs)]

    def _begun(self, name: str) -> Remembered:
        return Remembered(_Rows(self.transform, Watcher(self.task.watch)), self.model.session())


class _Rows:
    """The rows of a stream, its last step standardized, and what its watcher remembers."""

    def __init__(self, transform: Any, watcher: Watcher) -> None:
        self.transform: Lagged = transform
        self.lagged, self.watcher = transform.live(), watcher
        self.x = np.full(len(transform.inputs), np.nan)
        self.z = self.x.astype(np.float32)

    def push(self, x: Any) -> NDArray[np.float32]:
        self.x = self.transform.plain.numbers(x)
        row: NDArray[np.float32] = self.lagged.push(self.x)
        self.z = self.transform.targets_of(self.x, row)
        return row

    def state(self) -> dict[str, NDArray[Any]]:
        kept: dict[str, NDArray[Any]] = {**self.lagged.state(), "watcher": self.watcher.memory.copy()}
        return kept

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        if state["watcher"].shape != self.watcher.memory.shape:
            raise DataError("the snapshot's watcher is another one")
        self.lagged.restore(state)
        self.watcher.memory[:] = state["watcher"]
