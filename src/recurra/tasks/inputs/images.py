"""`Images`: pictures, or features that somebody made of them; a picture is one step."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.images.captioned import Captioned, read_captioned
from recurra.data.images.picture import read_picture
from recurra.data.images.transform import MOST_SIZE, Pictured, Pictures
from recurra.data.sequences import Sequences
from recurra.data.split import Split
from recurra.data.text.tokens import Tokenizer, tokenizer_of
from recurra.data.transform import Transform
from recurra.errors import DataError, SettingError, need
from recurra.tasks.inputs import Input

if TYPE_CHECKING:
    from recurra.runtime.model import Model
    from recurra.tasks.base import Task
    from recurra.tasks.bench import Bench
    from recurra.tasks.live.base import Live

MOST_FEATURES = 1 << 22  # numbers of one image


@dataclass(frozen=True)
class PictureSequences(Sequences):
    """What was read: `x` are pictures or features, `y` the captions of each, cut into tokens."""

    def with_targets(self, targets: Sequence[Any] | None) -> list[Any]:
        """As `Pictured`."""
        groups = self.groups if self.groups is not None else list(self.names)
        captions = [()] * len(self) if self.y is None else self.y
        parts = zip(self.names, self.x, groups, captions, strict=True)
        return [Pictured(n, x, group=g, captions=c) for n, x, g, c in parts]


@dataclass
class Images(Input):
    """A folder with images and captions, a file of captions, a table, or lists: see `recurra.data.images`.

    Attributes:
        size: pixels of a side, to which each image is brought.
        background: what is beside an image that is no square, and behind one that is transparent.
        channels: of the convolutions that read pictures; each halves the size.
        shift, flip: how a picture is varied in training, see `recurra.data.images.Pictures`.
        features: a folder with a `.npy` file for each image, [M, C] or [C], which is read in its place.
        tokens: what a caption is cut into: "words", "characters" or "subwords" (by the extra `text`).
        lower: whether captions are written in small letters.
        min_count: how often a token comes in training at least; a rarer one is never written.
        most: tokens, the most frequent ones.
        longest: rows of features of an image; found where it is 0.
        embedding: numbers of a token.
        heads, score: of the attention, see `recurra.torch.Attend`.
    """

    size: int = 64
    background: str = "white"
    channels: Sequence[int] = (32, 64, 128)
    shift: int = 2
    flip: bool = False
    features: str | None = None
    tokens: str = "words"
    lower: bool = True
    min_count: int = 1
    most: int | None = None
    longest: int = 0
    embedding: int = 128
    heads: int = 1
    score: str = "product"
    name = "images"

    @classmethod
    def takes(cls, X: Any, given: Mapping[str, Any]) -> bool:
        """Whatever its task is given."""
        return True

    def _check(self) -> None:
        if self.tokens not in Tokenizer.kinds:
            raise SettingError(f"reading: tokens={self.tokens!r}, expected one of {', '.join(Tokenizer.kinds)}")
        self.channels = tuple(self.channels)
        for name, values, most in (("size", (self.size,), MOST_SIZE), ("channels", self.channels, 4096)):
            if not values or not all(isinstance(v, int) and 1 <= v <= most for v in values):
                raise SettingError(f"reading: {name}={getattr(self, name)!r}, expected whole numbers from 1 to {most}")
        need("pictures", "PIL", extra="images")
        from PIL import ImageColor

        try:
            ImageColor.getrgb(self.background)
        except (ValueError, AttributeError, TypeError):
            raise SettingError(f"reading: background={self.background!r}, expected a colour, as 'white'") from None
        if isinstance(self.shift, bool) or not isinstance(self.shift, int) or not 0 <= self.shift < self.size:
            raise SettingError(f"reading: shift={self.shift!r}, expected a whole number from 0 to {self.size - 1}")

    def read(self, task: Task, X: Any, **given: Any) -> Sequences:
        """The tokenizer is made of all captions."""
        self._check()
        for role in ("series", "time", "times", "columns", "text"):
            if given.get(role) is not None:
                raise DataError(f"images: {role} is {given[role]!r}, expected none: each image is an example by itself")
        roles = {role: given.get(role) for role in ("image", "y")}
        found = read_captioned(X, **roles, groups=given.get("groups"), features=self.features)
        task.roles = {role: name for role, name in roles.items() if isinstance(name, str)}
        task.columns = ("image",)
        _check_captions(found)
        texts = [c if isinstance(c, str) else " ".join(c) for one in found for c in one.captions]
        self.tokenizer = tokenizer_of(self.tokens, texts, lower=self.lower, size=self.most or 8000)
        made = self._sequences(found, self.tokenizer)
        shapes = {x.shape[1:] for x in made.x}
        if len(shapes) > 1:
            a, b = sorted(map(str, shapes))[:2]
            raise DataError(
                f"images: some are pictures or features of {a} numbers and others of {b}, expected one kind"
            )
        if made.x[0].ndim == 2:
            most = max(len(x) for x in made.x)
            self.longest = max(self.longest, most)
        return made

    def again(self, task: Task, X: Any, transform: Any, targets: bool, **given: Any) -> Sequences:
        """Brought to the size of training; a column of captions need not be there to predict."""
        given = {role: given.get(role) for role in ("image", "y")}
        if not targets:
            given["y"] = None
        found = read_captioned(X, **given, features=self.features)
        if targets:
            _check_captions(found)
        else:
            found = [Captioned(one.name, one.source) for one in found]
        made = self._sequences(found, transform.tokenizer)
        for name, x in zip(made.names, made.x, strict=True):
            self.check(transform, x, name)
        return made

    def check(self, transform: Pictures, x: NDArray[Any], name: str) -> None:
        """Raise DataError where an image is not as those of training."""
        channels = len(transform.mean)
        pictured = "pictures" if transform.size else f"features [M, {channels}]"
        if (x.ndim == 3) != bool(transform.size) or x.shape[-1] != channels:
            raise DataError(f"{name}: got an array {x.shape}, and the model was trained on {pictured}: give those")
        if x.ndim == 2 and len(x) > self.longest:
            raise DataError(f"{name}: {len(x)} rows of features, expected at most {self.longest}, as in training")

    def picture(self, source: Any, name: str) -> NDArray[Any]:
        """An image as uint8 [S, S, 3], or its features as float32 [M, C].

        Raises:
            DataError: it cannot be read; the message names it.
        """
        if isinstance(source, (str, os.PathLike)) and str(source).lower().endswith(".npy"):
            try:
                source = np.load(source, mmap_mode="r", allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise DataError(f"{name}: no array of NumPy ({error}), expected features in a .npy file") from None
        if not hasattr(source, "dtype") or source.dtype == np.uint8 or source.ndim == 3:
            return read_picture(source, self.size, self.background, name)
        if source.dtype.kind not in "fiu" or source.ndim not in (1, 2) or not 0 < source.size <= MOST_FEATURES:
            raise DataError(f"{name}: got an array {source.dtype} {source.shape}, expected features [M, C] or [C]")
        found = np.atleast_2d(np.array(source, np.float32))
        if not np.isfinite(found).all():
            raise DataError(f"{name}: its features have a number that is not finite: leave the image out")
        return found

    def _sequences(self, found: Sequence[Captioned], tokenizer: Tokenizer) -> PictureSequences:
        x: Any = tuple(self.picture(one.source, one.name) for one in found)
        captions = [tuple(_cut(c, tokenizer, one.name) for c in one.captions) for one in found]
        groups = None if found[0].group is None else [str(one.group) for one in found]
        return PictureSequences(tuple(one.name for one in found), x, (), captions, groups)

    def transform(self, task: Task, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """`Pictures`."""
        train = [s for s, split in zip(sequences, splits, strict=True) if split.train_end]
        return Pictures.learn(train, self.tokenizer, self.min_count, self.most, self.shift, self.flip)

    def transform_from(self, described: Mapping[str, Any]) -> Transform:
        """`Pictures`."""
        return Pictures.from_dict(described)

    def live(self, task: Task, model: Model, transform: Any) -> Live:
        """`LiveCaptions`."""
        from recurra.tasks.captioning.live import LiveCaptions

        return LiveCaptions(model, task, transform)

    def pack(self, sequences: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Pictures or features one after the other, and the captions."""
        x = np.concatenate([s.picture[None] if s.picture.ndim == 3 else s.picture for s in sequences])
        return {"x": x}, {"captions": [[list(c) for c in s.captions] for s in sequences]}

    def unpack(self, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Sequences:
        """See `Input`."""
        parts = np.split(arrays["x"], np.cumsum(arrays["lengths"])[:-1])
        x: Any = tuple(part[0] if part.ndim == 4 else part for part in parts)
        captions = [tuple(map(tuple, one)) for one in settings["captions"]]
        return PictureSequences(tuple(settings["names"]), x, (), captions, list(settings["groups"]))

    def cut(self, sequence: Any, end: int) -> dict[str, Any]:
        """See `Input`."""
        return {"picture": sequence.picture if end >= len(sequence) else sequence.picture[:end]}

    def suspicions(self, bench: Bench) -> list[str]:
        """Pictures of the test part that are in training, too."""
        known = {s.picture.tobytes() for s, split in zip(bench.sequences, bench.splits, strict=True) if split.train_end}
        test = [piece.sequence for piece in bench.pieces("test")]
        twice = sum(s.picture.tobytes() in known for s in test)
        return [f"{twice} of {len(test)} pictures of the test part are in training, too."] if twice else []


def _check_captions(found: Sequence[Captioned]) -> None:
    without = next((one.name for one in found if not one.captions), None)
    if without is not None:
        raise DataError(f"{without}: there is no caption of this image, expected one at least: give y, or its column")


def _cut(caption: Any, tokenizer: Tokenizer, name: str) -> tuple[str, ...]:
    tokens = tokenizer.tokens(caption) if isinstance(caption, str) else tokenizer.given(caption)
    if not tokens:
        raise DataError(f"{name}: the caption {str(caption)[:40]!r} has no token: leave it out")
    return tuple(tokens)
