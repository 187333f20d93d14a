"""`Writer`: a model that reads something whole, such as a sequence of symbols or a picture, and writes symbols."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recurra.errors import ShapeError
from recurra.runtime.beam import Hypothesis, Limits, search
from recurra.runtime.model import Model
from recurra.runtime.ops import Attend, Recurrent
from recurra.weights import Array

ENCODER, MEMORY, START, DECODER = PROGRAMS = ("encoder", "memory", "start", "decoder")


class Writer:
    """A model of four programs at work: an encoder, what the decoder remembers of its output, what the decoder begins
    with, and the decoder.

    The encoder gives n parts to look at: one a step, or several side by side in what a step gives, as of a picture.

    Args:
        model: with those programs.

    Attributes:
        capacity: the most parts of what it reads, such as symbols.

    Raises:
        ShapeError: a program is missing, or takes what the one before it does not give.
    """

    def __init__(self, model: Model) -> None:
        self.encoder, self.memory, self.start, self.decoder = (model.program(name) for name in PROGRAMS)
        self.model = model
        looks = [(i, op) for i, op in enumerate(self.decoder.ops) if isinstance(op, Attend)]
        if len(looks) != 1:
            raise ShapeError(f"a writer: its decoder has {len(looks)} ops that attend, expected one")
        (self._place, self._attend), *_ = looks
        self.capacity = self._attend.capacity
        self._states = {
            f"layers.{i}.{name}": width
            for i, op in enumerate(self.decoder.ops)
            if isinstance(op, Recurrent)
            for name, width in op.states(0).items()
        }
        gives, part = self.encoder.output_size, self.memory.input_size
        if gives % part:
            raise ShapeError(f"a writer: memory takes {part} numbers, expected a part of the encoder's {gives}")
        wanted = self._attend.sizes["K"] + self._attend.values
        for name, program, out in (("memory", self.memory, wanted), ("start", self.start, sum(self._states.values()))):
            if (program.input_size, program.output_size) != (part, out):
                raise ShapeError(
                    f"a writer: {name} is {program.input_size} to {program.output_size}, expected {part} to {out}"
                )

    def begins(self, source: Array) -> dict[str, Array]:
        """With what the decoder begins after a source: its states by name, [width] each.

        Args:
            source: float32 [n], symbols; or [n, R], what the encoder takes in n steps.

        Raises:
            ShapeError: there is nothing, or more than the capacity.
        """
        if not 0 < len(source) <= self.capacity:
            raise ShapeError(f"a writer: the source has {len(source)} steps, expected 1 to {self.capacity}")
        y = self.encoder.run(np.ascontiguousarray(source.reshape(len(source), -1), np.float32))
        y = y.reshape(-1, self.memory.input_size)
        last, found, at = self.start.run(y)[-1], dict[str, Array](), 0
        for name, width in self._states.items():
            found[name], at = last[at : at + width], at + width
        return found | self._attend.memory(self.memory.run(y), f"layers.{self._place}.")

    def write(self, sources: Sequence[Array], limits: Limits) -> list[list[Hypothesis]]:
        """What is found for each source, the best first; the same alone and in any company."""
        return search(self.decoder, [self.begins(source) for source in sources], limits)
