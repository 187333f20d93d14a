"""`Order`: sessions in memory by when they were used."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from recurra.serve.held import Held


class Order:
    """Sessions, that used longest ago first.

    The order is not kept with each step, which would cost a good part of one: it is made anew when it is asked for and
    its first session has been used since.
    """

    def __init__(self) -> None:
        self._helds: deque[Held] = deque()  # in order as far as `Held.placed` is `Held.used`
        self._most = 1024

    def add(self, held: Held) -> None:
        """A session that is used now."""
        held.placed = held.used
        self._helds.append(held)
        if len(self._helds) > self._most:  # some may have been deleted
            self._sort()
            self._most = 1024 + 2 * len(self._helds)

    def take(self, most: int, before: float) -> list[Held]:
        """Take out those that were used longest ago, not after a time, and of which no step waits."""
        found: list[Held] = []
        waiting: list[Held] = []
        while self._helds and len(found) < most:
            held = self._helds.popleft()
            if not held.here:
                continue
            if held.used != held.placed:
                self._helds.append(held)
                self._sort()
            elif held.used > before:
                self._helds.appendleft(held)
                break
            else:
                (found if held.last is None else waiting).append(held)
        self._helds.extendleft(reversed(waiting))
        return found

    def put_back(self, helds: Iterable[Held]) -> None:
        """Sessions that were taken stay after all."""
        self._helds.extendleft(helds)
        self._sort()

    def _sort(self) -> None:
        self._helds = deque(sorted((one for one in self._helds if one.here), key=lambda one: one.used))
        for one in self._helds:
            one.placed = one.used
