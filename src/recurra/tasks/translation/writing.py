"""`TextWriter`: a model that writes texts; and `Translation`, what it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from recurra.data.batches import Piece
from recurra.data.text.pairs import BEGIN, END
from recurra.runtime.beam import Hypothesis, Limits
from recurra.runtime.model import Model
from recurra.runtime.writer import Writer
from recurra.tasks.base import Floats
from recurra.tasks.bench import ModelPredictor
from recurra.tasks.translation.metrics import sequences

if TYPE_CHECKING:
    from recurra.tasks.translation.task import Translate


class TextWriter(ModelPredictor):
    """A model that writes texts.

    Args:
        task, transform, model: of what an estimator made.
        beam: hypotheses; None: as the task has it.
    """

    def __init__(self, task: Translate, transform: Any, model: Model, beam: int | None = None) -> None:
        layer = next(op for op in model.program("decoder").ops if hasattr(op, "cell"))
        super().__init__(task, transform, model, f"{layer.cell.name.upper()} with attention")
        self.pairs, self.how = transform, task.writing
        self.beam = beam or self.how.beam

    @cached_property
    def writer(self) -> Writer:
        """The programs at work."""
        return Writer(self.model)

    def limits(self, **changed: Any) -> Limits:
        """Of the search."""
        how = self.how
        own = {"penalty": how.penalty, "most": how.most, "least": how.least, "no_repeat": how.no_repeat}
        return Limits(BEGIN, END, **{"beam": self.beam, **own, **changed})

    def found(self, pairs: Sequence[Any], **changed: Any) -> list[list[Hypothesis]]:
        """Hypotheses for each text, the best first."""
        places = [self._places(pair) for pair in pairs]
        return self.writer.write([self._symbols(pair) for pair in pairs], self.limits(**changed), places)

    def followed(self, pair: Any, before: Any) -> Any:
        """The probability [T, V] of what may be written at each step, where `before` [T] stands before it."""
        return self.writer.followed(self._symbols(pair), before, self._places(pair))

    def _symbols(self, pair: Any) -> Any:
        return self.pairs.rows(pair, 0, len(pair))

    def _places(self, pair: Any) -> Sequence[int]:
        return self.pairs.places(pair) if self.how.copy else ()

    def answers(self, pairs: Sequence[Any]) -> Any:
        """The tokens of the best one for each text, as objects."""
        found = self.found(pairs)
        return sequences(
            [self.pairs.tokens(h[0].symbols, p.tokens, h[0].looked) for p, h in zip(pairs, found, strict=True)]
        )

    def predict(self, sequence: Any, start: int, stop: int) -> Any:
        """What is written, as one object."""
        return self.answers([sequence])

    def many(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Any]]:
        """Of some texts at once, with the same bits."""
        answers = self.answers([piece.sequence for piece in pieces])
        for i, piece in enumerate(pieces):
            yield piece, answers[i : i + 1]


@dataclass(frozen=True)
class Translation:
    """One text that was written.

    Attributes:
        text: it.
        tokens: its tokens.
        score: by which it was ranked: log p over its length to the power of `length_penalty`.
        log_probability: log p.
        complete: whether it came to its end before `longest`.
        attention: [tokens, n], the share of each token that was read, as its symbol was written.
    """

    text: str
    tokens: tuple[str, ...]
    score: float
    log_probability: float
    complete: bool
    attention: Floats | None
