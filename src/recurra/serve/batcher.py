"""`Batcher`: steps of strangers that arrive together are one step of many, and nobody's bits depend on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from recurra.serve.faults import Fault, ServeError
from recurra.serve.held import Held, Work
from recurra.serve.observed import Observed
from recurra.serve.served import Served, log


class Batcher:
    """Works that wait, taken in turns: of each session the first, of each model all together.

    Args:
        soon: calls a function in the event loop's next round, when the sockets that have something have been read.
        most: steps that may wait in all.
        observed: where it is counted.
        keep: called with the works that have ended in a turn, before they are answered.

    Attributes:
        steps: how many wait.
    """

    def __init__(
        self,
        soon: Callable[[Callable[[], None]], object],
        most: int,
        observed: Observed,
        keep: Callable[[Sequence[Work]], None] = lambda works: None,
    ) -> None:
        self._soon, self._most, self._observed, self._keep = soon, most, observed, keep
        self._ready: list[Work] = []  # of each session that has some the first
        self.steps, self._scheduled, self._now = 0, False, 0.0

    def add(self, work: Work) -> None:
        """Let a work wait for its turn.

        Raises:
            ServeError: the queue is full.
        """
        steps, held = self.steps + work.steps, work.held
        if steps > self._most and self.steps:
            raise ServeError(Fault.FULL, f"{self.steps} steps wait, expected at most {self._most}: try again")
        self.steps = steps
        if not self._scheduled:
            self._schedule()
        work.arrived = held.used = self._now
        if held.last is None:
            self._ready.append(work)
        else:
            held.last.after = work
        held.last = work

    def finish(self, held: Held | None = None) -> None:
        """Take turns until nothing of this session waits, or nothing at all."""
        while self._ready if held is None else held.last:
            self._take()

    def _schedule(self) -> None:
        self._scheduled, self._now = True, time.monotonic()
        self._soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._ready:
            self._take()
        if self._ready and not self._scheduled:
            self._schedule()

    def _take(self) -> None:
        began = time.monotonic()
        ready, self._ready = self._ready, []
        groups: dict[Served, list[Work]] = {}
        last: Served | None = None
        for work in ready:
            if work.steps:
                if (served := work.held.served) is not last:
                    last, group = served, groups.setdefault(served, [])
                group.append(work)
        for served, works in groups.items():
            self._together(served, works)
        ended: list[Work] = []
        for work in ready:
            if work.refused is not None:
                self._leave(work, ended)
            elif work.done < work.steps:
                self._ready.append(work)
            else:
                held, after = work.held, work.after
                held.window.add(work.answers, work.done, work.again)
                self.steps -= work.done
                ended.append(work)
                if after is None:
                    held.last = None
                else:
                    self._ready.append(after)
        now = time.monotonic()
        self._observed.turn(began - min([work.arrived for work in ready]), now - began)
        try:
            self._keep(ended)
        except Exception as error:
            log.exception("steps could not be kept")
            for work in ended:
                work.refused = ServeError(
                    Fault.INTERNAL, f"the steps could not be kept ({error}): the server is at fault"
                )
        self._answer(ended)

    def _together(self, served: Served, works: list[Work]) -> None:
        before = sum([work.done for work in works])
        try:
            served.take(works)
        except Exception as error:  # whatever it is, others go on
            log.exception("a batch of %s failed", served.name)
            for work in works:
                work.refused = ServeError(Fault.INTERNAL, f"the step failed ({type(error).__name__})")
        self._observed.batch(served.name, len(works), sum([work.done for work in works]) - before)

    def _leave(self, work: Work, ended: list[Work]) -> None:
        """Take a work that was refused from its queue, and all that waits behind it."""
        held, after = work.held, work.after
        held.window.add(work.answers, work.done, work.again)
        while after is not None:
            after.refused = ServeError(
                Fault.GAP, f"step {after.first} comes after one that was refused", expected=held.steps + 1
            )
            self.steps -= after.steps
            ended.append(after)
            after = after.after
        self.steps -= work.steps
        held.queued, held.last = held.steps, None
        ended.append(work)

    def _answer(self, ended: Sequence[Work]) -> None:
        for work in ended:
            if work.again:
                _repeat(work)
            try:
                work.reply(work)
            except Exception:
                log.exception("an answer could not be sent")
        self._observed.answered(time.monotonic(), [work.arrived for work in ended])


def _repeat(work: Work) -> None:
    """Put the answers of steps that had been taken before in front of the others."""
    served, window = work.held.served, work.held.window
    before = window.since(work.first)
    if before is not None:
        work.answers = served.first_answers(before, work.again + work.done)
    elif work.refused is None:
        work.refused = ServeError(Fault.GONE, f"the answer to step {work.first} has left the replay window")
