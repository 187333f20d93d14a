"""`stream`: observations in, one a line; answers out, one a line; and a state that survives the process."""

from __future__ import annotations

import os
import stat
import time as stopwatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO

from recurra.data.readers import read_table
from recurra.errors import DataError, RecurraError, SessionError
from recurra.formatting import printable
from recurra.serve.journal import Journal
from recurra.serve.lines import LineFormat
from recurra.tasks.live.base import Live, is_empty

LONGEST_LINE = 1 << 20  # bytes
END = "end"  # the column that says whether a series ends with its line


@dataclass
class Summary:
    """What a stream was.

    Attributes:
        answer: what an answer is called.
        answers: lines that gave one.
        announcements: lines that said what is known of a time to come.
        ended: series that a line has ended.
        bad: lines that could not be taken.
        skipped: lines that the snapshot had already.
        seconds: the time that answers took, in all.
    """

    answer: str = "answer"
    answers: int = 0
    announcements: int = 0
    ended: int = 0
    bad: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        parts = [_count(self.answers, self.answer)]
        if self.answers:
            parts[0] += f" at {self.seconds / self.answers * 1e6:.0f} µs each"
        more = (
            (self.announcements, "announcement"),
            (self.ended, "end"),
            (self.bad, "bad line"),
            (self.skipped, "known line"),
        )
        return ", ".join([*parts, *(_count(n, what) for n, what in more if n)])


