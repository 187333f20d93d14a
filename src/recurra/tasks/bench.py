"""`Bench`: a task's data in parts, the transform learned from the first, and how well something does on them."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.batches import Batch, Piece, in_batches, in_order
from recurra.data.split import Split
from recurra.data.transform import Transform
from recurra.runtime.ends import Ends
from recurra.runtime.model import Model
from recurra.tasks.base import Floats, Task

CHUNK = 2048  # steps at once
TOGETHER, AT_ONCE = 256, 1 << 23  # sequences side by side, and the numbers that a network sees of them, at most
GOLDEN = 0.6180339887  # multiples of it spread evenly over 0 to 1
CONTEXT = (256, 2000)  # steps before the validation part that states come from, at least and at most

Arrays: TypeAlias = dict[str, NDArray[Any]]


class Predictor(Protocol):
    """Something that answers: a network, or what it must beat."""

    @property
    def name(self) -> str:
        """In tables."""

    @property
    def kind(self) -> str:
        """ "model", "naive" or "linear"."""

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """The decoded answers [M, ...] of the steps start .. stop - 1."""


@dataclass(frozen=True)
class Bench:
    """What networks and baselines are trained on and compared on.

    Attributes:
        task: with what it has learned.
        sequences, splits: the data, and the parts of each sequence.
        transform: learned from the training part.
    """

    task: Task
    sequences: Sequence[Any]
    splits: Sequence[Split]
    transform: Transform

    @property
    def every(self) -> bool:
        """Whether whole sequences have a target for each of their steps."""
        return self.task.whole and any(s.target.ndim for s in self.sequences)

    def all_for_training(self) -> Bench:
        """The same with everything in the training part, and the transform learned of it."""
        splits = [Split(len(s), len(s), len(s)) for s in self.sequences]
        return replace(self, splits=splits, transform=self.task.transform(self.sequences, splits))

    def pieces(self, part: str) -> list[Piece]:
        """The steps of a part at which an answer is wanted, of each sequence that has some."""
        found = [
            Piece(s, *self.task.steps(s, split, part)) for s, split in zip(self.sequences, self.splits, strict=True)
        ]
        return [piece for piece in found if piece.stop > piece.start]

    def blocks(self, part: str, most: int | None = None) -> list[Piece]:
        """The pieces of a part in which errors are told apart: each sequence, or stretches of the task's length.

        Where there are more than `most` steps, some of each stretch, so that every time of day comes.
        """
        pieces = self.pieces(part)
        if self.task.whole:
            return pieces
        total, stretch = sum(piece.stop - piece.start for piece in pieces), self.task.stretch
        size = stretch if most is None or total <= most else max(1, math.ceil(stretch * most / total))
        found = []
        for sequence, start, stop in pieces:
            for i, a in enumerate(range(start, stop, stretch)):
                room = min(a + stretch, stop) - a - size
                a += int((i * GOLDEN % 1) * (room + 1)) if room > 0 else 0
                found.append(Piece(sequence, a, min(a + size, stop)))
        return found

    def errors(self, predictor: Predictor, pieces: Sequence[Piece]) -> Floats:
        """The mean error of each of some pieces, as the first metric has it; what has no truth is left out."""
        many = getattr(predictor, "many", None)
        answered = many(pieces) if many else ((piece, predictor.predict(*piece)) for piece in pieces)
        found = [self.task.errors(piece, answers, self.transform) for piece, answers in answered]
        known = [error[np.isfinite(error)] for error in found]
        return np.array([float(error.mean()) for error in known if len(error)])

    def predictions(self, predictor: Predictor, pieces: Sequence[Piece]) -> tuple[Floats, Floats]:
        """Truth and answers of all steps of some pieces, [M, ...]."""
        truth = [self.task.truth(*piece) for piece in pieces]
        return np.concatenate(truth), np.concatenate([predictor.predict(*piece) for piece in pieces])

    def table_row(self, predictor: Predictor, part: str) -> dict[str, Any]:
        """All metrics of a predictor on a part, by their keys, with its name and kind."""
        values = self.task.measure(self, predictor, self.pieces(part))
        return {"name": predictor.name, "kind": predictor.kind, **values}

    def error(self, predictor: Predictor, part: str) -> float:
        """The mean error on a part, as the first metric has it; the less, the better."""
        return self.task.mean_error(self, predictor, self.pieces(part))

    def baselines(self) -> list[Any]:
        """The task's baselines, fitted to the training part; their settings are chosen on the validation part."""
        return [kind.fit(self) for kind in self.task.input.baselines(self.task)]

    def without_test(self) -> Bench:
        """The same without the rows of the test part: what is not there cannot leak."""
        kept = [
            (self.task.cut(s, split.valid_end), split) for s, split in zip(self.sequences, self.splits, strict=True)
        ]
        left = [(s, replace(split, end=split.valid_end)) for s, split in kept if len(s)]
        return replace(self, sequences=tuple(s for s, _ in left), splits=tuple(split for _, split in left))

    def described(self) -> dict[str, Any]:
        """What a reader wants to know of the data, ready for JSON, with a hash of all of them."""
        return {**self.task.described(self), "fingerprint": self.fingerprint}

    @property
    def fingerprint(self) -> str:
        """Of all arrays and settings."""
        arrays, settings = self._packed()
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for name in sorted(arrays):
            digest.update(f"{name}{arrays[name].shape}".encode())
            digest.update(np.ascontiguousarray(arrays[name]).data)
        return digest.hexdigest()

    def _packed(self) -> tuple[Arrays, dict[str, Any]]:
        arrays, settings = self.task.pack(self.sequences)
        return arrays, {
            "task": self.task.name,
            "learned": self.task.to_dict(),
            "transform": self.transform.to_dict(),
            "splits": [[s.train_end, s.valid_end, s.end, *([s.begin] if s.begin else [])] for s in self.splits],
            "sequences": settings,
        }

    def to_bytes(self) -> bytes:
        """As one file for another process: a ZIP archive of arrays, and JSON; no pickle."""
        arrays, settings = self._packed()
        out = io.BytesIO()
        np.savez(out, allow_pickle=False, **arrays)
        with zipfile.ZipFile(out, "a") as archive:
            archive.writestr("settings.json", json.dumps(settings))
        return out.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Bench:
        """What `to_bytes` wrote."""
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            settings = json.loads(archive.read("settings.json"))
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        arrays = {name: loaded[name] for name in loaded.files if name != "settings.json"}
        kind = Task.named(settings["task"])
        splits = [Split(*ends) for ends in settings["splits"]]
        transform = kind.transform_from(settings["transform"])
        return cls(kind.from_dict(settings["learned"]), kind.unpack(arrays, settings["sequences"]), splits, transform)


