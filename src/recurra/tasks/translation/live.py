"""`LiveTranslation`: what is written for a text that arrives, token by token; no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.text.pairs import Pair, PairSymbols
from recurra.errors import DataError
from recurra.runtime.beam import Search
from recurra.runtime.model import Model
from recurra.tasks.live.base import Remembered
from recurra.tasks.live.stepwise import Steps, Stepwise
from recurra.tasks.translation.writing import TextWriter

if TYPE_CHECKING:
    from recurra.tasks.base import Task

FIELDS = ("written", "text", "complete")


class LiveTranslation(Stepwise):
    """What is written for texts while they arrive and after, for any number of them side by side.

    An observation is a piece of a text, a string or bytes of UTF-8 that may be cut anywhere, or a mapping: `text`, such
    a piece; `end`, whether the text ends with it; `write`, how many tokens are written at most in answer, without: all
    that can be. An answer is what it wrote just now, all that is written, and whether that is complete. What is
    written is what `predict` gives, to the last bit, and is never taken back: of several hypotheses, what they share.

    A model that waits (`Translator(wait=k)`) writes token t once k + t are read: its look-ahead. Any other reads a text
    whole, and writes when it has ended. A text is followed by another one, once it is complete. What is kept of a text
    is bounded by the longest that the model reads.

    Args:
        model: from `recurra.load`.
        task, transform: those of the model.

    Attributes:
        look_ahead: tokens that it waits for; None: the whole text.
    """

    reads_anew = True
    answer = "written"

    def __init__(self, model: Model, task: Task, transform: PairSymbols) -> None:
        super().__init__(model, transform, [], ["text", "end", "write"])
        self.pairs, self.texts = transform, TextWriter(task, transform, model)  # type: ignore[arg-type]
        self.look_ahead = self.texts.how.wait or None

    def steps(self, observation: Any, series: str = "") -> Steps[dict[str, Any]]:
        """Take a piece of a text: what is written for it.

        Args:
            observation: see above.
            series: the name of the text, where there are several.

        Raises:
            DataError: it is no text, no UTF-8, or longer than the model reads; the text ends without a token.
                Nothing has changed.
        """
        said: Mapping[str, Any] = observation if isinstance(observation, Mapping) else {"text": observation}
        piece, end, most = said.get("text") or "", said.get("end") or False, said.get("write")
        if not isinstance(piece, (str, bytes, bytearray)) or not isinstance(end, bool):
            raise DataError(f"an observation is {str(said)[:60]}, expected a piece of a text, and `end` true or false")
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 0):
            raise DataError(f"`write` is {str(most)[:40]!r}, expected how many tokens to write at most")
        one: Any = self._series.get(series)
        if one is None or (one.rows.complete and piece):
            one = self._begun(series)
        elif one.rows.ended and piece and not one.rows.complete:
            raise DataError("the text before is not complete, expected an observation without text until it is")
        typed = one.rows.read(piece if isinstance(piece, str) else bytes(piece), end)
        self._series[series] = one
        yield from one.rows.take(typed, end, one.session)
        new = one.rows.write(most)
        return {"written": new, "text": one.rows.text, "complete": one.rows.complete}

    def empty_line(self) -> bool:
        """Forget the text, and begin another."""
        ends = bool(self._series)
        self.end()
        return ends

    @property
    def fields(self) -> list[str]:
        """What an answer has."""
        return list(FIELDS)

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """See `Live`."""
        return [answer["written"], answer["text"], str(answer["complete"]).lower()]

    def to_dict(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as it is."""
        return dict(answer)

    def _begun(self, name: str) -> Remembered:
        return Remembered(TextInTwo(self.texts, self.pairs), self.texts.writer.encoder.session())


