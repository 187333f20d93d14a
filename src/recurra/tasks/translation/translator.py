"""`Translator`: another text for each text: a translation, a pronunciation; and `Summarizer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from recurra.cells import Cell
from recurra.tasks.base import Task
from recurra.tasks.translation.estimator import WritingEstimator
from recurra.tasks.translation.task import Summarize, Translate
from recurra.tasks.translation.writing import Translation

__all__ = ["Summarizer", "Translation", "Translator"]


class Translator(WritingEstimator):
    """Another text for each text: a translation, a summary, a pronunciation.

    A recurrent network reads a text in both directions; another one writes, and looks at what the first made of each
    token (Bahdanau 2015, Luong 2015). What is written is found by beam search, in the native runtime; the same alone
    and in company. Arguments that are not named here are those of `recurra.tasks.Estimator`; `reading` has the settings
    of `recurra.tasks.inputs.pairs.Pairs`, such as `{"tokens": "characters"}`. None: as the task has it.

    Args:
        copy: whether a token of the text may be copied, known or not (See et al. 2017); False.
        coverage: whether it is told where it has looked, and learns not to look twice (See et al. 2017); False.
        feeding: whether each step is given what the one before came to (input feeding, Luong et al. 2015); False.
        sampling: the share of tokens that in training are not those before, but what it would have written (scheduled
            sampling, Bengio et al. 2015); 0.
        wait: after how many tokens it begins to write, one for each that comes (wait-k, Ma et al. 2019); it then reads
            in one direction, and `live` writes while a text arrives. 0: it reads a text whole.
        smoothing: of the labels; 0.1 (Vaswani et al. 2017).
        beam: hypotheses of the search; 4, with `wait` 1.
        length_penalty: by what power of its length log p is divided; 1.
        shortest, longest: tokens that are written; 0, and twice as many as the longest of training.
        no_repeat: no so many tokens in a row come twice; 0: they may.

    >>> import recurra
    >>> read = [f"{a} {b}" for a in "abcd" for b in "abcd"] * 8
    >>> model = recurra.Translator(hidden=16, epochs=20, batch=16, learning_rate=0.01, refit=False)
    >>> model = model.fit(read, [t[::-1] for t in read])
    >>> str(model.predict(["c d"])[0])
    'd c'
    """

    task: ClassVar[type[Task]] = Translate
    bidirectional = False
    pool = projection = noise = None
    channels_first = False
    chunk = 24

    def __init__(
        self,
        cell: str | Cell = "gru",
        hidden: int = 128,
        layers: int = 1,
        copy: bool | None = None,
        coverage: bool | None = None,
        feeding: bool | None = None,
        sampling: float | None = None,
        wait: int | None = None,
        smoothing: float | None = None,
        beam: int | None = None,
        length_penalty: float | None = None,
        shortest: int | None = None,
        longest: int | None = None,
        no_repeat: int | None = None,
        dropout: float = 0.2,
        refit: bool | str = True,
        epochs: int | None = None,
        batch: int | None = None,
        learning_rate: float = 3e-3,
        clip: float = 1.0,
        patience: int | None = None,
        parts: Any = (0.70, 0.15, 0.15),
        seed: int = 0,
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.copy = copy
        self.coverage = coverage
        self.feeding = feeding
        self.sampling = sampling
        self.wait = wait
        self.smoothing = smoothing
        self.beam = beam
        self.length_penalty = length_penalty
        self.shortest = shortest
        self.longest = longest
        self.no_repeat = no_repeat
        self.dropout = dropout
        self.refit = refit
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.clip = clip
        self.patience = patience
        self.parts = parts
        self.seed = seed
        self.reading = reading

    def make_task(self) -> Task:
        """The task, with nothing learned yet."""
        same = ("copy", "coverage", "feeding", "sampling", "wait", "smoothing", "beam", "no_repeat")
        asked = {name: getattr(self, name) for name in same}
        asked |= {"penalty": self.length_penalty, "least": self.shortest, "most": self.longest}
        made = self.task(**asked)
        made.reading = self.reading
        return made

    def translate(
        self,
        texts: Sequence[str] | str,
        *,
        n: int = 1,
        beam: int | None = None,
        length_penalty: float | None = None,
        longest: int | None = None,
        shortest: int | None = None,
        no_repeat: int | None = None,
    ) -> list[list[Translation]]:
        """The n best texts for each, the best first.

        Args:
            texts: strings, or lists of tokens; one string is one text.
            n: how many of each, at most `beam`.
            beam: hypotheses that are kept; 1: the most probable symbol at every step; None: as in `predict`.
            length_penalty: by what power of its length log p is divided; 0 prefers short texts.
            shortest, longest: tokens; None: as in `predict`.
            no_repeat: no so many tokens in a row come twice; 0: they may; None: as in `predict`.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: a text is empty, or longer than what the network remembers.
            ShapeError: the limits contradict one another.
        """
        limits = {"penalty": length_penalty, "most": longest, "least": shortest, "no_repeat": no_repeat}
        return self._hypotheses(self._read(texts, None, None), n, beam, **limits)


class Summarizer(Translator):
    """A short text for a long one: a `Translator` that copies, covers what it has read, and says nothing twice.

    Its arguments are those of `Translator`; None is `copy=True`, `coverage=True`, `no_repeat=3`. It is measured by
    ROUGE (by rouge-score), beside the first sentence of the text.

    >>> import recurra
    >>> recurra.Summarizer(hidden=64).make_task().writing.copy
    True
    """

    task = Summarize
