"""`Writer`: a model that reads something whole, such as a sequence of symbols or a picture, and writes symbols."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

import numpy as np

from recurra.errors import ShapeError
from recurra.runtime.beam import TOGETHER, Hypothesis, Limits, Search, search
from recurra.runtime.model import Model
from recurra.runtime.ops import Attend, Readout, Recurrent
from recurra.weights import Array

ENCODER, MEMORY, START, DECODER = PROGRAMS = ("encoder", "memory", "start", "decoder")
FED = "fed"  # the input of a decoder that is given again what it came to at the step before


class Writer:
    """A model of four programs at work: an encoder, what the decoder remembers of its output, what the decoder begins
    with, and the decoder.

    The encoder gives n parts to look at: one a step, or several side by side in what a step gives, as of a picture.

    Args:
        model: with those programs.

    Attributes:
        capacity: the most parts of what it reads, such as symbols.
        wait: after how many of them it begins to write; 0: after all.

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
        self.capacity, self.wait = self._attend.capacity, self._attend.wait
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
        if self._readout and self._readout.copies not in (0, self.capacity):
            raise ShapeError(
                f"a writer: its decoder copies from {self._readout.copies} places, expected {self.capacity}: its memory"
            )

    @property
    def symbols(self) -> int:
        """How many symbols it knows to write; what it copies may be others."""
        return self._readout.sizes["V"] if self._readout else self.decoder.output_size

    @property
    def _readout(self) -> Readout | None:
        last = self.decoder.ops[-1]
        return last if isinstance(last, Readout) else None

    def begins(self, source: Array, places: Sequence[int] = ()) -> dict[str, Array]:
        """With what the decoder begins after a source: its states by name, [width] each.

        Args:
            source: float32 [n], symbols; or [n, R], what the encoder takes in n steps.
            places: for a decoder that copies, the number [n] of what is at each place: see `Readout.places`.

        Raises:
            ShapeError: there is nothing, or more than the capacity.
        """
        return self._begun_together([source], [places])[0]

    def _begun_together(self, sources: Sequence[Array], places: Sequence[Sequence[int]]) -> list[dict[str, Array]]:
        """The same of sources of one length."""
        n = len(sources[0])
        if not 0 < n <= self.capacity:
            raise ShapeError(f"a writer: the source has {n} steps, expected 1 to {self.capacity}")
        x = np.stack([np.reshape(source, (n, -1)) for source in sources], 1)
        return self.begun(self.encoder.run(np.ascontiguousarray(x, np.float32)), places)

    def begun(self, y: Array, places: Sequence[Sequence[int]]) -> list[dict[str, Array]]:
        """With what the decoder begins, from what the encoder gives [n, B, H], and the places of each of B."""
        n, B, part = y.shape[0], y.shape[1], self.memory.input_size
        y = np.ascontiguousarray(y.reshape(n, B, -1, part).swapaxes(1, 2).reshape(-1, B, part))
        last, found, at = self.start.run(y[: self.wait or len(y)])[-1], dict[str, Array](), 0
        for name, width in self._states.items():
            found[name], at = last[:, at : at + width], at + width
        found |= self._attend.memory(self.memory.run(y), f"layers.{self._place}.")
        return [{name: a[b] for name, a in found.items()} | self.copied(places[b]) for b in range(B)]

    def copied(self, places: Sequence[int]) -> dict[str, Array]:
        """The state of what is to be copied; none of a decoder that does not copy."""
        return self._readout.places(places, f"layers.{len(self.decoder.ops) - 1}.") if self._readout else {}

    def remember(self, search: Search, y: Array, places: Sequence[int]) -> None:
        """Let the sequence of a search know what has been read meanwhile: all that the encoder gave [n, H], and its
        places."""
        memory = self._attend.memory(self.memory.run(np.ascontiguousarray(y)), f"layers.{self._place}.")
        known = {name: a for name, a in memory.items() if name.rpartition(".")[2] in ("keys", "values", "count")}
        search.session.state |= {
            n: np.tile(a, (search.limits.beam, 1)) for n, a in (known | self.copied(places)).items()
        }

    def followed(self, source: Array, before: Array, places: Sequence[int] = ()) -> Array:
        """The probability [T, V] (or [T, V + M] of one that copies) of what may be written at each step.

        Args:
            source, places: as `begins` takes them.
            before: [T], the symbol that stands before each.
        """
        session, head = self.decoder.session(), self._readout
        session.state |= self.begins(source, places)
        written = head.symbols if head else self.decoder.output_size
        x, out = np.zeros(self.decoder.input_size, np.float32), np.empty((len(before), written), np.float32)
        for t, symbol in enumerate(before):
            x[0] = symbol
            y = session.step(x)
            out[t], x[1:] = y[:written], y[written:]
        return out

    def write(
        self, sources: Sequence[Array], limits: Limits, places: Sequence[Sequence[int]] | None = None
    ) -> list[list[Hypothesis]]:
        """What is found for each source, the best first; the same alone and in any company.

        Args:
            sources: the symbols of each, float32 [n].
            limits: of the search.
            places: of each, see `begins`.
        """
        order = sorted(range(len(sources)), key=lambda i: len(sources[i]))  # of one length together: none waits long
        begins = list[dict[str, Array]]()
        for _, alike in groupby(order, lambda i: np.shape(sources[i])):
            for some in batched(alike, TOGETHER):
                each = [places[i] if places else () for i in some]
                begins += self._begun_together([sources[i] for i in some], each)
        found = search(self.decoder, begins, limits)
        return [one for _, one in sorted(zip(order, found, strict=True), key=lambda pair: pair[0])]


def batched(some: Iterable[int], size: int) -> Iterator[list[int]]:
    """So many at a time."""
    left = iter(some)
    while part := list(islice(left, size)):
        yield part