class TextInTwo:
    """A text as it is read, and what is written for it so far.

    Attributes:
        ended: whether all of it is read.
        shown: tokens that were given in answer.
        text: they, as a text.
    """

    def __init__(self, texts: TextWriter, pairs: PairSymbols) -> None:
        self.texts, self.pairs, self.writer = texts, pairs, texts.writer
        self.symbols = pairs.live()
        self.tokens: list[str] = []
        self.rows: list[NDArray[np.float32]] = []
        self.y: list[NDArray[np.float32]] = []  # of the encoder, where it reads in one direction
        self.ended, self.shown, self.text = False, 0, ""
        self.search: Search | None = None

    @property
    def complete(self) -> bool:
        """Whether all was read, written and given."""
        search = self.search
        return self.ended and search is not None and search.done and self.shown >= len(search.certain(0))

    def read(self, piece: str | bytes, end: bool) -> list[tuple[str, NDArray[np.float32]]]:
        """The tokens of a piece, and maybe of what waits for the end.

        Raises:
            DataError: it cannot be read; nothing has changed.
        """
        before = self.symbols.state()
        typed = self.symbols.typed(piece)
        typed += self.symbols.pending() if end else []
        count = len(self.tokens) + len(typed)
        if count > self.writer.capacity or (end and not count):
            self.symbols.restore(before)
            said = f"has {count} tokens, expected 1 to {self.writer.capacity}: what the model reads"
            raise DataError(f"the text {said}")
        return typed

    def take(self, typed: Sequence[tuple[str, NDArray[np.float32]]], end: bool, encoder: Any) -> Steps[None]:
        """Read tokens, and maybe the end."""
        for token, row in typed:
            self.tokens.append(token)
            self.rows.append(row)
            if self.writer.wait:
                self.y.append((yield encoder, row))
        self.ended = self.ended or end

    def write(self, most: int | None) -> str:
        """Write what can be, and give what is certain: at most so many tokens."""
        tokens = [] if self.search is None else self._certain()
        while self._ready() and (most is None or len(tokens) < self.shown + most):
            self._advance()
            tokens = self._certain()
        stop = len(tokens) if most is None else min(len(tokens), self.shown + most)
        before, self.shown = self.text, stop
        self.text = str(self.pairs.tokenizer.join(tokens[:stop]))
        return self.text[len(before) :]

    def _ready(self) -> bool:
        """Whether the next step sees all that it may."""
        steps = 0 if self.search is None else self.search.steps
        enough = self.ended or (self.writer.wait and len(self.tokens) >= self.writer.wait + steps)
        return bool(enough) and not (self.search and self.search.done)

    def _advance(self) -> None:
        places = self.pairs.places(self._pair) if self.texts.how.copy else ()
        if self.search is None:
            y = np.array(self.y) if self.y else self.writer.encoder.run(np.stack(self.rows))
            self.search = Search(self.writer.decoder, self.writer.begun(y[:, None], [places]), self.texts.limits())
        elif self.y:
            self.writer.remember(self.search, np.array(self.y), places)
        self.search.step()

    @property
    def _pair(self) -> Pair:
        return Pair("", tuple(self.tokens), np.array(np.nan), "", np.nan)

    def _certain(self) -> tuple[str, ...]:
        assert self.search is not None
        sure = self.search.certain(0)
        looked = self.search.best(0)[0].looked
        return self.pairs.tokens(sure, self.tokens, None if looked is None else looked[: len(sure)])

    def state(self) -> dict[str, NDArray[Any]]:
        """What is read, and how far it was written: the rest follows from them."""
        steps = 0 if self.search is None else self.search.steps
        counts = np.array([self.ended, self.shown, steps], np.int64)
        tokens = np.frombuffer(json.dumps(self.tokens).encode(), np.uint8)
        rows = np.array(self.rows, np.float32).reshape(len(self.rows), 1)
        return {**self.symbols.state(), "counts": counts, "tokens": tokens, "rows": rows}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Read and write the same again."""
        ended, shown, steps = map(int, state["counts"])
        self.symbols.restore(state)
        self.rows = list(np.array(state["rows"], np.float32))
        self.tokens = json.loads(state["tokens"].tobytes())
        if len(self.tokens) != len(self.rows) or len(self.rows) > self.writer.capacity:
            raise DataError("the state of a text is inconsistent: its tokens are not its rows")
        self.y = list(self.writer.encoder.run(np.stack(self.rows))) if self.writer.wait and self.rows else []
        self.ended = bool(ended)
        while self._ready() and (self.search is None or self.search.steps < steps) and steps:
            self._advance()
        self.write(0)
        self.shown = shown
        self.text = str(self.pairs.tokenizer.join(self._certain()[:shown])) if self.search else ""
