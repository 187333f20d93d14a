"""The snapshot file of a stream: the state at some line, and the lines since.

A state is some kilobytes for each series, a line a hundred bytes. So a line is appended, with its checksum, before its
forecast is written, and the state is written anew, in one move, only when the lines have become many. To read it is to
restore the state and to take the lines again, which gives the same bits.

    the state, sealed as any snapshot (`recurra.runtime.sealed`);
    then for each line 4 bytes: its size, 4: its checksum, 8: the size of the output before its forecast, and the line.

A record of an empty line says that the answer of the line before it was written. Lines are not forced to the disk one
by one, so a power failure may leave the end of the file torn, with pages of zeros: that end is dropped. A record that
is wrong in the midst of others, without such a page, was damaged otherwise, and then nothing is taken.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from recurra.errors import SessionError
from recurra.files import write_atomically
from recurra.runtime.sealed import seal, sealed_size, unseal

_KIND, _NOBODY = b"RcrL", bytes(32)  # whose the state is, it says itself
_RECORD = struct.Struct("<IIq")
_LEAST = 1 << 20  # bytes of lines before the state is written anew
_LONGEST = 1 << 21  # bytes of a record, whose line is a megabyte at most; more is no size
_TORN = bytes(16)  # what a line of text never has, and a page that never came to the disk has

_CURE = "delete the file to start anew"


class Journal:
    """A file that holds a state and the lines since.

    Args:
        path: the file, which need not exist.

    Attributes:
        state: what was read of it, None where there is no file.
        about: what was said of the state.
        lines: the lines since, each with the size of the output before its forecast (-1: no file).
        answered: whether the answer of the last of them is known to have been written.
        torn: the bytes at the end of the file that were dropped, as they came to the disk only in part.

    Raises:
        SessionError: the file is damaged, or another process has it open.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.state: bytes | None = None
        self.about: dict[str, Any] = {}
        self.lines: list[tuple[bytes, int]] = []
        self.answered, self.torn = False, 0
        self._file = -1
        self._lock = self._locked()
        try:
            if self.path.exists():
                self._open()
                self._read()
        except BaseException:
            self.close()
            raise

    def begin(self, state: bytes, **about: Any) -> None:
        """Put a state, and what is said of it, in the place of all that was."""
        write_atomically(self.path, seal(_KIND, _NOBODY, state, **about))
        self._close_file()
        self._open()
        os.lseek(self._file, 0, os.SEEK_END)
        self._grown, self._most = 0, max(_LEAST, 4 * len(state))

    def add(self, line: bytes, output: int) -> bool:
        """Append a line; True where it is time for `begin`."""
        record = _RECORD.pack(len(line), _checksum(line, output), output) + line
        if os.write(self._file, record) != len(record):
            raise OSError(28, "No space left on device", str(self.path))
        self._grown += len(record)
        return self._grown > self._most

    def answer(self) -> bool:
        """Append that the answer of the last line was written; True where it is time for `begin`."""
        return self.add(b"", -1)

    def close(self) -> None:
        """Close the file, and let others have it."""
        self._close_file()
        if self._lock >= 0:
            with suppress(OSError):
                os.unlink(self._beside())
            os.close(self._lock)
            self._lock = -1

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_RDWR | getattr(os, "O_BINARY", 0))

    def _locked(self) -> int:
        """A lock on a file beside, for the snapshot is not there at first, and is another file after each `begin`."""
        try:
            import fcntl
        except ImportError:  # not a POSIX system
            return -1
        beside = self._beside()
        lock = os.open(beside, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise SessionError(
                f"{self.path}: the snapshot is in use by another process, expected one stream for a file: end the "
                "other, or name another file"
            ) from error
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)  # its owner has just removed it: another may have made it anew
        return self._locked()

    def _beside(self) -> Path:
        return self.path.with_name(f".{self.path.name}.lock")

    def _read(self) -> None:
        content = self.path.read_bytes()
        how = {"where": str(self.path), "cure": _CURE}
        at = end = sealed_size(content, _KIND, **how)
        self.about, state = unseal(content[:at], _KIND, _NOBODY, **how)
        for line, output, end in _records(content, at):  # noqa: B007  (the end of the last is needed)
            self.answered = not line
            if line:
                self.lines.append((line, output))
        self.torn = self._torn(content, end)
        os.ftruncate(self._file, end)  # of a line that was cut short, nothing has been counted
        os.lseek(self._file, end, os.SEEK_SET)
        self.state, self._grown, self._most = state, end - at, max(_LEAST, 4 * len(state))

    def _torn(self, content: bytes, end: int) -> int:
        """How many bytes follow the last good record.

        Raises:
            SessionError: a record is wrong, good ones follow it, and no page between is missing.
        """
        size = _RECORD.unpack_from(content, end)[0] if end + _RECORD.size <= len(content) else 0
        after = end + _RECORD.size + (size if size < _LONGEST else 0)
        if after < len(content) and _TORN not in content[end:after]:
            last = len(content) - _RECORD.size + 1
            if any(next(_records(content, at), None) for at in range(after, last)):
                raise SessionError(f"{self.path}: the snapshot is damaged after {len(self.lines)} lines; {_CURE}")
        return len(content) - end


def _records(content: bytes, at: int) -> Iterator[tuple[bytes, int, int]]:
    """The records from a place on, each with the place after it, up to the first that is none."""
    while at + _RECORD.size <= len(content):
        size, checksum, output = _RECORD.unpack_from(content, at)
        line = content[at + _RECORD.size : at + _RECORD.size + size]
        if len(line) < size or _checksum(line, output) != checksum:
            return
        at += _RECORD.size + size
        yield line, output, at


def _checksum(line: bytes, output: int) -> int:
    return zlib.crc32(line, zlib.crc32(struct.pack("<q", output)))