class ModelPredictor:
    """A model of the runtime, from the first step of each sequence on, as a live session would run it.

    Args:
        task, transform: of the model.
        model: whose rows the transform makes.
        name: in tables.
    """

    kind = "model"

    def __init__(self, task: Task, transform: Transform, model: Model, name: str = "") -> None:
        self.task, self.transform, self.model, self.name = task, transform, model, name
        self._ends: Ends | None = None

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, ...]."""
        return np.concatenate([part for _, part in self.parts(sequence, start, stop)])

    def many(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Floats]]:
        """The answers of each of some pieces, in the same bits; those of one step side by side."""
        own = type(self).parts is not ModelPredictor.parts or type(self).predict is not ModelPredictor.predict
        if own or self.task.tags or any(piece.stop - piece.start != 1 for piece in pieces):
            yield from ((piece, self.predict(*piece)) for piece in pieces)
            return
        numbers, group = 0, list[Piece]()
        for piece in pieces:
            numbers += piece.stop * self.transform.input_size
            group.append(piece)
            if numbers > AT_ONCE or len(group) == TOGETHER:
                yield from zip(group, self._together(group), strict=True)
                numbers, group = 0, []
        yield from zip(group, self._together(group), strict=True)

    def _together(self, group: Sequence[Piece]) -> list[Floats]:
        """The answers at the last step of some sequences; one by one where the program is none for that."""
        program, task, transform = self.model.program(), self.task, self.transform
        transform.prepare([sequence for sequence, *_ in group])
        if len(group) < 2 or not Ends.fits(program):
            return [self.predict(*piece) for piece in group]
        if self._ends is None:
            self._ends = Ends(program)
        seen = transform.seen if self._ends.width == transform.input_size else transform.rows
        begins = [max(0, at - task.context) if task.context is not None else 0 for _, at, _ in group]
        before = [seen(s, begin, at) for begin, (s, at, _) in zip(begins, group, strict=True)]
        out = self._ends.run(before, np.concatenate([transform.rows(*piece) for piece in group]))
        return [task.answers(one[None], transform, s, at) for one, (s, at, _) in zip(out, group, strict=True)]

    def parts(self, sequence: Any, start: int, stop: int) -> Iterator[tuple[int, Floats]]:
        """The same in parts, each with its first step; only a part is in memory at once."""
        session = self.model.session()
        size = CHUNK if self.model.streams and not self.task.tags else stop  # two directions need the whole
        begin = max(0, start - self.task.context) if self.task.context is not None and self.model.streams else 0
        for first in range(begin, stop, size):
            last = min(first + size, stop)
            out = session.run(self.transform.rows(sequence, first, last))
            if last > start:
                at = max(start, first)
                yield at, self.task.answers(out[at - first :], self.transform, sequence, at)


class NetworkPredictor:
    """A torch network that may look at a window, where it cannot run in the runtime.

    Args:
        task, transform: of the network.
        network: a `recurra.models.Network`.
        name, kind: in tables.
    """

    def __init__(self, task: Task, transform: Transform, network: Any, name: str = "", kind: str = "model") -> None:
        self.task, self.transform, self.network, self.name, self.kind = task, transform, network, name, kind

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, ...]."""
        (_, answers), *_ = self.many([Piece(sequence, start, stop)])
        return answers

    def many(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Floats]]:
        """The answers of each of some pieces, side by side where that can be."""
        runs = pieces if self.network.whole or self.network.encoder.context else _joined(pieces)
        found: dict[int, list[Floats]] = {}
        done: dict[int, int] = {}
        for group, batch, output in outputs(self.network, self.transform, runs):
            values = self.network.linked(output).numpy()
            for b, run in enumerate(group):
                chosen = values[b : b + 1] if batch.wanted is None else values[batch.wanted[:, b], b]
                if len(chosen):
                    at = done.get(id(run), run.start)
                    done[id(run)] = at + len(chosen)
                    numbers = self.task.answers(chosen, self.transform, run.sequence, at)
                    found.setdefault(id(run), []).append(numbers)
        of_sequence = {id(run.sequence): run for run in runs}
        for piece in pieces:
            run = piece if id(piece) in found else of_sequence[id(piece.sequence)]
            answers = np.concatenate(found[id(run)])
            yield piece, answers[piece.start - run.start : piece.stop - run.start]


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """One piece for each sequence, from its first piece's beginning to its last one's end."""
    found: dict[int, Piece] = {}
    for piece in pieces:
        before = found.get(id(piece.sequence), piece)
        found[id(piece.sequence)] = Piece(piece.sequence, min(before.start, piece.start), max(before.stop, piece.stop))
    return list(found.values())


def outputs(
    network: Any, transform: Transform, pieces: Sequence[Piece], context: int = CONTEXT[1]
) -> Iterator[tuple[list[Piece], Batch, Any]]:
    """The outputs of a torch network, before the link, of some pieces: the pieces, their rows, and outputs [T, B, O];
    of whole sequences [B, O].

    What keeps a state reads some rows of context before each piece; what looks at a window reads that.
    """
    import torch

    with torch.no_grad():
        if network.whole:
            for group, batch in in_batches(transform, pieces):
                yield group, batch, network(torch.from_numpy(batch.rows), lengths=torch.from_numpy(batch.lengths))[0]
            return
        window = network.encoder.context
        for group, chunks in in_order(transform, pieces, 0 if window else context, (window or 1) - 1):
            state = None
            for batch in chunks:
                output, state = network(torch.from_numpy(batch.rows), state, lead=batch.lead)
                yield group, batch, output
