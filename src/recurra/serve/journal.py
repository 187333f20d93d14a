"""The snapshot file of a stream: the state at some line, and the lines since.

A state is some kilobytes for each series, a line a hundred bytes. So a line is appended, with its checksum, before its
forecast is written, and the state is written anew, in one move, only when the lines have become many. To read it is to
restore the state and to take the lines again, which gives the same bits.

    the state, sealed as any snapshot (`recurra.runtime.sealed`);
    then for each line 4 bytes: its size, 4: its checksum, 8: the size of the output before its forecast, and the line.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recurra.errors import SessionError
from recurra.files import write_atomically
from recurra.runtime.sealed import seal, sealed_size, unseal

_KIND, _NOBODY = b"RcrL", bytes(32)  # whose the state is, it says itself
_RECORD = struct.Struct("<IIq")
_LEAST = 1 << 20  # bytes of lines before the state is written anew

_CURE = "delete the file to start anew"


class Journal:
    """A file that holds a state and the lines since.

    Args:
        path: the file, which need not exist.

    Attributes:
        state: what was read of it, None where there is no file.
        about: what was said of the state.
        lines: the lines since, each with the size of the output before its forecast (-1: no file).

    Raises:
        SessionError: the file is damaged, or another process has it open.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.state: bytes | None = None
        self.about: dict[str, Any] = {}
        self.lines: list[tuple[bytes, int]] = []
        self._file = -1
        if self.path.exists():
            self._open()
            try:
                self._read()
            except BaseException:
                self.close()
                raise

    def begin(self, state: bytes, **about: Any) -> None:
        """Put a state, and what is said of it, in the place of all that was."""
        write_atomically(self.path, seal(_KIND, _NOBODY, state, **about))
        self.close()
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

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            import fcntl
        except ImportError:  # not a POSIX system
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise SessionError(
                f"{self.path}: the snapshot is in use by another process, expected one stream for a file: end the "
                "other, or name another file"
            ) from error

    def _read(self) -> None:
        content = self.path.read_bytes()
        how = {"where": str(self.path), "cure": _CURE}
        at = end = sealed_size(content, _KIND, **how)
        self.about, state = unseal(content[:at], _KIND, _NOBODY, **how)
        for line, output, stop in self._records(content, at):
            self.lines.append((line, output))
            end = stop
        os.ftruncate(self._file, end)  # of a line that was cut short, nothing has been counted
        os.lseek(self._file, end, os.SEEK_SET)
        self.state, self._grown, self._most = state, end - at, max(_LEAST, 4 * len(state))

    def _records(self, content: bytes, at: int) -> Iterator[tuple[bytes, int, int]]:
        while at + _RECORD.size <= len(content) and any(content[at : at + _RECORD.size]):
            size, checksum, output = _RECORD.unpack_from(content, at)
            line = content[at + _RECORD.size : at + _RECORD.size + size]
            if len(line) < size:
                return
            if _checksum(line, output) != checksum:
                raise SessionError(f"{self.path}: the snapshot is damaged after {len(self.lines)} lines; {_CURE}")
            at += _RECORD.size + size
            yield line, output, at


def _checksum(line: bytes, output: int) -> int:
    return zlib.crc32(line, zlib.crc32(struct.pack("<q", output)))
