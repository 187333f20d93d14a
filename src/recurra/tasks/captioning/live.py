"""`LiveCaptions`: an image in, its caption out, token by token; no torch."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from recurra.data.images.transform import Pictured, Pictures
from recurra.errors import DataError
from recurra.runtime.beam import writing
from recurra.runtime.model import Model
from recurra.tasks.live.base import Live
from recurra.tasks.translation.writing import TextWriter


class LiveCaptions(Live):
    """Captions of a folder's images or a camera's frames, one after the other; the same as `predict` has.

    An observation is an image: an array, the bytes of a file, or a mapping with one of these or with such bytes in
    base64 as `image`; never a path, so that a server opens no file for a stranger. Nothing of an image is remembered
    for the next, so memory is that of one.

    Args:
        model, task, transform: of a `recurra.Captioner`.
    """

    answer = "caption"
    reads_anew = True

    def __init__(self, model: Model, task: Any, transform: Pictures) -> None:
        super().__init__(model, transform, [], ["image"])
        self.task, self.transform = task, transform
        self.writer = TextWriter(task, transform, model)

    def step(self, observation: Any, series: str = "") -> dict[str, Any]:
        """Take an image: its caption, with the score and where each token looked.

        Raises:
            DataError: it is no image, or none as those of training.
        """
        ((best, *_),) = self.writer.found([self._pictured(observation)])
        tokens = self.transform.tokens(best.symbols)
        looked = None if best.looked is None else best.looked.astype(np.float64).round(4).tolist()
        return {
            "caption": self.transform.tokenizer.join(tokens),
            "score": best.score,
            "tokens": list(tokens),
            "attention": looked,
        }

    def words(self, observation: Any, beam: int | None = None) -> Iterator[str]:
        """The tokens of an image's caption, each as soon as it is certain: all hypotheses of the search have it.

        Args:
            observation: as in `step`.
            beam: hypotheses; 1: each token comes at once; None: as in `step`.

        Raises:
            DataError: as in `step`.
        """
        return self.words_of(self._pictured(observation), beam)

    def words_of(self, pictured: Pictured, beam: int | None = None) -> Iterator[str]:
        """The same of a picture that is read already."""
        writer = self.writer.writer
        begin = writer.begins(self.transform.rows(pictured, 0, len(pictured)))
        for symbol in writing(writer.decoder, begin, self.writer.limits(**({"beam": beam} if beam else {}))):
            yield from self.transform.tokens([symbol])

    def _pictured(self, observation: Any) -> Pictured:
        given = self._cell(observation, "image") if isinstance(observation, Mapping) else observation
        if isinstance(given, str):
            try:
                given = base64.b64decode(given.partition(";base64,")[2] or given, validate=True)
            except (binascii.Error, ValueError) as error:
                raise DataError(f"image: no base64 ({error}), expected an image's file in base64") from None
        if isinstance(given, list):
            given = _array(given, bool(self.transform.size))
        if not isinstance(given, (bytes, bytearray, np.ndarray)) and not hasattr(given, "getexif"):
            raise DataError(f"image: got a {type(given).__name__}, expected an array, or the bytes of an image's file")
        source: Any = self.task.input
        picture = source.picture(given, "image")
        source.check(self.transform, picture, "image")
        return Pictured("image", picture)

    @property
    def fields(self) -> list[str]:
        """The caption and its score."""
        return ["caption", "score"]

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """See `Live`."""
        return [answer["caption"], f"{answer['score']:.6g}"]

    def to_dict(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as it is."""
        return dict(answer)


def _array(given: list[Any], picture: bool) -> Any:
    """Lists of JSON as an array: of whole numbers from 0 to 255 a picture, or features."""
    try:
        found = np.array(given, np.float32)
    except (ValueError, TypeError) as error:
        raise DataError(f"image: no array ({error}), expected lists of equal lengths") from None
    if not picture:
        return found
    if not ((found >= 0) & (found <= 255) & (found == np.floor(found))).all():
        raise DataError("image: lists have a number that is no whole one from 0 to 255, expected those of pixels")
    return found.astype(np.uint8)
