"""`Pictures`: rows of pictures or of their features, and the numbers of what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.text.pairs import END, check_marks, written_vocabulary
from recurra.data.text.tokens import Tokenizer
from recurra.data.text.vocabulary import UNKNOWN, Vocabulary
from recurra.data.transform import Transform
from recurra.errors import DataError

F32: TypeAlias = NDArray[np.float32]

LEAST_DEVIATION = 1e-6
MOST_SIZE = 512  # pixels of a side


@dataclass(frozen=True, eq=False)
class Pictured:
    """A picture, and what is to be said of it.

    Attributes:
        name: of its file, or its number.
        picture: uint8 [S, S, 3], which is one step; or features float32 [M, C], M steps.
        target: not a number: what is said belongs to all of it.
        group: what it was taken from.
        time: not a number.
        captions: the tokens of each caption; none where they are not known.
    """

    name: str
    picture: NDArray[Any]
    target: NDArray[np.float64] = field(default_factory=lambda: np.array(np.nan))
    group: str = ""
    time: float = float("nan")
    captions: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.picture) if self.picture.ndim == 2 else int(self.picture.size > 0)

    @property
    def written(self) -> tuple[str, ...]:
        """The first caption."""
        return self.captions[0] if self.captions else ()

    tokens = ()  # of what is read: there is none to be copied


@dataclass(frozen=True)
class Pictures(Transform):
    """The numbers of a picture less their mean, over their deviation, both of each channel in the training part.

    Attributes:
        size: S, of pictures; 0 where there are features.
        mean, deviation: of each of the C channels.
        tokenizer, vocabulary: of captions; numbers 1 and 2 are their begin and their end.
        shift: by how many pixels a picture of training is moved at most, in each direction.
        flip: whether left and right are exchanged in training, by chance.
    """

    size: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    shift: int = 0
    flip: bool = False

    @classmethod
    def learn(
        cls,
        pictures: Sequence[Pictured],
        tokenizer: Tokenizer,
        min_count: int = 1,
        most: int | None = None,
        shift: int = 0,
        flip: bool = False,
    ) -> Self:
        """From the pictures of the training part."""
        count, total, squares = 0, np.zeros(1), np.zeros(1)
        for one in pictures:
            x = one.picture.reshape(-1, one.picture.shape[-1]).astype(np.float64)
            count, total, squares = count + len(x), total + x.sum(0), squares + (x**2).sum(0)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, LEAST_DEVIATION))
        size = len(pictures[0].picture) if pictures[0].picture.ndim == 3 else 0
        vocabulary = written_vocabulary([c for one in pictures for c in one.captions], min_count, most)
        return cls(size, tuple(mean.tolist()), tuple(deviation.tolist()), tokenizer, vocabulary, shift, flip)

    inputs = ("image",)

    @cached_property
    def _scale(self) -> tuple[F32, F32]:
        return np.array(self.mean, np.float32), np.array(1 / np.array(self.deviation), np.float32)

    @property
    def row_size(self) -> int:  # type: ignore[override]
        """The numbers of a picture, or of a row of features."""
        return self.size * self.size * len(self.mean) if self.size else len(self.mean)

    @property
    def input_size(self) -> int:  # type: ignore[override]
        """As many."""
        return self.row_size

    def scaled(self, picture: NDArray[Any]) -> F32:
        """A picture [S, S, C] as a row [1, S * S * C], or features [M, C] as M."""
        mean, scale = self._scale
        rows: F32 = (picture.astype(np.float32) - mean) * scale
        return rows.reshape(1, -1) if self.size else rows

    def rows(self, sequence: Pictured, start: int, stop: int) -> F32:
        """See `Transform`."""
        return self.scaled(sequence.picture)[start:stop]

    def targets(self, sequence: Pictured, start: int, stop: int) -> F32:
        """See `Transform`; what is said belongs to a picture as a whole: `written` has its numbers."""
        return np.full(stop - start, np.nan, np.float32)

    def varied(self, sequence: Pictured, stop: int, rng: np.random.Generator) -> tuple[F32, F32] | None:
        """A picture moved by some pixels, what comes in repeated from its edge, or turned into its mirror image."""
        if not self.size or not (self.shift or self.flip):
            return None
        picture, by = sequence.picture, self.shift
        if by:
            around = np.pad(picture, [(by, by), (by, by), (0, 0)], mode="edge")
            top, left = rng.integers(0, 2 * by + 1, 2)
            picture = around[top : top + self.size, left : left + self.size]
        if self.flip and rng.integers(2):
            picture = picture[:, ::-1]
        return self.scaled(picture), self.targets(sequence, 0, stop)

    def written(self, pictured: Pictured) -> F32:
        """The numbers of the first caption, its end behind it: [m + 1]."""
        return np.append(self.vocabulary.ids(pictured.written), np.float32(END))

    def tokens(self, symbols: Sequence[int], read: Any = (), looked: Any = None) -> tuple[str, ...]:
        """The tokens of some symbols; one that is unknown is left out."""
        return tuple(t for t in self.vocabulary.named(symbols) if t != UNKNOWN)

    def live(self, name: str = "") -> LivePictures:
        """See `Transform`."""
        return LivePictures(self)

    def to_dict(self) -> dict[str, Any]:
        """See `Transform`."""
        numbers = {"size": self.size, "mean": list(self.mean), "deviation": list(self.deviation)}
        text = {"tokenizer": self.tokenizer.to_dict(), "vocabulary": self.vocabulary.to_dict()}
        return {"input": "images", **numbers, **text, "shift": self.shift, "flip": self.flip}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """See `Transform`."""
        try:
            size, shift = int(described["size"]), int(described["shift"])
            mean, deviation = (tuple(map(float, described[name])) for name in ("mean", "deviation"))
            tokenizer = Tokenizer.from_dict(described["tokenizer"])
            vocabulary = Vocabulary.from_dict(described["vocabulary"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the model's pictures are unreadable ({error}): save the model again") from None
        fits = 0 <= size <= MOST_SIZE and len(mean) == len(deviation) and mean and (not size or len(mean) == 3)
        if not fits or not np.isfinite(mean).all() or not (np.array(deviation) > 0).all() or shift < 0:
            raise DataError(
                f"the model's pictures have a size of {size} and {len(mean)} channels: save the model again"
            )
        check_marks(vocabulary)
        return cls(size, mean, deviation, tokenizer, vocabulary, shift, bool(described.get("flip")))


class LivePictures:
    """Rows of one picture after the other; nothing of one is remembered for the next."""

    def __init__(self, transform: Pictures) -> None:
        self.transform = transform

    def push(self, x: Any) -> F32:
        """The row of a picture."""
        row: F32 = self.transform.scaled(np.asarray(x))[0]
        return row

    def state(self) -> dict[str, NDArray[Any]]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Nothing."""
