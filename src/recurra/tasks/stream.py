"""`stream`: observations in, one a line; forecasts out, one a line; and a state that survives the process."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO

from recurra.data.readers import read_table
from recurra.errors import DataError, RecurraError
from recurra.runtime.model import Model
from recurra.tasks.journal import Journal
from recurra.tasks.lines import LineForm
from recurra.tasks.live import Forecast, LiveForecaster

LONGEST_LINE = 1 << 20  # bytes


@dataclass
class Summary:
    """What a stream was.

    Attributes:
        forecasts: lines that gave one.
        announcements: lines that said what is known ahead.
        bad: lines that could not be taken.
        skipped: lines that the snapshot had already.
        seconds: the time that forecasts took, in all.
    """

    forecasts: int = 0
    announcements: int = 0
    bad: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        parts = [_count(self.forecasts, "forecast")]
        if self.forecasts:
            parts[0] += f" at {self.seconds / self.forecasts * 1e6:.0f} µs each"
        more = ((self.announcements, "announcement"), (self.bad, "bad line"), (self.skipped, "known line"))
        return ", ".join([*parts, *(_count(n, what) for n, what in more if n)])


def stream(
    model: Model,
    lines: Iterable[bytes | str],
    out: TextIO,
    errors: TextIO,
    *,
    snapshot: str | os.PathLike[str] | None = None,
    ahead: str | os.PathLike[str] | None = None,
) -> Summary:
    """Write a forecast for every observation, and flush it before the next is read.

    A line is a row of CSV (the first line is the header) or a JSON object; forecasts have the same form: the series
    (where there are several), the time of the observation, and the quantiles of 1, 2 .. N steps later, named q0.1+1,
    q0.5+1 .. in CSV, and lists of N numbers in JSON. `LiveForecaster` says what is a missing value and what an
    announcement.

    A line that cannot be taken is reported, with its number, and passed over; so is one whose time is not after the
    last. Missing values and rows are reported and taken as missing.

    With a snapshot a process that was killed, at whatever moment, goes on where it was when it is started again, with
    the bits of one that was not. The input may then be the rest or the whole: rows that were taken before are passed
    over, which is said once (without a column of times the input must be the rest). A line enters the snapshot just
    before its forecast is written: whoever has seen a forecast need not give its observation again, and each counts
    exactly once. Where `out` is a file that is appended to, each forecast comes exactly once, too. A pipe
    cannot be asked what it was given: if the kill came in the microseconds between the snapshot and the pipe, one
    forecast is missing there, and it comes when its observation is the first line that is given again. The snapshot
    survives the process; with the machine's power at most the last lines are lost, which can be given again.

    Args:
        model: from `recurra.load`.
        lines: bytes (UTF-8) or text, as `read_lines` gives them of a file.
        out: where forecasts go.
        errors: where reports go.
        snapshot: a file that keeps the state.
        ahead: a table whose rows have a time and known-ahead columns: announced before the first line.

    Raises:
        DataError: the header lacks a column, or the table of what is ahead cannot be used.
        SessionError: the snapshot is damaged, of another model, or in use.
        OSError: a file cannot be read or written.
    """
    run = _Run(LiveForecaster(model), out, errors)
    try:
        if snapshot is not None:
            run.go_on(snapshot)
        if ahead is not None:
            run.announce(ahead)
        for line in lines:
            run.take(line)
        run.end()
    finally:
        if run.journal is not None:
            run.journal.close()
    return run.summary


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file as they come; of one that is longer than a megabyte, the first megabyte."""
    while line := file.readline(LONGEST_LINE):
        rest = line
        while len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE)
        yield line


