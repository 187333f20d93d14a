"""`Window`: the last answers of a session, for a client that comes back and did not get them."""

from __future__ import annotations


class Window:
    r"""The last answers, one after the other in one piece of memory.

    It keeps those of the last `most` steps, and always all of the last frame, so that a client that waits for the
    answer to a frame before it sends the next can always come back.

    Attributes:
        most: how many are kept.
        size: bytes of an answer; 0 where each ends with a line feed.
        first: the sequence number of the first that is there.
        count: how many are there.

    >>> window = Window(2, 0)
    >>> for answer in (b"a\n", b"b\n", b"c\n"):
    ...     window.add(answer, 1)
    >>> window.first, window.since(2)
    (2, b'b\nc\n')
    """

    __slots__ = ("_data", "count", "first", "most", "size")

    def __init__(self, most: int, size: int, first: int = 1, data: bytes = b"") -> None:
        self.most, self.size, self.first = most, size, first
        self._data = bytearray(data) if data else None  # most sessions of a server never step
        if data and (len(data) % size if size else not data.endswith(b"\n")):
            raise ValueError("the replay window is cut short")
        self.count = len(data) // size if size else data.count(b"\n")

    def add(self, answers: bytes, steps: int, again: int = 0) -> None:
        """Append the answers to a frame of as many steps, before which the first `again` of the frame are there."""
        data = self._data
        if data is None:
            data = self._data = bytearray()
        data += answers
        count = self.count + steps
        drop = count - self.most
        if drop > 0 and (drop := min(drop, count - steps - again)) > 0:
            del data[: drop * self.size or self._place(drop)]
            count -= drop
            self.first += drop
        self.count = count

    def since(self, number: int) -> bytes | None:
        """The answers from a sequence number on; None where they have left."""
        if number < self.first:
            return None
        return bytes((self._data or b"")[self._place(min(number - self.first, self.count)) :])

    def _place(self, answers: int) -> int:
        """Where as many answers end."""
        if self.size or self._data is None:
            return answers * self.size
        at = 0
        for _ in range(answers):
            at = self._data.index(b"\n", at) + 1
        return at

    def to_bytes(self) -> bytes:
        """All of it, for `Window(most, size, first, data)`."""
        return bytes(self._data or b"")
