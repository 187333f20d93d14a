"""`Tagger`: a label for each token of a text; live, each as soon as it is certain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from recurra.data.batches import Piece
from recurra.data.sequences import Sequences
from recurra.data.split import Split
from recurra.data.text.paths import allowed, are_spans, best_path, repaired
from recurra.data.transform import Transform
from recurra.errors import DataError, need
from recurra.tasks.base import Floats, Task
from recurra.tasks.estimator import Estimator
from recurra.tasks.tagging.baselines import CommonestTag, LogisticOnNeighbours
from recurra.tasks.tagging.metrics import MacroTagF1, SpanF1, TagAccuracy

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.runtime.model import Model
    from recurra.tasks.bench import Bench, ModelPredictor
    from recurra.tasks.live.base import Live

FEATURES = ("small", "prefix2", "prefix3", "suffix2", "suffix3", "shape")
EXAMPLES = 8  # sentences that a report shows
MOST_TAGS = 2000


class Tag(Task):
    """A tag for each token; of spans (B-X, I-X, O), always consistent."""

    name = "tag"
    metrics = (TagAccuracy(),)
    baselines = (CommonestTag, LogisticOnNeighbours)
    inputs = ("text",)
    tags = True

    labels: list[str]
    moves: np.ndarray[Any, Any]
    _head: Any = None

    def features(self, tokens: str) -> tuple[str, ...]:
        """Of a word its form, its first and last letters and its shape; of other tokens themselves."""
        return FEATURES if tokens == "words" else ("token", "small")

    def targets(self, found: Sequences) -> list[Floats]:
        """The number of each tag; in `fit`, which sees them first, the tags are learned.

        Raises:
            DataError: they are not as many as the tokens, one is no text, all are one, or one was not in training.
        """
        given = [self._tags(i, tags, len(x)) for i, (tags, x) in enumerate(zip(found.y or [], found.x, strict=False))]
        if not given:
            raise DataError("y is not given, expected a tag for each token of each text")
        if are_spans(sorted({tag for tags in given for tag in tags})):
            given = [repaired(tags) for tags in given]
        if not hasattr(self, "labels"):
            self._learn_labels(sorted({tag for tags in given for tag in tags}))
        numbers = {label: k for k, label in enumerate(self.labels)}
        odd = next((tag for tags in given for tag in tags if tag not in numbers), None)
        if odd is not None:
            raise DataError(f"y: the tag {odd!r} was not in training, expected one of {', '.join(self.labels[:12])}")
        return [np.array([float(numbers[tag]) for tag in tags]) for tags in given]

    @staticmethod
    def _tags(i: int, tags: Any, count: int) -> list[str]:
        listed = tags.split() if isinstance(tags, str) else list(tags) if np.ndim(tags) == 1 else [tags]
        if len(listed) != count:
            raise DataError(f"y: number {i} has {len(listed)} tags for {count} tokens, expected one for each token")
        odd = next((t for t in listed if t is None or t != t or str(t) == ""), "")
        if odd != "":
            raise DataError(f"y: number {i} has the tag {str(odd)[:40]!r}, expected a text for each token")
        return [str(t) for t in listed]

    def _learn_labels(self, labels: list[str]) -> None:
        if not 2 <= len(labels) <= MOST_TAGS:
            what = f"all tags are {labels[0]!r}" if len(labels) == 1 else f"there are {len(labels)} different tags"
            raise DataError(f"y: {what}, expected 2 to {MOST_TAGS} different ones")
        self.labels = labels
        self._measured()

    def _measured(self) -> None:
        """By the F1 of spans too, or of tags."""
        spans = are_spans(self.labels)
        self.metrics = (TagAccuracy(), SpanF1(self.labels) if spans else MacroTagF1())  # type: ignore[assignment, misc]

    def transform(self, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """Every tag must be there to be learned; what it takes to measure, too."""
        if are_spans(self.labels):
            need("the F1 of spans", "seqeval", extra="text")
        return super().transform(sequences, splits)

    def head(self, width: int, transform: Transform, dropout: float) -> nn.Module:
        """Scores of tags, and of one after another."""
        import torch

        from recurra.models.crf import TagHead

        self._head = TagHead(width, torch.from_numpy(allowed(self.labels)), dropout)
        return self._head  # type: ignore[no-any-return]

    def losses(self, bench: Bench, network: Any, noise: float) -> Callable[[Any], Tensor]:
        """By the moves of the network that is trained now."""
        self._head = network.head
        return super().losses(bench, network, noise)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """-log p of the right tags of each text, a token."""
        loss: Tensor = self._head.loss(output, targets)
        return loss

    def calibrate(self, network: Any, output: Tensor, targets: Tensor) -> None:
        """Keep the scores of moves, which are no part of the network's ops; of several members their mean."""
        moves = [member.head.moves.detach().numpy() for member in network.members]
        self.moves = np.mean(moves, 0).astype(np.float32)
        self._head = None

    def decode(self, output: Floats, transform: Transform, name: str) -> Floats:
        """The numbers of the tags [M] of a whole text."""
        moves = self.moves if self._head is None else self._head.moves.detach().numpy()
        return np.array(best_path(moves, output), np.float64)

    def truth(self, sequence: Any, start: int, stop: int) -> Floats:
        """The numbers of the tags, and whether a text begins there: [M, 2]."""
        begins = np.zeros(stop - start)
        begins[0] = 1
        return np.stack([sequence.target[start:stop], begins], -1)

    def steps(self, sequence: Any, split: Split, part: str) -> tuple[int, int]:
        """All tokens of a text."""
        return split.part(part)

    def columns_of(self, answers: Floats) -> dict[str, Any]:
        """The tag."""
        return {"tag": np.array([self.labels[int(k)] for k in answers], object)}

    def answer(self, numbers: Floats) -> dict[str, Any]:
        """The tag."""
        return {"tag": self.labels[int(numbers)]}

    def live(self, model: Model, transform: Any) -> Live:
        """`LiveTags`."""
        from recurra.tasks.tagging.live import LiveTags

        return LiveTags(model, self, transform)

    def described(self, bench: Bench) -> dict[str, Any]:
        """How many tokens have each tag, too."""
        counts = np.bincount(
            np.concatenate([s.target for s in bench.sequences]).astype(int), minlength=len(self.labels)
        )
        labels = dict(zip(self.labels, counts.tolist(), strict=True))
        return {**super().described(bench), "labels": labels}

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """Sentences with their tags, the wrong ones first, and which tags are taken for which."""
        pieces = bench.pieces("test")
        answers = [predictor.predict(*piece).astype(int) for piece in pieces]
        truth = [piece.sequence.target.astype(int) for piece in pieces]
        wrong = sorted(range(len(pieces)), key=lambda i: (-int((answers[i] != truth[i]).any()), i))
        half = [i for i in wrong if (answers[i] == truth[i]).all()][: EXAMPLES // 2]
        shown = [*[i for i in wrong if i not in half][: EXAMPLES - len(half)], *half]
        rows = [[self._spoken(pieces[i], truth[i]), self._spoken(pieces[i], answers[i])] for i in shown]
        K = len(self.labels)
        counts = np.bincount(np.concatenate(truth) * K + np.concatenate(answers), minlength=K * K).reshape(K, K)
        confusion = {"kind": "confusion", "labels": self.labels, "counts": counts.tolist(), "of": "tokens"}
        table = {"kind": "table", "heading": "Sentences", "headings": ["in truth", "as it says"], "rows": rows}
        return [table, confusion]

    def _spoken(self, piece: Piece, tags: Any) -> str:
        """A text in which all that is not O has its tag."""
        known = zip(piece.sequence.tokens, tags, strict=True)
        return " ".join(t if self.labels[k] == "O" else f"{t}/{self.labels[k]}" for t, k in known)

    def to_dict(self) -> dict[str, Any]:
        """The tags, and the scores of one after another."""
        moves = {"moves": self.moves.tolist()} if hasattr(self, "moves") else {}
        return {**super().to_dict(), "labels": self.labels, **moves}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        self = super().from_dict(described)
        self.labels = [str(label) for label in described["labels"]]
        if not 2 <= len(self.labels) <= MOST_TAGS:
            raise ValueError(f"{len(self.labels)} tags")
        if "moves" in described:
            self.moves = np.asarray(described["moves"], np.float32)
            if self.moves.shape != (len(self.labels) + 1, len(self.labels)) or not np.isfinite(self.moves).all():
                raise ValueError(f"moves {self.moves.shape} of {len(self.labels)} tags")
        self._measured()
        return self

    def check_output(self, size: int) -> None:
        """A score for each tag."""
        if size != len(self.labels) or not hasattr(self, "moves"):
            raise ValueError(f"{size} scores for {len(self.labels)} tags")


class Tagger(Estimator):
    """Tags of the tokens of texts: parts of speech, names, slots.

    A recurrent network reads what is known of each word: its form, its beginning and end, the shape of its letters. A
    conditional random field chooses the tags of a text together; of spans (B-X, I-X, O) it makes only consistent ones.
    By default the network reads in both directions; with `bidirectional=False` a live session reads each token once,
    and looks ahead by none.

    The arguments are those of `recurra.tasks.Estimator`.

    >>> import recurra
    >>> X = [["play", w, "now"] for w in ("jazz", "rock", "soul", "folk")] * 5 + [["stop", "it", "now"]] * 8
    >>> y = [["O", "B-music", "O"]] * 20 + [["O", "O", "O"]] * 8
    >>> model = recurra.Tagger(hidden=8, epochs=100).fit(X, y, evaluate=False)
    >>> [str(tag) for tag in model.predict(["play soul now"])[0]]
    ['O', 'B-music', 'O']
    """

    task = Tag

    def __init__(
        self,
        cell: Any = "gru",
        hidden: int = 64,
        layers: int = 1,
        bidirectional: bool = True,
        projection: int | None = None,
        dropout: float = 0.5,
        refit: bool = True,
        epochs: int | None = None,
        batch: int | None = None,
        learning_rate: float = 3e-3,
        clip: float = 1.0,
        patience: int | None = None,
        parts: Any = (0.70, 0.15, 0.15),
        seed: int = 0,
        members: int = 1,
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            cell, hidden, layers, bidirectional, None, projection, dropout, None, refit, epochs, batch,
            learning_rate=learning_rate, clip=clip, patience=patience, parts=parts, seed=seed, members=members,
            reading=reading,
        )  # fmt: skip

    def _given(self, answers: Any) -> Any:
        """The tags of each text."""
        labels = np.array(self.task_.labels, object)
        return [labels[one.astype(int)] for one in answers]