def stream(
    live: Live,
    lines: Iterable[bytes | str],
    out: TextIO,
    errors: TextIO,
    *,
    snapshot: str | os.PathLike[str] | None = None,
    ahead: str | os.PathLike[str] | None = None,
) -> Summary:
    """Write an answer for every observation, and flush it before the next is read.

    A line is a row of CSV (the first line is the header), a JSON object, or a JSON list of all values; answers have the
    same format. The class of the live session says what they hold, and what is a missing value or an announcement.

    Where a column names series that have no times, a cell `end` that is true ends one with its last observation, or by
    a line that has nothing else: what comes under this name after that begins anew.

    A line that cannot be taken is reported, with its number, and passed over; so is one whose time is not after the
    last. Missing values and rows are reported and taken as missing.

    With a snapshot a process that was killed, at whatever moment, goes on where it was when it is started again, with
    the bits of one that was not. The input may then be the rest or the whole: rows that were taken before are passed
    over, which is said once (without a column of times the input must be the rest). A line enters the snapshot just
    before its answer is written: whoever has seen an answer need not give its observation again, and each counts
    exactly once. Where `out` is a file that is appended to, each answer comes exactly once, too. A pipe cannot be asked
    what it was given: if the kill came in the microseconds between the snapshot and the pipe, one answer is missing
    there, and it comes when its observation is the first line that is given again. Without times that is the very same
    line, which then is said to count once. The snapshot survives the process; with the machine's power at most the last
    lines are lost, which is said, and which can be given again.

    Args:
        live: from `Estimator.live`, or `recurra.tasks.opening.open_live`.
        lines: bytes (UTF-8) or text, as `read_lines` gives them of a file.
        out: where answers go.
        errors: where reports go.
        snapshot: a file that keeps the state.
        ahead: a table of times to come and their known-ahead columns: announced before the first line.

    Raises:
        DataError: the header lacks a column, or the table of what is ahead cannot be used.
        SessionError: the snapshot is damaged, of another model, or in use.
        OSError: a file cannot be read or written.
    """
    run = _Run(live, out, errors)
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

    def __init__(self, live: Live, out: TextIO, errors: TextIO) -> None:
        self.live, self.out, self.errors = live, out, errors
        self.summary = Summary(live.answer)
        self.format: LineFormat | None = None
        self.journal: Journal | None = None
        self.number = 0
        self.known: dict[str, int] = {}  # the last time of each series that the snapshot had
        self.pending: tuple[tuple[str, int] | None, str] | None = None  # the place and the text of the last answer
        self.last = b""  # a line without a time whose answer may not have been written
        self.file = _regular(out)
        self.ends = False  # whether the last observation has ended its series
        ends = live.apart is not None and not live.timed and END not in live.names
        self.extra = (*live.extra, *([END] if ends else []))

    def go_on(self, path: str | os.PathLike[str]) -> None:
        """From the snapshot, if there is one; from now on keep it."""
        self.journal = Journal(path)
        if self.journal.state is None:
            return
        about = self.journal.about
        if self.journal.torn:
            self.report("the end of the snapshot came to the disk only in part: the last lines may be given again")
        self.live.restore(self.journal.state)
        try:
            self._replay(about)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise SessionError(
                f"{path}: what the snapshot says of its stream is inconsistent ({error}): delete the file to start anew"
            ) from error

    def _replay(self, about: Mapping[str, Any]) -> None:
        """Take the lines since the state again."""
        assert self.journal is not None
        if about["format"]:
            header, separator = about["header"], about["separator"]
            if not (isinstance(separator, str) and len(separator) == 1 and isinstance(header, list)):
                raise ValueError(f"the header is {str(header)[:40]}, the separator {str(separator)[:40]}")
            self.format = LineFormat(
                self.live.names, [str(name) for name in header], separator, self.live.keys, self.extra
            )
        text, size, place = str(about["pending"]), int(about["size"]), None
        theirs = about["file"]
        for line, size in self.journal.lines:  # noqa: B007  (the size before the last answer)
            text = ""
            if not line.strip():
                self.live.empty_line()
                continue
            if self.format is None:
                raise ValueError("there are lines without a format")
            observation = self.format.observation(line.decode())
            place = self.live.place(observation) if self.live.timed else None
            text = self.text(self.step(observation))
        self.live.notes.clear()
        self.known = {name: time for name in self.live.series if (time := self.live.last(name)) is not None}
        if self.file is not None and theirs == list(self.file) and size >= 0:
            self.write(self.rest(text, size))
        elif text and place is not None:
            self.pending = (place, text)
        elif text and not self.journal.answered:
            self.pending, self.last = (None, text), self.journal.lines[-1][0]

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
        for name in self.live.announced:
            table.require(name)
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
            if self.live.empty_line():
                self.keep(text)
            return
        if self.format is None:
            self.format = self.begin(text)
            if not self.format.is_json:
                return
        elif self.format.is_header(text):
            return
        self.observe(text, self.format)

    def begin(self, first: str) -> LineFormat:
        """Learn the format of the lines, and write the header of the answers."""
        self.format = LineFormat.of(first, self.live.names, self.live.keys, self.extra)
        head = self.format.head(self.live)
        self.save(head)
        self.write(head)
        return self.format

    def observe(self, text: str, form: LineFormat) -> None:
        """A line that is an observation."""
        try:
            observation = form.observation(text)
            if self.is_last(text) or (self.known and self.is_known(observation)):
                return
            began = stopwatch.perf_counter()
            answer = self.step(observation)
            seconds = stopwatch.perf_counter() - began
        except RecurraError as error:
            self.bad(str(error))
            return
        if self.live.notes:
            for note in self.live.notes:
                self.report(note)
            self.live.notes.clear()
        if answer is not None:
            self.summary.answers += 1
            self.summary.seconds += seconds
        elif not self.ends:
            self.summary.announcements += 1
        self.summary.ended += self.ends
        self.keep(text, self.text(answer))

    def step(self, observation: dict[str, Any]) -> Any:
        """The answer to an observation; and its series ends where it says so."""
        word = observation.pop(END, None) if END in self.extra else None
        self.ends = False
        if not _is_true(word):
            return self.live.step(observation)
        assert self.live.apart is not None
        name = observation.get(self.live.apart)
        if name is None or is_empty(name):
            raise DataError(f"the series {self.live.apart!r} is missing, expected the name of the one that ends")
        said = any(v is not None and not is_empty(v) for key, v in observation.items() if key != self.live.apart)
        answer = self.live.step(observation) if said else None
        self.live.end(str(name).strip())
        self.ends = True
        return answer

    def keep(self, line: str, answer: str = "") -> None:
        """Put a line into the snapshot, and then write its answer."""
        grown = self.journal is not None and self.journal.add(line.encode(), self.size())
        self.write(answer)
        if self.journal is not None and self.file is None and answer and not self.live.timed:
            grown |= self.journal.answer()
        if grown:
            self.save()

    def text(self, answer: Any) -> str:
        """An answer as a line; nothing where there is none."""
        assert self.format is not None
        return "" if answer is None else self.format.line(self.live, answer)

    def is_last(self, line: str) -> bool:
        """Whether this is the first line, and the last of the snapshot again, whose answer was not written."""
        last, self.last = self.last, b""
        if not last or line.strip().encode() != last.strip():
            return False
        assert self.pending is not None
        self.write(self.pending[1])
        self.pending = None
        self.summary.skipped += 1
        self.report("the line is the last of the snapshot again, whose answer was not written: it counts once")
        return True

    def is_known(self, observation: Mapping[str, Any]) -> bool:
        """Whether the snapshot had this observation already."""
        place = self.live.place(observation)
        if place is None:
            return False
        pending, self.pending = self.pending, None
        if pending is not None and place == pending[0]:
            self.write(pending[1])
        series, time = place
        if time > self.known.get(series, time - 1):
            return False
        if not self.summary.skipped:
            self.report("rows that are in the snapshot are passed over")
        self.summary.skipped += 1
        return True

    def write(self, text: str) -> None:
        """Write and flush."""
        if not text:
            return
        if self.file is None or not getattr(self.out, "write_through", False):
            self.out.write(text)
            self.out.flush()
            return
        content = memoryview(text.encode())  # a text file without a buffer drops what did not fit on the disk
        while content:
            content = content[os.write(self.out.fileno(), content) :]

    def bad(self, message: str) -> None:
        """Report a line that cannot be taken."""
        self.summary.bad += 1
        self.report(message)

    def report(self, message: str) -> None:
        """A line about the line that is being read."""
        self.errors.write(printable(f"line {self.number}: {message}") + "\n")
        self.errors.flush()

    def size(self) -> int:
        """The size of the output, where it is a file."""
        return -1 if self.file is None else os.fstat(self.out.fileno()).st_size

    def save(self, pending: str = "") -> None:
        """Write the state in the place of the lines; `pending` is what will be written next."""
        if self.journal is None:
            return
        form = self.format
        self.journal.begin(
            self.live.snapshot(),
            format=form is not None,
            header=form.header if form else [],
            separator=form.separator if form else ",",
            file=None if self.file is None else list(self.file),
            size=self.size(),
            pending=pending,
        )

    def end(self) -> None:
        """After the last line."""
        if self.format is not None:
            self.save()


def _is_true(word: Any) -> bool:
    """What a cell of the column `end` says; nothing is false."""
    text = "" if word is None else str(word).strip().lower()
    if text in ("", "0", "false", "no"):
        return False
    if text in ("1", "true", "yes"):
        return True
    raise DataError(f"{END!r} is {str(word)[:40]!r}, expected true or false")


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
