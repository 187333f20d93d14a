"""Images one after the other, as they come: files of a folder, or a camera's frames in a stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from recurra.data.images.captioned import KINDS
from recurra.errors import DataError

BEGIN, END = b"\xff\xd8\xff", b"\xff\xd9"  # of a JPEG
MOST_BYTES = 1 << 26  # of one frame
PIECE = 1 << 16
WAIT = 0.25  # seconds between two looks at a folder


def frames(stream: BinaryIO) -> Iterator[bytes]:
    """The JPEG files that follow one another in a stream (MJPEG), as a camera or `ffmpeg -f mjpeg -` gives them.

    Raises:
        DataError: what comes is no JPEG, or a frame has more than 67 million bytes.

    >>> import io
    >>> list(frames(io.BytesIO(BEGIN + b"one" + END + BEGIN + b"two" + END)))
    [b'\\xff\\xd8\\xffone\\xff\\xd9', b'\\xff\\xd8\\xfftwo\\xff\\xd9']
    """
    held, seen, number = b"", 0, 1
    while piece := stream.read1(PIECE) if hasattr(stream, "read1") else stream.read(PIECE):
        held += piece
        while (end := held.find(END, max(0, seen - 1))) >= 0:
            frame, held, seen = held[: end + len(END)], held[end + len(END) :], 0
            yield _checked(frame, number)
            number += 1
        seen = len(held)
        if held and len(held) >= len(BEGIN):
            _checked(held, number)
    if held.strip(b"\0\r\n"):
        raise DataError(f"frame {number}: the stream ends within it, expected whole JPEG files")


def _checked(frame: bytes, number: int) -> bytes:
    if not frame.startswith(BEGIN):
        raise DataError(
            f"frame {number}: it begins with {frame[:4]!r}, expected JPEG files one after the other (MJPEG)"
        )
    if len(frame) > MOST_BYTES:
        raise DataError(f"frame {number}: it has more than {MOST_BYTES} bytes: make it smaller")
    return frame


def images_of(folder: Path, follow: bool = False) -> Iterator[Path]:
    """The images (or features) of a folder in the order of their names; with `follow`, then those that come, for ever.

    A file that comes is taken once its size stays the same.
    """
    taken: set[Path] = set()
    sizes: dict[Path, int] = {}
    first = True
    while first or follow:
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in KINDS and p.is_file() and p not in taken)
        for path in found:
            size = path.stat().st_size
            if first or sizes.get(path) == size:
                taken.add(path)
                yield path
            sizes[path] = size
        first = False
        if follow:
            time.sleep(WAIT)