class _Run:
    """A stream at work."""

    def __init__(self, live: LiveForecaster, out: TextIO, errors: TextIO) -> None:
        self.live, self.out, self.errors = live, out, errors
        self.summary = Summary()
        self.form: LineForm | None = None
        self.journal: Journal | None = None
        self.number = 0
        self.known: dict[str, int] = {}  # the last time of each series that the snapshot had
        self.pending: tuple[str, int, str] | None = None  # the last forecast before, which a pipe may lack
        self.file = _regular(out)

    def go_on(self, path: str | os.PathLike[str]) -> None:
        """From the snapshot, if there is one; from now on keep it."""
        self.journal = Journal(path)
        if self.journal.state is None:
            return
        about = self.journal.about
        self.live.restore(self.journal.state)
        self.form = LineForm(about["header"], about["separator"]) if about["form"] else None
        text, size = str(about["pending"]), int(about["size"])
        forecast: Forecast | None = None
        for line, size in self.journal.lines:  # noqa: B007  (the size before the last forecast)
            assert self.form is not None
            forecast = self.live.step(self.form.row(line.decode()))
        if self.journal.lines:
            text = self.text(forecast)
        self.live.notes.clear()
        self.known = {name: tick for name in self.live.series if (tick := self.live.last(name)) is not None}
        if self.file is not None and about["file"] == list(self.file) and size >= 0:
            self.write(self.rest(text, size))
        elif forecast is not None:
            self.pending = (forecast.series, self.known[forecast.series], text)

    def rest(self, text: str, size: int) -> str:
        """What the output, which had this size before, lacks of a text: all, nothing, or the end of a cut line."""
        there = self.size() - size
        if there == 0:
            return text
        content = text.encode()
        cut = 0 < there < len(content) and _tail(self.out, size) == content[:there]
        return content[there:].decode(errors="ignore") if cut else ""

    def announce(self, path: str | os.PathLike[str]) -> None:
        """Take what a table says of the time to come."""
        table = read_table(path)
        for name in (*self.live.keys, *self.live.features.columns.ahead):
            table.column(name)
        for row in range(len(table)):
            try:
                self.live.announce({name: column[row] for name, column in table.columns.items()})
            except DataError as error:
                raise DataError(f"{table.where(row)}: {error}") from None

    def take(self, line: bytes | str) -> None:
        """One line."""
        self.number += 1
        try:
            text = line if isinstance(line, str) else line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            self.bad(f"byte {line[error.start]:#04x} is no UTF-8, expected text in UTF-8")
            return
        if not text.strip():
            return
        if self.form is None:
            self.begin(text)
            if not self.form.is_json:  # type: ignore[attr-defined]
                return
        elif self.form.is_header(text):
            return
        self.observe(text)

    def begin(self, first: str) -> None:
        """Learn the form of the lines, and write the header of the forecasts."""
        self.form = LineForm.of(first, self.live.names)
        f, keys = self.live.features, self.live.keys
        head = self.form.head(keys if f.columns.time is not None else [*keys, "row"], f.horizon, self.live.levels)
        self.save(head)
        self.write(head)

    def observe(self, text: str) -> None:
        """A line that is a row."""
        assert self.form is not None
        try:
            row = self.form.row(text)
            if self.known and self.is_known(row):
                return
            forecast = self.live.step(row)
        except RecurraError as error:
            self.bad(str(error))
            return
        for note in self.live.notes:
            self.report(note)
        self.live.notes.clear()
        if forecast is None:
            self.summary.announcements += 1
        else:
            self.summary.forecasts += 1
            self.summary.seconds += forecast.seconds
        written = self.text(forecast)
        grown = self.journal is not None and self.journal.add(text.encode(), self.size())
        self.write(written)
        if grown:
            self.save()

    def text(self, forecast: Forecast | None) -> str:
        """A forecast as a line; nothing for an announcement."""
        c = self.live.features.columns
        assert self.form is not None
        return "" if forecast is None else self.form.line(forecast, c.series, c.time or "row")

    def is_known(self, row: Mapping[str, Any]) -> bool:
        """Whether the snapshot had this row already."""
        if self.live.features.columns.time is None:
            self.known = {}
            return False
        name, tick = self.live.place(row)
        pending, self.pending = self.pending, None
        if pending is not None and (name, tick) == pending[:2]:
            self.write(pending[2])
        if tick > self.known.get(name, tick - 1):
            return False
        if not self.summary.skipped:
            last = self.live.features.clock.text(self.known[name])
            self.report(f"rows up to {last} are in the snapshot: they are passed over")
        self.summary.skipped += 1
        return True

    def write(self, text: str) -> None:
        """Write and flush."""
        if text:
            self.out.write(text)
            self.out.flush()

    def bad(self, message: str) -> None:
        """Report a line that cannot be taken."""
        self.summary.bad += 1
        self.report(message)

    def report(self, message: str) -> None:
        """A line about the line that is being read."""
        self.errors.write(f"line {self.number}: {message}\n")
        self.errors.flush()

    def size(self) -> int:
        """The size of the output, where it is a file."""
        return -1 if self.file is None else os.fstat(self.out.fileno()).st_size

    def save(self, pending: str = "") -> None:
        """Write the state in the place of the lines; `pending` is what will be written next."""
        if self.journal is None:
            return
        form = self.form
        self.journal.begin(
            self.live.snapshot(),
            form=form is not None,
            header=form.header if form else [],
            separator=form.separator if form else ",",
            file=None if self.file is None else list(self.file),
            size=self.size(),
            pending=pending,
        )

    def end(self) -> None:
        """After the last line."""
        if self.form is not None:
            self.save()


def _regular(out: TextIO) -> tuple[int, int] | None:
    """Which file `out` is, or None where it is none."""
    try:
        status = os.fstat(out.fileno())
    except (OSError, AttributeError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _tail(out: TextIO, size: int) -> bytes:
    """What a file has beyond a size; nothing where it cannot be read here."""
    try:
        with open(f"/proc/self/fd/{out.fileno()}", "rb") as file:  # `out` itself may be open for writing only
            file.seek(size)
            return file.read()
    except OSError:
        return b""


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
