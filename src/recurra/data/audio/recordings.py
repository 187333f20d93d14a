"""Recordings of folders and manifests: a file of sound each, with what is known of it."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.audio.sound import RATE, SUFFIXES, checked_samples, read_sound
from recurra.errors import DataError

F32: TypeAlias = NDArray[np.float32]
PATHS = ("path", "audio_filepath", "audio", "file", "wav")
TEXTS = ("text", "sentence", "transcript", "transcription")
LABELS = ("label", "command", "word", "class")
SPEAKERS = ("speaker", "speaker_id", "client_id", "group")
MANIFESTS = (".jsonl", ".json", ".csv", ".tsv")


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording.

    Attributes:
        name: where it is from.
        samples: float32 [N], one channel, 16,000 a second if nothing else was asked for.
        text, label, speaker: what was said, which kind it is, and by whom; None where it is not known.
        notes: what was done to the samples.
    """

    name: str
    samples: F32
    text: str | None = None
    label: str | None = None
    speaker: str | None = None
    notes: tuple[str, ...] = field(default=())


def is_audio(X: Any) -> bool:
    """Whether X is recordings: a folder of sound files, a manifest that names some, a file, or a list of these."""
    if isinstance(X, (str, os.PathLike)):
        path = Path(X)
        if path.is_dir():
            return next(_sound_files(path), None) is not None
        if path.suffix.lower() in SUFFIXES:
            return True
        if path.suffix.lower() not in MANIFESTS or not path.is_file():
            return False
        try:
            _, first = next(_lines(path), (0, {}))
        except DataError:
            return False
        return any(str(first.get(name, "")).lower().endswith(SUFFIXES) for name in PATHS)
    if isinstance(X, Sequence) and len(X):
        return isinstance(X[0], Recording) or (isinstance(X[0], (str, os.PathLike)) and _is_sound(X[0]))
    return False


def read_recordings(X: Any, rate: int = RATE) -> list[Recording]:
    """The recordings of a folder, a manifest, a list of files, or a list of recordings.

    Args:
        X: a folder, whose folders are labels (`yes/a.wav`); a manifest: JSON Lines, or CSV or TSV with a header, with
            a `path` (beside the manifest, if it is not absolute) and maybe `text`, `label` and `speaker`; a file of
            sound; a list of files, or of `Recording`.
        rate: samples a second.

    Raises:
        DataError: there are none, or a line or a file cannot be used; the message says which.
        OSError: a file cannot be read.
    """
    if isinstance(X, (str, os.PathLike)):
        path = Path(X)
        if path.is_dir():
            entries = [(file, {"label": _label(path, file)}) for file in sorted(_sound_files(path))]
            if not entries:
                raise DataError(f"{path}: no sound in this folder, expected files {', '.join(SUFFIXES[:3])}")
        elif path.suffix.lower() in SUFFIXES:
            entries = [(path, {})]
        else:
            entries = [_entry(path, number, line) for number, line in _lines(path)]
            if not entries:
                raise DataError(f"{path}: the manifest has no lines, expected one for each recording")
        return [_read(file, about, rate) for file, about in entries]
    found = [one if isinstance(one, Recording) else _read(Path(one), {}, rate) for one in X]
    if not found:
        raise DataError("recordings: there are none, expected at least one")
    for one in found:
        checked_samples(one.samples, f"recording {one.name!r}")
    return found


def unfinished(recordings: Sequence[Recording], label: str = "other", seed: int = 0) -> list[Recording]:
    """Recordings broken off where at most half of their energy was heard, with a label of their own.

    A classifier that learns these too says nothing before a word is said: what a `Spotter` needs, since the
    beginning of one word may sound like another.

    >>> one = Recording("a", np.ones(1000, np.float32), label="yes")
    >>> [cut] = unfinished([one])
    >>> cut.label, 100 <= len(cut.samples) <= 500
    ('other', True)
    """
    rng, found = np.random.default_rng(seed), []
    for one in recordings:
        heard = np.cumsum(one.samples.astype(np.float64) ** 2)
        end = int(np.searchsorted(heard, rng.uniform(0.1, 0.5) * heard[-1])) if len(heard) else 0
        found.append(replace(one, name=f"{one.name}, unfinished", samples=one.samples[:end], label=label))
    return found


def _read(file: Path, about: Mapping[str, Any], rate: int) -> Recording:
    notes: list[str] = []
    samples = read_sound(file, rate, notes)
    return Recording(str(file), samples, notes=tuple(notes), **about)


def _sound_files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if _is_sound(file) and file.is_file())


def _is_sound(file: str | os.PathLike[str]) -> bool:
    return Path(file).suffix.lower() in SUFFIXES


def _label(folder: Path, file: Path) -> str | None:
    parts = file.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else None


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The lines of a manifest with their numbers."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            if path.suffix.lower() in (".csv", ".tsv"):
                reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
                yield from ((reader.line_num, line) for line in reader)
                return
            for number, text in enumerate(file, 1):
                if text.strip():
                    line = json.loads(text)
                    if not isinstance(line, dict):
                        raise DataError(f'{path}: line {number} is no object, expected {{"path": ..., "text": ...}}')
                    yield number, line
        except (json.JSONDecodeError, RecursionError, csv.Error) as error:
            where = f"line {number}" if path.suffix.lower() not in (".csv", ".tsv") else "a line"
            raise DataError(f"{path}: {where} is unreadable ({error}), expected JSON Lines, or CSV") from None
        except UnicodeDecodeError:
            raise DataError(f"{path}: this is no text in UTF-8, expected a manifest: JSON Lines, or CSV") from None


def _entry(path: Path, number: int, line: Mapping[str, Any]) -> tuple[Path, dict[str, str | None]]:
    given = _first(line, PATHS)
    if given is None:
        raise DataError(
            f"{path}: line {number} names no file, expected a {PATHS[0]!r}; it has {', '.join(map(str, line))[:80]}"
        )
    file = path.parent / given
    if not file.is_file():
        raise DataError(
            f"{path}: line {number}: there is no file {given!r}, expected a path beside the manifest, or a whole one"
        )
    about = {"text": _first(line, TEXTS), "label": _first(line, LABELS), "speaker": _first(line, SPEAKERS)}
    return file, about


def _first(line: Mapping[str, Any], names: Sequence[str]) -> str | None:
    found = next((line[name] for name in names if line.get(name) not in (None, "")), None)
    return None if found is None else str(found)
