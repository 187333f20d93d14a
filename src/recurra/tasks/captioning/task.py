"""`Caption`: from pictures to texts, by convolutions and a decoder that looks at places of the picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.cells import Cell
from recurra.data.batches import Piece
from recurra.runtime.model import Model
from recurra.runtime.ops import Convolution2d
from recurra.tasks.base import Task
from recurra.tasks.bench import Bench
from recurra.tasks.captioning.baselines import NearestPicture
from recurra.tasks.captioning.metrics import Bleu, Edits, Exact, references
from recurra.tasks.learn import Recipe
from recurra.tasks.translation.task import LOOKED, Translate

if TYPE_CHECKING:
    from torch import nn
LANES = 16  # what a memory is a multiple of
SEARCHED = 400  # pictures of the test part among which a report looks for errors
WRONG = 6  # captions with an error that it shows besides


class Caption(Translate):
    """From pictures to texts. The encoder gives a row for each place of a grid over the picture, or of its features."""

    name = "caption"
    metrics = (Edits(), Exact(), Bleu())
    baselines = (NearestPicture,)
    inputs = ("images",)
    pack = Task.pack

    def reader(self, transform: Any, cell: Cell, recipe: Recipe) -> nn.Module:
        """Convolutions, or a layer on features."""
        from recurra.models.pictures import FeatureReader, PictureReader

        kind: Any = self.input
        if not transform.size:
            kind.longest = -(-kind.longest // LANES) * LANES
            return FeatureReader(transform.row_size, 2 * recipe.hidden, recipe.dropout)
        made = PictureReader(transform.size, kind.channels, recipe.dropout)
        kind.longest = -(-made.grid[0] * made.grid[1] // LANES) * LANES
        return made

    def pairs(self, pieces: Sequence[Piece]) -> list[Any]:
        """Each picture as many times as it has captions, with one of them."""
        pictures = [piece.sequence for piece in pieces]
        return [replace(one, captions=(caption,)) for one in pictures for caption in one.captions]

    def truth(self, sequence: Any, start: int, stop: int) -> Any:
        """All captions, as one object."""
        return references([sequence.captions])

    def grid(self, model: Model) -> tuple[int, int]:
        """Rows and columns of the places that a picture is seen as; of features, their rows in one column."""
        last = [op for op in model.program("encoder").ops if isinstance(op, Convolution2d)][-1:]
        return last[0].places if last else (self.input.longest, 1)  # type: ignore[attr-defined]

    def described(self, bench: Bench) -> dict[str, Any]:
        """How many pictures and captions, and how long these are."""
        transform: Any = bench.transform
        captions = [c for s in bench.sequences for c in s.captions]
        of = f"{transform.size} x {transform.size}" if transform.size else f"features of {transform.row_size} numbers"
        return {
            "pictures": len(bench.sequences),
            "size": of,
            "captions": len(captions),
            "longest caption": max(map(len, captions)),
            "symbols": len(transform.vocabulary),
            "parts": [{"name": part, "pictures": len(bench.pieces(part))} for part in ("train", "valid", "test")],
            "notes": self.suspicions(bench),
        }

    def suspicions(self, bench: Bench) -> list[str]:
        """Pictures of the test part that are in training, too."""
        return self.input.suspicions(bench)

    def sections(self, bench: Bench, predictor: Any) -> list[dict[str, Any]]:
        """Captions of some pictures of the test part, and where each token looked: some chosen by chance, and some of
        those that have an error."""
        rng = np.random.default_rng(0)
        pictures = [piece.sequence for piece in bench.pieces("test")]
        some = [pictures[int(i)] for i in rng.permutation(len(pictures))[:SEARCHED]]
        shown = [self._shown(one, found[0], bench) for one, found in zip(some, predictor.found(some), strict=True)]
        chosen, others = shown[:LOOKED], shown[LOOKED:]
        wrong = [one for one in others if list(one["written"]) not in [list(c) for c in one["wanted"]]][:WRONG]
        return [{"kind": "pictured", "grid": self.grid(predictor.model), "chosen": chosen, "wrong": wrong}]

    def _shown(self, one: Any, found: Any, bench: Bench) -> dict[str, Any]:
        """A picture with its captions, ready for JSON; the picture as a PNG in base64."""
        transform: Any = bench.transform
        picture = ""
        if transform.size:
            from PIL import Image

            content = io.BytesIO()
            Image.fromarray(one.picture).save(content, "PNG")
            picture = base64.b64encode(content.getvalue()).decode()
        written = transform.tokens(found.symbols)
        looked = [] if found.looked is None or len(written) != len(found.symbols) else found.looked.round(3).tolist()
        return {"name": one.name, "picture": picture, "wanted": one.captions, "written": written, "looked": looked}
