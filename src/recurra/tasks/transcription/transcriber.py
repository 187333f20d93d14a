"""`Transcriber`: what is said in a recording; live, the words so far and which of them may still change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from recurra.cells import Cell
from recurra.data.batches import Piece
from recurra.errors import SettingError
from recurra.tasks.base import Floats, Task
from recurra.tasks.estimator import Estimator
from recurra.tasks.transcription.ctc import Search
from recurra.tasks.transcription.listen import Listener, Segment
from recurra.tasks.transcription.live import Hearer
from recurra.tasks.transcription.metrics import error_rate
from recurra.tasks.transcription.ngram import NGram
from recurra.tasks.transcription.task import READING, Transcribe
from recurra.tasks.transcription.units import MOST

HOT = 2.0  # what is added for a hot word


class Transcriber(Estimator):
    """What is said in recordings, letter by letter or piece by piece.

    A recurrent network reads steps of 30 ms and says at each which letter there is, or none. `predict` gives texts;
    `transcribe` segments of words with times and confidence; `listen` the same while somebody speaks.

    X is a manifest with `path` and `text`, or a list of `recurra.data.audio.Recording`. With `bidirectional` it writes
    down whole files only.

    Args:
        cell, hidden, layers: of the recurrent layers; a layer normalisation follows each.
        strides: of causal convolutions before them, which thin out the steps: with `reading={"stack": 1}`, steps of
            10 ms, `(2, 2)` gives an output every 40 ms.
        pieces: how many pieces of words to learn from the texts (by the library `tokenizers`) and to write in; 0:
            single letters.
        bidirectional: whether each layer also reads backwards.
        reading: settings of `recurra.tasks.inputs.audio.Audio`; `after` is the look-ahead, in seconds: so long after
            the sound has ended, the network may still speak.

    The other arguments are those of `recurra.tasks.Estimator`.
    """

    task: ClassVar[type[Transcribe]] = Transcribe

    def __init__(
        self,
        cell: str | Cell = "gru",
        hidden: int = 256,
        layers: int = 3,
        bidirectional: bool = False,
        strides: Sequence[int] = (),
        pieces: int = 0,
        projection: int | None = None,
        dropout: float = 0.3,
        noise: float | None = None,
        refit: bool = False,
        epochs: int | None = None,
        batch: int | None = None,
        learning_rate: float = 2e-3,
        clip: float = 1.0,
        patience: int | None = None,
        parts: Any = (0.70, 0.15, 0.15),
        seed: int = 0,
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            cell,
            hidden,
            layers,
            bidirectional,
            None,
            projection,
            dropout,
            noise,
            refit,
            epochs,
            batch,
            learning_rate=learning_rate,
            clip=clip,
            patience=patience,
            parts=parts,
            seed=seed,
            reading=reading,
        )
        self.strides = strides
        self.pieces = pieces

    def make_task(self) -> Task:
        """See `Estimator`.

        Raises:
            SettingError: strides or pieces are out of range.
        """
        made = self.task()
        made.reading = {**READING, **(self.reading or {})}
        whole = isinstance(self.strides, (tuple, list)) and all(type(stride) is int for stride in self.strides)
        if not whole or len(self.strides) > 4 or not all(1 <= stride <= 16 for stride in self.strides):
            raise SettingError(f"Transcriber: strides={self.strides!r}, expected up to 4 whole numbers from 1 to 16")
        if isinstance(self.pieces, bool) or not isinstance(self.pieces, int) or not 0 <= self.pieces <= MOST:
            raise SettingError(f"Transcriber: pieces={self.pieces!r}, expected a whole number from 0 to {MOST}")
        made.strides, made.pieces = tuple(self.strides), self.pieces
        return made

    def search(self, model: str | Path | NGram | None = None, hot: Sequence[str] = (), **settings: Any) -> Search:
        """How texts are looked for: with a language model (an ARPA file), hot words, and the settings of `Search`."""
        known = NGram.read(model) if isinstance(model, (str, Path)) else model
        return Search(model=known, hot={word.lower(): HOT for word in hot}, **settings)

    def listener(self, search: Search | None = None) -> Listener:
        """What makes segments of the network's outputs."""
        self._check_fitted()
        found: Listener = self.task_.listener(self.model_, self.transform_, search)
        return found

    def predict(
        self, X: Any, *, series: str | None = None, steps: str | None = None, search: Search | None = None
    ) -> Any:
        """The text of each recording, [N]; the same as `listen` comes to, to the last letter."""
        return np.array([" ".join(s.text for s in one) for one in self.transcribe(X, search)], object)

    def transcribe(self, X: Any, search: Search | None = None) -> list[list[Segment]]:
        """The segments of each recording."""
        self._check_fitted()
        return list(self._segments(self._read(X, None, None), search))

    def evaluate(
        self, X: Any, y: Any = None, *, series: str | None = None, search: Search | None = None
    ) -> dict[str, float]:
        """Word and character error rates of texts as `predict` has them."""
        sequences = self._read(X, y, series, targets=True)
        true = [self.task_.text(s) for s in sequences]
        said = [" ".join(one.text for one in segments) for segments in self._segments(sequences, search)]
        return {what: error_rate(what, true, said) for what in ("wer", "cer")}

    def _segments(self, sequences: Sequence[Any], search: Search | None) -> Iterator[list[Segment]]:
        predictor = self._predictor()
        listener = self.listener(search)
        for sequence in sequences:
            listener.reset()
            ended = listener.take(self._outputs(predictor, Piece(sequence, 0, len(sequence))))
            yield [*ended, *listener.finish()]

    def _outputs(self, predictor: Any, piece: Piece) -> Floats:
        """What a listener takes of a recording."""
        found: Floats = predictor.predict(*piece)
        return found

    def listen(self, search: Search | None = None) -> Hearer:
        """A live session: samples in, segments out.

        Raises:
            SessionError: the network reads in both directions.
        """
        return Hearer(self.live(), self.listener(search), self.task_, self.transform_)
