"""What a network that writes captions must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from recurra.tasks.baselines import Baseline
from recurra.tasks.translation.metrics import sequences

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

SIDE = 32  # pixels to which pictures are brought to be compared


class NearestPicture(Baseline):
    """The caption of the picture of the training part that differs least: the sum of squares of pixels, or of the means
    of features."""

    key, kind, words = "nearest_picture", "naive", "the caption of the nearest picture of the training part"
    name = "nearest picture"

    def __init__(self, transform: Any, known: Any, written: list[tuple[str, ...]]) -> None:
        self.transform, self.known, self.written = transform, known, written

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Remember the training part."""
        pictures = [piece.sequence for piece in bench.pieces("train")]
        made = cls(bench.transform, None, [one.written for one in pictures])
        made.known = np.stack([made._looks(one) for one in pictures])
        return made

    def _looks(self, pictured: Any) -> Any:
        """A picture as a row of numbers: at a small size, each pixel the mean of some."""
        x = pictured.picture
        if x.ndim == 2:
            return self.transform.scaled(x).mean(0)
        step = max(1, len(x) // SIDE)
        side = len(x) // step
        x = x[: side * step, : side * step].astype(np.float32)
        return x.reshape(side, step, side, step, -1).mean((1, 3)).ravel()

    def predict(self, sequence: Any, start: int, stop: int) -> Any:
        """[1], an object."""
        away = ((self.known - self._looks(sequence)) ** 2).sum(1)
        return sequences([self.written[int(away.argmin())]])
