"""`LiveSound`: samples in, of any number, and an answer for each step that they make whole; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.runtime.model import Model
from recurra.tasks.live.base import Remembered
from recurra.tasks.live.sequences import _flat
from recurra.tasks.live.stepwise import Steps, Stepwise

if TYPE_CHECKING:
    from recurra.data.audio.transform import Hearing
    from recurra.tasks.base import Task


class LiveSound(Stepwise):
    """Answers of a model of sound as it is heard, for any number of sounds side by side.

    What `predict` says of a whole recording is what this says when its last sample is there, to the last bit, whatever
    the pieces were.

    Args:
        model: from `recurra.load`.
        task, transform: those of the model.
    """

    def __init__(self, model: Model, task: Task, transform: Hearing) -> None:
        super().__init__(model, transform, [], ["samples"])
        self.task, self.transform = task, transform
        self.raw = {"type": "<i2", "rate": transform.bank.rate}

    @property
    def state_bytes(self) -> int:
        """What is kept of one sound: states of the network, a mean, and samples of less than a step."""
        one = self._begun("")
        kept = sum(a.nbytes for a in one.rows.state().values()) + sum(a.nbytes for a in one.session.state.values())
        bank = self.transform.bank
        return int(kept) + 4 * int(bank.window + bank.shift * self.transform.stack)

    def step(self, observation: Any, series: str = "", rate: int | None = None) -> Any:
        """Take samples: the answers after each step of which the last sample is among them; there may be none.

        Args:
            observation: samples, float32 from -1 to 1 or int16, of any number; or a mapping with `samples`.
            series: the name of the sound.
            rate: samples a second; None: those of training.

        Raises:
            DataError: they are no samples; nothing has changed.
        """
        return self._answers(self.outputs(_samples(observation), series, rate), series, observation)

    def steps(self, observation: Any, series: str = "") -> Steps[Any]:
        """As `step`; see `Stepwise`."""
        one = self._series.get(series) or self._begun(series)
        rows = one.rows.push(_samples(observation), None)
        self._series[series] = one
        found = []
        for row in rows:
            output = yield one.session, row
            if output is not None:  # behind a stride there is none at most steps
                found.append(output)
        outputs = np.array(found, np.float32).reshape(len(found), self.model.output_size)
        return self._answers(outputs, series, observation)

    def _answers(self, outputs: np.ndarray[Any, Any], series: str, observation: Any) -> Any:
        """What is answered to an observation of which these are the outputs."""
        return [self.task.answer(one) for one in self.task.decode(outputs, self.transform, series)]

    def outputs(self, samples: Any, series: str = "", rate: int | None = None) -> np.ndarray[Any, Any]:
        """The same as the network's numbers, [n, O]."""
        one = self._series.get(series) or self._begun(series)
        rows = one.rows.push(samples, rate)
        self._series[series] = one
        return one.session.run(rows) if len(rows) else np.zeros((0, self.model.output_size), np.float32)

    @staticmethod
    def together(lives: Sequence[LiveSound], samples: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
        """What `outputs` gives for a piece of one sound each, all of one model; in the same bits, and faster.

        Raises:
            DataError: one has no samples; those before it have taken theirs.
        """
        ones = [live._series.get("") or live._begun("") for live in lives]
        rows = []
        for live, one, x in zip(lives, ones, samples, strict=True):
            rows.append(one.rows.push(x))
            live._series[""] = one
        found: list[list[Any]] = [[] for _ in lives]
        for t in range(max(map(len, rows), default=0)):
            some = [i for i, own in enumerate(rows) if t < len(own)]
            out = lives[0].model.step_many([ones[i].session for i in some], np.stack([rows[i][t] for i in some]))
            for i, numbers in zip(some, out, strict=True):
                if not np.isnan(numbers[0]):  # behind a stride there is no answer at most steps
                    found[i].append(numbers)
        nothing = np.zeros((0, lives[0].model.output_size), np.float32) if lives else None
        return [np.stack(own) if own else nothing for own in found]  # type: ignore[misc]

    def finish(self, series: str = "") -> np.ndarray[Any, Any]:
        """A sound has ended: the network's numbers [n, O] of the nothing that follows it; it is forgotten."""
        one = self._series.pop(series, None)
        if one is None or not self.transform.after:
            return np.zeros((0, self.model.output_size), np.float32)
        nothing = np.zeros((self.transform.after, self.transform.row_size), np.float32)
        return np.asarray(one.session.run(nothing))

    def fork(self, series: str, name: str) -> None:
        """Another sound that goes on from where `series` is."""
        one = self._series[series]
        rows = self.transform.live(name)
        rows.restore(one.rows.state())
        self._series[name] = Remembered(rows, one.session.fork())

    @cached_property
    def fields(self) -> list[str]:
        """What the task answers."""
        nothing = self.task.decode(np.zeros((1, self.model.output_size), np.float32), self.transform, "")[0]
        return list(_flat(self.task.answer(nothing)))

    def cells(self, answer: Any) -> list[str]:
        """The last answer as the cells of a line; numbers to the last bit."""
        return [v if isinstance(v, str) else repr(v) for one in answer[-1:] for v in _flat(one).values()]

    def to_dict(self, answer: Any) -> dict[str, Any]:
        """The answers as they are."""
        return {"answers": list(answer)}


def _samples(observation: Any) -> Any:
    return observation["samples"] if isinstance(observation, Mapping) else observation
