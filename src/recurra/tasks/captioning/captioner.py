"""`Captioner`: a text for each picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Self

from recurra.tasks.captioning.task import Caption
from recurra.tasks.translation.estimator import WritingEstimator
from recurra.tasks.translation.writing import Translation
from recurra.train import Progress


class Captioner(WritingEstimator):
    """A text for each picture.

    Convolutions make a grid of places of a picture, and a recurrent network writes what is to be seen, looking at some
    place for each token (Vinyals 2015, Xu 2015). Both are trained together; or features of somebody else's network are
    read in place of pictures. What is written is found by beam search, in the native runtime.

    The arguments are those of `recurra.tasks.Estimator`; `reading` has the settings of
    `recurra.tasks.inputs.images.Images`, such as `{"size": 96, "channels": (32, 64, 128, 256)}`.

    >>> import numpy as np, recurra
    >>> def square(value):
    ...     return np.full((8, 8, 3), value, np.uint8)
    >>> pictures = [square(v) for v in range(0, 250, 5)]
    >>> captions = ["a dark one" if v < 120 else "a light one" for v in range(0, 250, 5)]
    >>> reading = {"size": 8, "channels": (8,), "embedding": 8, "shift": 0}
    >>> model = recurra.Captioner(hidden=8, epochs=25, batch=8, learning_rate=0.02, dropout=0, reading=reading)
    >>> model = model.fit(pictures, captions)
    >>> model.predict([square(20), square(240)]).tolist()
    ['a dark one', 'a light one']
    """

    task = Caption

    def fit(  # type: ignore[override]
        self,
        X: Any,
        y: Any = None,
        groups: Any = None,
        *,
        image: str | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[Progress], bool] | None = None,
        evaluate: bool = True,
    ) -> Self:
        """Train on pictures with captions, and measure the result on those of the test part.

        Args:
            X, y, image, groups: as `recurra.data.images.read_captioned` takes them.
            checkpoint, resume, progress, stop, evaluate: as in `Estimator.fit`.

        Raises:
            SettingError: a parameter is out of range.
            DataError: an image or a caption cannot be used; the message says which.
            TrainingError, CheckpointError: see `recurra.train`.
        """
        how = {"checkpoint": checkpoint, "resume": resume, "progress": progress, "stop": stop}
        self._fit(lambda task: task.examples(X, y=y, groups=groups, image=image), evaluate, **how)
        return self._of_source(X)

    def caption(
        self,
        images: Any,
        *,
        n: int = 1,
        beam: int | None = None,
        length_penalty: float | None = None,
        longest: int | None = None,
    ) -> list[list[Translation]]:
        """The n best captions of each image, the best first; `attention` is [tokens, places], row after row of `grid`.

        Args:
            images: as `recurra.data.images.read_captioned` takes them, without captions.
            n: how many of each, at most `beam`.
            beam: hypotheses that are kept; 1: the most probable token at every step; None: as in `predict`.
            length_penalty: by what power of its length log p is divided; 0 prefers short texts.
            longest: tokens.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: an image cannot be read, or n is more than `beam`.
        """
        return self._hypotheses(self._read(images, None, None), n, beam, penalty=length_penalty, most=longest)

    def words(self, image: Any, beam: int | None = None) -> Iterator[str]:
        """The tokens of the caption of one image, each as soon as it is certain; together they are what `predict` says.

        Args:
            image: a path, an array, the bytes of a file, or features.
            beam: as in `caption`; 1: each token comes at once.
        """
        (pictured,) = self._read([image], None, None)
        live: Any = self.live()
        yield from live.words_of(pictured, beam)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the places that a picture is seen as; of features, their rows in one column."""
        self._check_fitted()
        found: tuple[int, int] = self.task_.grid(self.model_)
        return found
