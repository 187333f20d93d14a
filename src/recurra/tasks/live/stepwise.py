"""`Stepwise`: live sessions that ask for a step of the network at a time, so that those of many are one native call."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from recurra.errors import RecurraError
from recurra.runtime.program import IDS
from recurra.runtime.session import Session
from recurra.tasks.live.base import Live

T = TypeVar("T")
Asked: TypeAlias = tuple[Session, Any]  # a session of one row, and the row that it is to take
Steps: TypeAlias = Generator[Asked, Any, T]  # is sent what `session.step(row)` gives, and returns a T


class Stepwise(Live):
    """A live session whose `steps` yields, wherever the network is to take a step, the session and its row.

    `step` takes them one after the other; `together` those of many live sessions at once, in the same bits.
    """

    def step(self, observation: Any, series: str = "") -> Any:
        """Take one observation, as `steps` says."""
        return alone(self.steps(observation, series))

    @abstractmethod
    def steps(self, observation: Any, series: str = "") -> Steps[Any]:
        """What `step` does: yields what the network is to take, is sent what comes out, and returns the answer."""


def alone(steps: Steps[T]) -> T:
    """What comes of some steps, each taken as soon as it is asked for."""
    try:
        session, row = next(steps)
        while True:
            session, row = steps.send(session.step(row))
    except StopIteration as ended:
        found: T = ended.value
        return found


def together(many: Sequence[Steps[Any]]) -> list[Exception | None]:
    """Take the steps of many that use no session in common: those that are asked for at one time are one native call.

    Returns:
        For each None, or what it raised; others go on.
    """
    found: list[Exception | None] = [None] * len(many)
    waiting: list[tuple[int, Asked]] = []

    def go_on(i: int, output: Any) -> None:
        try:
            asked = many[i].throw(output) if isinstance(output, Exception) else many[i].send(output)
            waiting.append((i, asked))
        except StopIteration:
            pass
        except Exception as error:
            found[i] = error

    for i in range(len(many)):
        go_on(i, None)
    while waiting:
        turn, waiting = waiting, []
        for (i, _), output in zip(turn, _stepped([asked for _, asked in turn]), strict=True):
            go_on(i, output)
    return found


def _stepped(asked: Sequence[Asked]) -> list[Any]:
    """What each session gives for its row, or the error that it raises."""
    if len(asked) == 1:
        return [_one(*asked[0])]
    found: list[Any] = [None] * len(asked)
    groups: dict[int, list[int]] = {}
    for i, (session, _) in enumerate(asked):
        groups.setdefault(id(session.program), []).append(i)
    for group in groups.values():
        program = asked[group[0]][0].program
        sessions = [asked[i][0] for i in group]
        answers = [program.stride == 1 or session._answers(1) for session in sessions]
        try:
            X: NDArray[Any] = np.array([asked[i][1] for i in group], IDS if program.vocabulary_size else np.float32)
            outputs = program.step_many(sessions, X)
        except (RecurraError, ValueError):  # of one of them, which raises it when it is alone
            outputs = [_one(*asked[i]) for i in group]  # type: ignore[assignment]
        else:
            outputs = [output.copy() if said else None for output, said in zip(outputs, answers, strict=True)]  # type: ignore[assignment]
        for i, output in zip(group, outputs, strict=True):
            found[i] = output
    return found


def _one(session: Session, row: NDArray[Any]) -> Any:
    try:
        return session.step(row)
    except Exception as error:
        return error
