"""Text as it comes: bytes of UTF-8 cut anywhere, in Unicode's normal form C, of a whole text and of pieces alike."""

from __future__ import annotations

import codecs
import unicodedata
from typing import Any

from recurra.errors import DataError

MOST_MARKS = 64  # characters that are normalized together; more marks on one letter than any script has


def normal(text: str) -> str:
    """A whole text in Unicode's normal form C, as `Arriving` makes it piece by piece.

    >>> len("e\\u0301"), len(normal("e\\u0301"))
    (2, 1)
    """
    if unicodedata.is_normalized("NFC", text):
        return text
    arriving = Arriving()
    return arriving.push(text) + arriving.end()


def decoded(content: bytes, source: str, line: int | None = None) -> str:
    """Bytes of UTF-8 as text, without a mark of the byte order.

    Raises:
        DataError: they are of another encoding; the message says which byte.
    """
    for mark, kind in ((codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16")):
        if content.startswith(mark):
            raise DataError(f"{source}: the text is {kind}, expected UTF-8: save it in that encoding")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = line if line is not None else content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{source}, line {at}: byte {content[error.start]:#04x} is no UTF-8, expected text in UTF-8: save it in "
            "that encoding"
        ) from None


class Arriving:
    """Text that arrives in pieces of bytes or characters, cut anywhere; what can no longer change is handed on.

    The last bytes of a character wait for the others, and the last letter for marks that may follow and become one
    character with it.

    >>> arriving = Arriving()
    >>> [arriving.push(piece) for piece in (b"caf", b"e\\xcc", b"\\x81 o")], arriving.pending
    (['ca', 'f', 'é '], 'o')
    """

    def __init__(self, held: str = "", rest: bytes = b"") -> None:
        self.held, self.rest = held, rest

    def push(self, piece: str | bytes) -> str:
        """Take a piece, and give what is certain.

        Raises:
            DataError: the bytes are no UTF-8; nothing has changed.
        """
        text, rest = (piece, self.rest) if isinstance(piece, str) else _read(self.rest + bytes(piece))
        if isinstance(piece, str) and self.rest:
            raise DataError("text: characters came in the middle of a character's bytes, expected its other bytes")
        self.rest = rest
        if not text:
            return ""
        if text.isascii():
            done, self.held = _nfc(self.held) + text[:-1], text[-1]
            return done
        found = []
        for c in text:
            if self.held and (len(self.held) >= MOST_MARKS or begins(self.held, c)):
                found.append(_nfc(self.held))
                self.held = ""
            self.held += c
        return "".join(found)

    @property
    def pending(self) -> str:
        """What would follow if the text ended here; bytes of half a character are left out."""
        return _nfc(self.held)

    def end(self) -> str:
        """The end of the text.

        Raises:
            DataError: it ends in the middle of a character.
        """
        if self.rest:
            raise DataError(f"text: it ends after {len(self.rest)} bytes of a character, expected UTF-8: it was cut")
        done, self.held = self.pending, ""
        return done


def begins(before: str, c: str) -> bool:
    """Whether a character stays what it is beside the ones before it: no mark on them, and nothing made with them."""
    if c.isascii():
        return True
    first = unicodedata.normalize("NFD", c)[0]
    return not unicodedata.combining(first) and _nfc(before + c) == _nfc(before) + _nfc(c)


def _nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _read(content: bytes) -> tuple[str, bytes]:
    """The whole characters of some bytes, and the bytes of one that has only begun."""
    decoder: Any = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(content)
    except UnicodeDecodeError as error:
        raise DataError(f"text: byte {content[error.start]:#04x} is no UTF-8, expected text in UTF-8") from None
    return text, decoder.getstate()[0]
