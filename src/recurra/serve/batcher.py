"""`Batcher`: steps of strangers that arrive together are one step of many, and nobody's bits depend on it."""

from __future__ import annotations

import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from recurra.serve.faults import Fault, ServeError
from recurra.serve.held import Held, Work
from recurra.serve.observed import Observed
from recurra.serve.served import Served

log = logging.getLogger("recurra.serve")


class Batcher:
    """Works that wait, taken in turns: of each session the first, of each model all together.

    Args:
        soon: calls a function in the event loop's next round, when the sockets that have something have been read.
        most: steps that may wait in all.
        observed: where it is counted.
        keep: called with the works that have ended in a turn, before they are answered.
    """

    def __init__(
        self,
        soon: Callable[[Callable[[], None]], object],
        most: int,
        observed: Observed,
        keep: Callable[[Sequence[Work]], None] = lambda works: None,
    ) -> None:
        self._soon, self._most, self._observed, self._keep = soon, most, observed, keep
        self._waiting: dict[Held, deque[Work]] = {}
        self._steps, self._scheduled = 0, False

    @property
    def steps(self) -> int:
        """How many steps wait."""
        return self._steps

    def check(self, steps: int) -> None:
        """Raise where there is no place for as many more.

        Raises:
            ServeError: the queue is full.
        """
        if self._steps + steps > self._most and self._steps:
            raise ServeError(Fault.FULL, f"{self._steps} steps wait, expected at most {self._most}: try again")

    def add(self, work: Work) -> None:
        """Let a work wait for its turn."""
        held = work.held
        waiting = self._waiting.get(held)
        if waiting is None:
            self._waiting[held] = deque((work,))
        else:
            waiting.append(work)
        held.waiting += 1
        self._steps += work.steps
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._turn)

    def finish(self, held: Held | None = None) -> None:
        """Take turns until nothing of this session waits, or nothing at all."""
        while self._waiting if held is None else held.waiting:
            self._take()

    def _turn(self) -> None:
        self._scheduled = False
        self._take()
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._soon(self._turn)

    def _take(self) -> None:
        began = time.monotonic()
        groups: dict[Served, list[Work]] = defaultdict(list)
        oldest = began
        for held, waiting in self._waiting.items():
            work = waiting[0]
            groups[held.served].append(work)
            oldest = min(oldest, work.arrived)
        ended: list[Work] = []
        for served, works in groups.items():
            before = sum(work.done for work in works)
            self._together(served, works)
            self._observed.batch(served.name, len(works), sum(work.done for work in works) - before)
            ended += [work for work in works if work.ends]
        self._observed.turn(began - oldest, time.monotonic() - began)
        for work in list(ended):
            ended += self._leave(work)
        try:
            self._keep(ended)
        except Exception as error:
            log.exception("steps could not be kept")
            for work in ended:
                work.refused = ServeError(
                    Fault.INTERNAL, f"the steps could not be kept ({error}): the server is at fault"
                )
        for work in ended:
            self._answer(work)

    def _together(self, served: Served, works: list[Work]) -> None:
        for work in works:
            if work.held.ended:
                work.refused = ServeError(Fault.ENDED, f"the session {work.held.name!r} has ended")
        works = [work for work in works if work.refused is None and work.left]
        if not works:
            return
        try:
            served.take(works)
        except Exception as error:  # whatever it is, others go on
            log.exception("a batch of %s failed", served.name)
            for work in works:
                work.refused = ServeError(Fault.INTERNAL, f"the step failed ({type(error).__name__})")

    def _leave(self, work: Work) -> list[Work]:
        """Take a work that has ended from its queue, and what waits behind one that was refused."""
        held, behind = work.held, []
        waiting = self._waiting[held]
        waiting.popleft()
        held.window.add(work.records, work.again)
        if work.refused is not None and work.left:
            behind = list(waiting)
            waiting.clear()
            for later in behind:
                later.refused = work.refused if held.ended else ServeError(
                    Fault.GAP, f"step {later.first} comes after one that was refused", expected=held.steps + 1
                )  # fmt: skip
            held.queued = held.steps
        if not waiting:
            del self._waiting[held]
        held.waiting -= 1 + len(behind)
        self._steps -= work.steps + sum(later.steps for later in behind)
        return behind

    def _answer(self, work: Work) -> None:
        self._observed.answered(time.monotonic() - work.arrived)
        if work.again and work.refused is None:
            before = work.held.window.since(work.first)
            if before is None:
                work.refused = ServeError(Fault.GONE, f"the answer to step {work.first} has left the replay window")
            else:
                work.records = before[: work.again + work.steps]
        try:
            work.reply(work)
        except Exception:
            log.exception("an answer could not be sent")
