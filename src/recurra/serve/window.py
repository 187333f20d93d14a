"""`Window`: the last answers of a session, for a client that comes back and did not get them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_SIZE = struct.Struct("<I")


class Window:
    """The last answers, one record of bytes a step, in one piece of memory.

    It keeps those of the last `most` steps, and always all of the last frame, so that a client that waits for the
    answer to a frame before it sends the next can always come back.

    Attributes:
        most: how many are kept.
        first: the sequence number of the first that is there.
        count: how many are there.

    >>> window = Window(2)
    >>> for answer in (b"a", b"b", b"c"):
    ...     window.add([answer])
    >>> window.first, window.since(2)
    (2, [b'b', b'c'])
    """

    __slots__ = ("_data", "count", "first", "most")

    def __init__(self, most: int, first: int = 1, data: bytes = b"") -> None:
        self.most, self.first, self._data = most, first, bytearray(data)
        self.count, at = 0, 0
        while at < len(data):
            if at + _SIZE.size > len(data) or (at := at + _SIZE.size + _SIZE.unpack_from(data, at)[0]) > len(data):
                raise ValueError("the replay window is cut short")
            self.count += 1

    def add(self, frame: Sequence[bytes], again: int = 0) -> None:
        """Append the answers to one frame, of which the first `again` are there already."""
        if not frame:
            return
        data = self._data
        for record in frame:
            data += _SIZE.pack(len(record)) + record
        self.count += len(frame)
        drop = self.count - max(self.most, len(frame) + again)
        if drop > 0:
            at, unpack = 0, _SIZE.unpack_from
            for _ in range(drop):
                at += 4 + unpack(data, at)[0]
            del data[:at]
            self.count -= drop
            self.first += drop

    def since(self, number: int) -> list[bytes] | None:
        """The answers from a sequence number on; None where they have left."""
        if number < self.first:
            return None
        found, at = [], 0
        for i in range(self.first, self.first + self.count):
            size = _SIZE.unpack_from(self._data, at)[0]
            at += _SIZE.size
            if i >= number:
                found.append(bytes(self._data[at : at + size]))
            at += size
        return found

    def to_bytes(self) -> bytes:
        """All of it, for `Window(most, first, data)`."""
        return bytes(self._data)
