"""`Compose`: which notes sound next, together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from recurra.data.rolls import FIRST, KEYS
from recurra.runtime.model import Model
from recurra.runtime.program import Program
from recurra.tasks.base import Floats, Task
from recurra.tasks.bench import Bench, ModelPredictor
from recurra.tasks.composition.baselines import KeyChains, KeyFrequencies, LinearOnFrames
from recurra.tasks.composition.chords import LEAST, Chords
from recurra.tasks.composition.report import sections
from recurra.tasks.metrics import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from recurra.data.transform import Transform
    from recurra.models.notes import NoteHead


class NatsFrame(Metric):
    """-log p of a frame: the sum over its notes, each by those below it; of a piece's first frame nothing is asked.

    >>> NatsFrame().value(np.array([[1.0, 0.0], [np.nan, np.nan]]), np.array([[0.5, 0.5], [0.1, 0.1]]))
    1.3862943611198906
    """

    key, name, error = "nats_frame", "nats a frame", "-log of the probability of the frame that came"

    def value(self, truth: Floats, answers: Floats) -> float:
        """The mean."""
        return float(np.nanmean(self.units(truth, answers)))

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """Of each frame; NaN where it is not known."""
        p = np.where(truth > 0, answers, 1.0 - np.asarray(answers, np.float64))
        found: Floats = -np.log(np.maximum(p, LEAST)).sum(-1)
        return np.where(np.isnan(truth[:, 0]), np.nan, found)


class NoteF1(Metric):
    """F1 of the notes that are more probable than not, given those below them."""

    key, name, less = "note_f1", "F1 of notes", False

    def value(self, truth: Floats, answers: Floats) -> float:
        """2 TP / (2 TP + FP + FN) over all frames."""
        there = ~np.isnan(truth[:, 0])
        came, said = truth[there] > 0, answers[there] >= 0.5
        return float(2 * (came & said).sum() / max(1, came.sum() + said.sum()))


class Compose(Task):
    """The probability of each note to sound in the next frame, given those below it."""

    name = "compose"
    metrics = (NatsFrame(), NoteF1())
    baselines = (KeyFrequencies, KeyChains, LinearOnFrames)
    inputs = ("rolls",)
    noise = 0.0

    units: int = 64
    _head: Any = None

    def targets(self, found: Any) -> None:  # type: ignore[override]
        """They are the frames themselves."""

    def head(self, width: int, transform: Transform, dropout: float) -> NoteHead:
        """A joint distribution of notes."""
        from recurra.models.notes import NoteHead

        self._head = NoteHead(width, KEYS, self.units, dropout)
        return self._head  # type: ignore[no-any-return]

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Nats a frame."""
        loss: Tensor = self._head.loss(output, targets)
        return loss

    def chords(self, model: Model | None = None) -> Chords:
        """Of a model; in training of the head as it is now."""
        return Chords(
            {n: Program(ops) for n, ops in self._head.programs().items()} if model is None else model.programs
        )

    def to_model(self, bench: Bench, network: Any) -> Model:
        """Programs that make the output of a frame, and those of its notes."""
        made: Model = super().to_model(bench, network)
        programs = {"main": made.ops, **network.head.programs()}
        return Model(programs=programs, preprocessing=made.preprocessing, parity=made.parity)

    def answers(self, output: Floats, transform: Transform, sequence: Any, start: int) -> Floats:
        """[M, 88], by the notes below each that came; of a frame that is not known, by those that are likely."""
        rows = transform.rows(sequence, start, start + len(output))
        return self.answered(self.chords(), output, rows, sequence, start)

    @staticmethod
    def answered(chords: Chords, output: Any, rows: Any, sequence: Any, start: int) -> Floats:
        """The same by some chords, of the network's rows [M, 88]."""
        found = np.empty((len(output), KEYS), np.float32)
        for m, row in enumerate(chords.begun(output, rows)):
            known = start + m < len(sequence.frames)
            found[m] = chords.probabilities(row, sequence.frames[start + m]) if known else chords.likely(row)[1]
        return found

    def decode(self, output: Floats, transform: Transform, name: str) -> Floats:
        """Outputs as they are: probabilities depend on the notes below, see `answers`."""
        return output

    def columns_of(self, answers: Floats) -> dict[str, Any]:
        """A column for each key, by MIDI's number."""
        return {f"note.{FIRST + k}": answers[:, k] for k in range(KEYS)}

    def truth(self, sequence: Any, start: int, stop: int) -> Floats:
        """The frames; NaN for a piece's first."""
        found = np.full((stop - start, KEYS), np.nan)
        known = sequence.frames[start:stop]
        found[: len(known)] = known
        if start == 0:
            found[0] = np.nan
        return found

    def predictor(self, transform: Any, model: Model) -> FramePredictor:
        """Probabilities of notes."""
        return FramePredictor(self, transform, model)

    def suspicions(self, bench: Bench) -> list[str]:
        """The same piece in training and in the test part."""
        train = {s.frames.tobytes() for s, split in zip(bench.sequences, bench.splits, strict=True) if split.train_end}
        test = [piece.sequence.frames.tobytes() for piece in bench.pieces("test")]
        twice = sum(one in train for one in test)
        return [f"{twice} of {len(test)} pieces of the test part are in training, too."] if twice else []

    def described(self, bench: Bench) -> dict[str, Any]:
        """Pieces and notes."""
        found = super().described(bench)
        frames = np.concatenate([s.frames for s in bench.sequences])
        used = np.flatnonzero(frames.any(0))
        notes = ["Of a piece's first frame nothing is asked.", *self.suspicions(bench)]
        return {
            "pieces": found["sequences"],
            "frames": len(frames),
            "notes_a_frame": float(frames.sum(1).mean()),
            "keys_in_use": len(used),
            "parts": [{"name": p["name"], "pieces": p["sequences"]} for p in found["parts"]],
            "notes": notes,
        }

    def sections(self, bench: Bench, predictor: Any) -> list[dict[str, Any]]:
        """A piece of the test part, one that is made, and one whose highest notes were given."""
        return sections(self, bench, predictor)

    def cut(self, sequence: Any, end: int) -> Any:
        """See `Task`."""
        return replace(sequence, **self.input.cut(sequence, end))

    def to_dict(self) -> dict[str, Any]:
        """The units of the joint head."""
        return {**super().to_dict(), "units": self.units}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        self = super().from_dict(described)
        self.units = int(described["units"])
        return self

    def check_model(self, model: Model, transform: Any) -> None:
        """Its programs fit one another."""
        before = model.program("before")
        sizes = [model.input_size, model.output_size, before.input_size, before.output_size]
        if self.units:
            above, below = model.program("above"), model.program("below")
            sizes += [above.input_size, above.output_size, below.input_size, below.output_size]
        wanted = [
            KEYS,
            KEYS + self.units,
            KEYS,
            KEYS,
            *([self.units, KEYS, KEYS, KEYS + self.units] if self.units else []),
        ]
        if sizes != wanted:
            raise ValueError(f"programs of {sizes} numbers, expected {wanted}")

    def anew(self) -> Task:
        """The same settings."""
        made: Any = super().anew()
        made.units = self.units
        return made  # type: ignore[no-any-return]


class FramePredictor(ModelPredictor):
    """A model's probabilities of notes, as a live session has them."""

    def __init__(self, task: Compose, transform: Any, model: Model) -> None:
        layer: Any = next(op for op in model.ops if hasattr(op, "cell"))
        name = layer.cell.name
        self.composition = task
        super().__init__(task, transform, model, name.upper() if len(name) < 6 else name)

    @cached_property
    def chords(self) -> Chords:
        """Of the model."""
        return self.composition.chords(self.model)

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, 88]."""
        rows = self.transform.rows(sequence, 0, stop)
        output = self.model.session().run(rows)[start:]
        return self.composition.answered(self.chords, output, rows[start:], sequence, start)
