"""Samples of a file, whole or in pieces: any rate resampled, channels mixed, and what was done about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.audio.resample import Resampler, check_rate
from recurra.errors import DataError, need

F32: TypeAlias = NDArray[np.float32]
RATE = 16_000
BLOCK = 1.0  # seconds that are read at once
LOUDEST = 0.999  # of full scale: a sample beyond it is taken as clipped
CLIPPED = 0.001  # the share of such samples from which on it is said
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".aif", ".aiff", ".au")


def stream_sound(
    path: str | os.PathLike[str], rate: int = RATE, notes: list[str] | None = None, block: float = BLOCK
) -> Iterator[F32]:
    """The samples of a file, in pieces of about `block` seconds: float32, one channel, `rate` a second.

    Memory is that of a piece, however long the file is. What was done to it is appended to `notes`.

    Raises:
        DataError: it is no sound, is cut off, empty, or has a sample that is no number.
        OSError: it cannot be read.
        MissingExtraError: soundfile is not installed.
    """
    need("reading sound", "soundfile", extra="audio")
    import soundfile

    check_rate(rate)
    path, notes = Path(path), notes if notes is not None else []
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty, expected WAV, FLAC or OGG")
    with path.open("rb") as raw:
        short = _missing_bytes(raw.read(1 << 16), path.stat().st_size)
        if short:
            raise DataError(f"{path}: the file is cut off, {short} bytes are missing: take it from its source again")
        raw.seek(0)
        try:
            file = soundfile.SoundFile(raw)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise DataError(f"{path}: this is no sound ({_said(error)}), expected WAV, FLAC or OGG") from None
        with file:
            yield from _read(file, path, rate, notes, max(1, int(block * file.samplerate)))


def _read(file: Any, path: Path, rate: int, notes: list[str], size: int) -> Iterator[F32]:
    import soundfile

    check_rate(file.samplerate)
    if not file.frames:
        raise DataError(f"{path}: there are no samples, expected some: leave it out")
    if file.samplerate != rate:
        notes.append(f"resampled from {file.samplerate} to {rate} Hz")
    if file.channels > 1:
        notes.append(f"{file.channels} channels mixed to one")
    resampler = Resampler(file.samplerate, rate)
    done = clipped = 0
    loud = False
    while done < file.frames:
        try:
            block = file.read(size, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise DataError(f"{path}: damaged after {done / file.samplerate:.1f} s ({_said(error)})") from None
        if not len(block):
            raise DataError(
                f"{path}: the file is cut off: {done} samples, expected {file.frames}: take it from its source again"
            )
        mixed = mix(block)
        bad = np.flatnonzero(~np.isfinite(mixed))
        if len(bad):
            at = (done + int(bad[0])) / file.samplerate
            raise DataError(f"{path}: the sample at {at:.3f} s is no number, expected finite samples: cut it out")
        done += len(block)
        clipped += int((np.abs(block) >= LOUDEST).any(1).sum())
        loud = loud or bool(mixed.any())
        yield resampler.push(mixed)
    if clipped > CLIPPED * done:
        notes.append(f"{clipped / done:.1%} of the samples are clipped: record more softly")
    if not loud:
        notes.append("all of it is silence")


def stream_pcm(file: BinaryIO, rate: int = RATE, block: float = BLOCK) -> Iterator[F32]:
    """The samples of a stream of 16-bit numbers, signed, little-endian, one channel, in pieces as they come.

    Raises:
        DataError: it has half a sample at its end.
    """
    check_rate(rate)
    read: Any = getattr(file, "read1", file.read)
    rest = b""
    while True:
        got = read(max(2, 2 * int(block * rate)))
        if not got:
            break
        rest += got
        even = len(rest) // 2 * 2
        yield np.frombuffer(rest[:even], "<i2").astype(np.float32) / np.float32(32768)
        rest = rest[even:]
    if rest:
        raise DataError("samples: the stream ends in half a sample, expected 16 bits each: arecord -f S16_LE")


def sound_of(name: str, given: int, rate: int, block: float = BLOCK) -> Iterator[tuple[F32, int]]:
    """The samples of a file, or of standard input where the name is "-", in pieces, each with its rate.

    Args:
        name: of the file.
        given: the rate of standard input.
        rate: that a file is resampled to.
        block: seconds of a piece, about.
    """
    if name == "-":
        yield from ((piece, given) for piece in stream_pcm(sys.stdin.buffer, given, block))
    else:
        yield from ((piece, rate) for piece in stream_sound(name, rate, block=block))


def read_sound(path: str | os.PathLike[str], rate: int = RATE, notes: list[str] | None = None) -> F32:
    """All samples of a file, float32 [N], one channel, `rate` a second; the bits are those of `stream_sound`.

    Raises:
        DataError, OSError, MissingExtraError: as `stream_sound`.
    """
    return np.concatenate(list(stream_sound(path, rate, notes)))


def mix(block: F32) -> F32:
    """The mean [N] of channels [N, C]."""
    mixed = block[:, 0].copy()
    for channel in block.T[1:]:
        mixed += channel
    return mixed / np.float32(block.shape[1]) if block.shape[1] > 1 else mixed


def checked_samples(samples: Any, what: str = "samples") -> F32:
    """Samples as float32 [N]; whole numbers of 16 bits are taken as such.

    Raises:
        DataError: they are none, or one is no number.
    """
    x = np.asarray(samples)
    if x.dtype == np.int16:
        x = x.astype(np.float32) / np.float32(32768)
    if x.ndim == 0:
        x = x[None]
    if x.ndim != 1 or x.dtype.kind != "f":
        raise DataError(f"{what}: an array {x.dtype} of shape {x.shape}, expected [N] of float32, or int16")
    x = x.astype(np.float32, copy=False)
    if not np.isfinite(x).all():
        raise DataError(f"{what}: number {int(np.flatnonzero(~np.isfinite(x))[0])} is no number, expected finite ones")
    return x


def _missing_bytes(head: bytes, size: int) -> int:
    """How many bytes a WAV file lacks of those that its header announces; libsndfile does not say it."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return 0
    at = 12
    while at + 8 <= len(head):
        length = int.from_bytes(head[at + 4 : at + 8], "little")
        if head[at : at + 4] == b"data":
            return 0 if length >= 0xFFFFFF00 else max(0, at + 8 + length - size)  # streamed: no length was known
        at += 8 + length + length % 2
    return 0


def _said(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:120]
