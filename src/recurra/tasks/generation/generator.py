"""`Generator`: what comes next in a text, symbol by symbol; live, texts that go on from a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.cells import Cell
from recurra.data.split import Split
from recurra.errors import SettingError
from recurra.tasks.base import Floats
from recurra.tasks.estimator import Estimator
from recurra.tasks.generation.task import Generate

if TYPE_CHECKING:
    from recurra.tasks.generation.live import LiveText


class Generator(Estimator):
    """A language model of characters, words, subwords or events, with a state that goes on for ever.

    It learns from a text or many, of any length, in stretches side by side whose states are carried from one update
    to the next. A live session takes text as it comes and goes on with it, at the speed of a step of the network.

    Args:
        tokens: "characters", "words" or "subwords"; lists of tokens are taken as they are.
        lower: whether in small letters.
        size: of a vocabulary of subwords.
        min_count, most_symbols: how often a token comes at least in training to be a symbol, and how many there are at
            most; the others are one unknown symbol, which is never written.
        tied: whether the head shares the table of symbols with the input; None: where there are more than 512.
        ngrams: whether counted n-grams are mixed in behind the network where that gains on the validation part (Mikolov
            et al. 2010), which it does where there is little to learn from; see `recurra.runtime.NGrams`.
        embedding: numbers for a symbol; None: by how many there are.
        batch: stretches side by side; None: 32.
        parts: the shares of training, validation and test: of a single text in its order, of many text by text.
        cell, hidden, layers, projection, dropout, refit, epochs, chunk, learning_rate, clip, patience, seed: as of
            `recurra.tasks.Estimator`.

    >>> import recurra
    >>> model = recurra.Generator(hidden=32, epochs=30, chunk=16, batch=4).fit("to be or not to be\\n" * 40)
    >>> live = model.live()
    >>> live.feed("to be or ")
    >>> live.generate(9, top_k=1)
    'not to be'
    """

    task = Generate
    channels_first = False
    bidirectional = False
    pool = "last"
    noise = None

    def __init__(
        self,
        tokens: str = "characters",
        cell: str | Cell = "gru",
        hidden: int = 256,
        layers: int = 1,
        embedding: int | None = None,
        tied: bool | None = None,
        ngrams: bool = True,
        projection: int | None = None,
        dropout: float = 0.2,
        lower: bool = False,
        size: int = 4000,
        min_count: int = 1,
        most_symbols: int | None = None,
        refit: bool = False,
        epochs: int | None = None,
        batch: int | None = None,
        chunk: int = 64,
        learning_rate: float = 3e-3,
        clip: float = 1.0,
        patience: int | None = 3,
        parts: Any = (0.9, 0.05, 0.05),
        seed: int = 0,
    ) -> None:
        self.tokens = tokens
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.embedding = embedding
        self.tied = tied
        self.ngrams = ngrams
        self.projection = projection
        self.dropout = dropout
        self.lower = lower
        self.size = size
        self.min_count = min_count
        self.most_symbols = most_symbols
        self.refit = refit
        self.epochs = epochs
        self.batch = batch
        self.chunk = chunk
        self.learning_rate = learning_rate
        self.clip = clip
        self.patience = patience
        self.parts = parts
        self.seed = seed

    def make_task(self) -> Generate:
        """The task, with what it is to read."""
        for name, low, high in (("embedding", 1, 4096), ("most_symbols", 1, 1 << 24), ("min_count", 1, 1 << 30)):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high
            ):
                raise SettingError(f"Generator: {name}={value!r}, expected a whole number from {low} to {high}")
        if not isinstance(self.ngrams, (bool, np.bool_)):
            raise SettingError(f"Generator: ngrams={self.ngrams!r}, expected True or False")
        return Generate(
            tokens=self.tokens,
            lower=self.lower,
            size=self.size,
            min_count=self.min_count,
            most=self.most_symbols,
            tied=self.tied,
            ngrams=bool(self.ngrams),
        )

    def predict(self, X: Any, **given: Any) -> NDArray[Any]:
        """The most probable symbol after each of some texts, [N]; a live session says the same.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: there are no texts.
        """
        shares = self.predict_proba(X)
        symbols = self.transform_.vocabulary.symbols
        return np.array([symbols[int(k)] for k in shares[:, 1:].argmax(-1) + 1], object)

    def predict_proba(self, X: Any) -> Floats:
        """The probability of each symbol after each of some texts, [N, V]."""
        self._check_fitted()
        sequences, predictor = self.task_.read(X, self.transform_), self._predictor()
        return np.concatenate([predictor.predict(s, len(s) - 1, len(s)) for s in sequences])

    def evaluate(self, X: Any, y: Any = None, *, series: str | None = None) -> dict[str, float]:
        """Nats a symbol, perplexity and bits a character of other texts."""
        from recurra.tasks.bench import Bench

        self._check_fitted()
        sequences = self.task_.read(X, self.transform_, targets=True)
        bench = Bench(self.task_, sequences, [Split(0, 0, len(s)) for s in sequences], self.transform_)
        found: dict[str, float] = self.task_.measure(bench, self._predictor(), bench.pieces("test"))
        return found

    def live(self) -> LiveText:
        """A text that goes on: `feed`, `generate`, `fork`."""
        self._check_fitted()
        found: LiveText = self.task_.live(self.model_, self.transform_)
        return found
