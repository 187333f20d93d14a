"""Progress on a terminal: the leaderboard so far, trials done, time left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from recurra.compare.schedule import Schedule
from recurra.formatting import number

Watch = Callable[[Schedule], None]


class Board:
    """A leaderboard that is renewed in place on a terminal, and a line now and then elsewhere.

    A comparison calls it with its schedule several times a second.
    """

    EVERY = 15.0  # seconds between lines where there is no terminal

    def __init__(self) -> None:
        from rich.live import Live

        from recurra.terminal import Terminal

        self._console = Terminal(stderr=True)
        self._live: Any = Live(console=self._console, transient=True, refresh_per_second=4)
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def __call__(self, schedule: Schedule) -> None:
        """Show where it stands."""
        if self._console.is_terminal:
            self._live.update(self._table(schedule))
        elif time.monotonic() - self._said > self.EVERY:
            self._said = time.monotonic()
            self._console.print(self._line(schedule), highlight=False)

    def _line(self, schedule: Schedule) -> str:
        ended, planned = schedule.progress()
        left = max(0.0, schedule.started + schedule.budget - time.monotonic())
        best = leaderboard(schedule)[:1]
        leader = f"; best so far {best[0][0]} {number(best[0][1])}" if best and math.isfinite(best[0][1]) else ""
        return f"{ended} of {planned} trainings, at most {left:.0f} s left{leader}"

    def _table(self, schedule: Schedule) -> Any:
        from rich.table import Table

        table = Table(caption=self._line(schedule), title="comparing")
        for k, heading in enumerate(("", "validation so far", "tuning", "final runs", "now")):
            table.add_column(heading, justify="left" if k == 0 else "right")
        running = [trial.name for trial in schedule.running.values()]
        for name, valid, tuned, finals in leaderboard(schedule):
            now = f"{running.count(name)} running" if name in running else ""
            table.add_row(name, number(valid, missing=""), str(tuned), str(finals), now)
        return table


def leaderboard(schedule: Schedule) -> list[tuple[str, float, int, int]]:
    """Of each candidate the name, the best validation error so far, and tuning trials and final runs that have ended;
    the best first."""
    rows = []
    for c in schedule.candidates:
        tuned, finals = schedule.tuned.get(c.name, {}), schedule.finals[c.name]
        ended = [*tuned.values(), *finals.values()]
        valid = min((o.valid for o in ended if math.isfinite(o.valid)), default=math.inf)
        rows.append((c.name, valid, len(tuned), len(finals)))
    return sorted(rows, key=lambda row: row[1])
