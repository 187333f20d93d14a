"""`Tagger`: a tag for each token of a text, and a label of the whole; live, each as soon as it is certain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
from recurra.tasks.tagging.metrics import LabelAccuracy, MacroTagF1, SpanF1, TagAccuracy, WholeAccuracy

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.runtime.model import Model
    from recurra.tasks.bench import Bench, ModelPredictor
    from recurra.tasks.live.base import Live

FEATURES = ("small", "prefix2", "prefix3", "suffix2", "suffix3", "shape")
EXAMPLES = 8  # sentences that a report shows
MOST_TAGS = 2000


class Tag(Task):
    """A tag for each token; of spans (B-X, I-X, O), always consistent; where texts have labels, the label of each, too.

    With K tags, the number of tag k in a text with label j is K j + k. A path goes through those numbers that came in
    training, its states, and its label never changes: so tags and label are the most probable together.

    Attributes:
        labels: the tags.
        texts: the labels of texts; none where they have none.
        states: the numbers that came in training, in order.
        moves: scores [S + 1, S] of one state after another; the last row is for the first token.
    """

    name = "tag"
    metrics = (TagAccuracy(MOST_TAGS),)
    baselines = (CommonestTag, LogisticOnNeighbours)
    inputs = ("text",)
    tags = True

    labels: list[str]
    texts: list[str]
    states: np.ndarray[Any, Any]
    moves: np.ndarray[Any, Any]
    _head: Any = None

    def features(self, tokens: str) -> tuple[str, ...]:
        """Of a word its form, its first and last letters and its shape; of other tokens themselves."""
        return FEATURES if tokens == "words" else ("token", "small")

    def targets(self, found: Sequences) -> list[Floats]:
        """The number of each tag; in `fit`, which sees them first, tags and labels are learned.

        Raises:
            DataError: they are not as many as the tokens, one is no text, all are one, or one was not in training.
        """
        y, texts = _apart(found.y or [])
        given = [self._tags(i, tags, len(x)) for i, (tags, x) in enumerate(zip(y, found.x, strict=False))]
        if not given:
            raise DataError("y is not given, expected a tag for each token of each text")
        if are_spans(sorted({tag for tags in given for tag in tags})):
            given = [repaired(tags) for tags in given]
        new = not hasattr(self, "labels")
        if new:
            self._learn_labels(sorted({tag for tags in given for tag in tags}), sorted(set(texts)))
        if bool(texts) != bool(self.texts):
            expected = "tags and a label" if self.texts else "tags alone"
            raise DataError(
                f"y: number 0 is {str((found.y or [''])[0])[:60]}, expected {expected} of each, as in training"
            )
        tag_of = _numbered("tag", self.labels, (tag for tags in given for tag in tags))
        text_of = _numbered("label", self.texts, texts)
        firsts = [len(self.labels) * text_of[text] for text in texts] or [0] * len(given)
        made = [np.array([float(k + tag_of[tag]) for tag in tags]) for k, tags in zip(firsts, given, strict=True)]
        if new:
            self.states = np.unique(np.concatenate(made)).astype(int) if texts else np.arange(len(self.labels))
        return made

    @staticmethod
    def _tags(i: int, tags: Any, count: int) -> list[str]:
        listed = tags.split() if isinstance(tags, str) else list(tags) if np.ndim(tags) == 1 else [tags]
        if len(listed) != count:
            raise DataError(f"y: number {i} has {len(listed)} tags for {count} tokens, expected one for each token")
        odd = next((t for t in listed if t is None or t != t or str(t) == ""), "")
        if odd != "":
            raise DataError(f"y: number {i} has the tag {str(odd)[:40]!r}, expected a text for each token")
        return [str(t) for t in listed]

    def _learn_labels(self, labels: list[str], texts: list[str]) -> None:
        for what, known, least in (("tags", labels, 2), ("labels of texts", texts, 0)):
            if not least <= len(known) <= MOST_TAGS or (texts and len(known) == 1):
                found = (
                    f"all {what} are {known[0]!r}" if len(known) == 1 else f"there are {len(known)} different {what}"
                )
                raise DataError(f"y: {found}, expected 2 to {MOST_TAGS} different ones")
        self.labels, self.texts = labels, texts
        self._measured()

    def _measured(self) -> None:
        """By the F1 of spans too, or of tags; and by labels."""
        K = len(self.labels)
        spans = SpanF1(self.labels) if are_spans(self.labels) else MacroTagF1(K)
        whole = (LabelAccuracy(K), WholeAccuracy()) if self.texts else ()
        self.metrics = (TagAccuracy(K), spans, *whole)  # type: ignore[misc]

    def tag_of(self, number: float) -> str:
        """The tag of a number."""
        return self.labels[int(number) % len(self.labels)]

    def label_of(self, number: float) -> str:
        """The label of the text of a number."""
        return self.texts[int(number) // len(self.labels)]

    def strata(self, sequences: Sequence[Any]) -> list[str] | None:
        """Labels are in all parts alike."""
        return [self.label_of(s.target[0]) for s in sequences] if self.texts else None

    def transform(self, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """Every tag must be there to be learned; what it takes to measure, too."""
        if are_spans(self.labels):
            need("the F1 of spans", "seqeval", extra="text")
        return super().transform(sequences, splits)

    def head(self, width: int, transform: Transform, dropout: float) -> nn.Module:
        """Scores of tags, and of one after another."""
        import torch

        from recurra.models.crf import TagHead

        tags, texts = [self.tag_of(k) for k in self.states], (self.states // len(self.labels)).tolist()
        self._head = TagHead(width, torch.from_numpy(allowed(tags, texts)), dropout)
        return self._head  # type: ignore[no-any-return]

    def losses(self, bench: Bench, network: Any, noise: float) -> Callable[[Any], Tensor]:
        """By the moves of the network that is trained now."""
        self._head = network.head
        return super().losses(bench, network, noise)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """-log p of the right tags, and label, of each text, a token."""
        import torch

        places = torch.from_numpy(np.searchsorted(self.states, targets.nan_to_num(self.states[0]).numpy()))
        loss: Tensor = self._head.loss(output, places.float().masked_fill(targets.isnan(), torch.nan))
        return loss

    def calibrate(self, network: Any, output: Tensor, targets: Tensor) -> None:
        """Keep the scores of moves, which are no part of the network's ops; of several members their mean."""
        moves = [member.head.moves.detach().numpy() for member in network.members]
        self.moves = np.mean(moves, 0).astype(np.float32)
        self._head = None

    def decode(self, output: Floats, transform: Transform, name: str) -> Floats:
        """The numbers of the tags [M] of a whole text."""
        moves = self.moves if self._head is None else self._head.moves.detach().numpy()
        return self.states[best_path(moves, output)].astype(np.float64)

    def truth(self, sequence: Any, start: int, stop: int) -> Floats:
        """The numbers of the tags, and whether a text begins there: [M, 2]."""
        begins = np.zeros(stop - start)
        begins[0] = 1
        return np.stack([sequence.target[start:stop], begins], -1)

    def steps(self, sequence: Any, split: Split, part: str) -> tuple[int, int]:
        """All tokens of a text."""
        return split.part(part)

    def columns_of(self, answers: Floats) -> dict[str, Any]:
        """The tag, and the label of the text."""
        of_text = {"label": np.array([self.label_of(k) for k in answers], object)} if self.texts else {}
        return {"tag": np.array([self.tag_of(k) for k in answers], object), **of_text}

    def answer(self, numbers: Floats) -> dict[str, Any]:
        """The tag, and the label of the text."""
        number = float(numbers)
        return {"tag": self.tag_of(number), **({"label": self.label_of(number)} if self.texts else {})}

    def live(self, model: Model, transform: Any) -> Live:
        """`LiveTags`."""
        from recurra.tasks.tagging.live import LiveTags

        return LiveTags(model, self, transform)

    def described(self, bench: Bench) -> dict[str, Any]:
        """How many tokens have each tag, too."""
        K = len(self.labels)
        counts = np.bincount(np.concatenate([s.target for s in bench.sequences]).astype(int) % K, minlength=K)
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
        both = np.concatenate(truth) % K * K + np.concatenate(answers) % K
        counts = np.bincount(both, minlength=K * K).reshape(K, K)
        confusion = {"kind": "confusion", "labels": self.labels, "counts": counts.tolist(), "of": "tokens"}
        said: dict[str, Any] = {"headings": ["in truth", "as it says"], "rows": rows, "texts": True}
        table = {"kind": "table", "heading": "Sentences", **said}
        return [table, confusion]

    def _spoken(self, piece: Piece, tags: Any) -> str:
        """A text in which all that is not O has its tag, behind its label."""
        known = zip(piece.sequence.tokens, map(self.tag_of, tags), strict=True)
        label = [f"{self.label_of(tags[0])}:"] if self.texts else []
        return " ".join([*label, *(t if tag == "O" else f"{t}/{tag}" for t, tag in known)])

    def to_dict(self) -> dict[str, Any]:
        """The tags, the labels of texts, and the scores of one state after another."""
        moves = {"moves": self.moves.tolist()} if hasattr(self, "moves") else {}
        of_texts = {"texts": self.texts, "states": self.states.tolist()} if self.texts else {}
        return {**super().to_dict(), "labels": self.labels, **of_texts, **moves}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        self = super().from_dict(described)
        self.labels = [str(label) for label in described["labels"]]
        if not 2 <= len(self.labels) <= MOST_TAGS:
            raise ValueError(f"{len(self.labels)} tags")
        self.texts = [str(label) for label in described.get("texts", [])]
        most = len(self.labels) * max(1, len(self.texts))
        self.states = np.array([int(k) for k in described.get("states", range(most))])
        if not 0 < len(self.states) <= MOST_TAGS or not (np.diff([-1, *self.states, most]) > 0).all():
            raise ValueError(f"states of {len(self.labels)} tags and {len(self.texts)} labels")
        if "moves" in described:
            self.moves = np.asarray(described["moves"], np.float32)
            if self.moves.shape != (len(self.states) + 1, len(self.states)) or not np.isfinite(self.moves).all():
                raise ValueError(f"moves {self.moves.shape} of {len(self.states)} tags")
        self._measured()
        return self

    def check_output(self, size: int) -> None:
        """A score for each state."""
        if size != len(self.states) or not hasattr(self, "moves"):
            raise ValueError(f"{size} scores for {len(self.states)} tags")


def _apart(y: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """The tags of texts, and the labels where each is given as a pair of both.

    Raises:
        DataError: some are pairs and others not, or a label is no text.
    """
    pairs = [isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], (list, tuple, np.ndarray)) for one in y]
    if not any(pairs):
        return list(y), []
    for i, (one, pair) in enumerate(zip(y, pairs, strict=True)):
        if not pair or not isinstance(one[1], str) or not one[1]:
            raise DataError(f"y: number {i} is {str(one)[:60]}, expected a pair of its tags and its label, a text")
    return [one[0] for one in y], [str(one[1]) for one in y]


def _numbered(what: str, known: Sequence[str], given: Iterable[str]) -> dict[str, int]:
    """The number of each.

    Raises:
        DataError: one that is given is not known.
    """
    numbers = {name: k for k, name in enumerate(known)}
    odd = next((name for name in given if name not in numbers), None)
    if odd is not None:
        raise DataError(f"y: the {what} {odd!r} was not in training, expected one of {', '.join(known[:12])}")
    return numbers


class Tagger(Estimator):
    """Tags of the tokens of texts: parts of speech, names, slots; and a label of the whole, as what a command wants.

    A recurrent network reads what is known of each word: its form, its beginning and end, the shape of its letters. A
    conditional random field chooses the tags of a text together; of spans (B-X, I-X, O) it makes only consistent ones.
    By default the network reads in both directions; with `bidirectional=False` a live session reads each token once,
    and looks ahead by none.

    Where y has a pair for each text, its tags and a label, one network learns both, and each helps the other: the field
    is one over pairs of a label and a tag, of which the label never changes. `predict` then gives such pairs.

    The arguments are those of `recurra.tasks.Estimator`.

    >>> import recurra
    >>> X = [["play", w, "now"] for w in ("jazz", "rock", "soul", "folk")] * 5 + [["stop", "it", "now"]] * 8
    >>> y = [["O", "B-music", "O"]] * 20 + [["O", "O", "O"]] * 8
    >>> model = recurra.Tagger(hidden=8, epochs=100).fit(X, y, evaluate=False)
    >>> [str(tag) for tag in model.predict(["play soul now"])[0]]
    ['O', 'B-music', 'O']
    >>> both = [(tags, x[0]) for x, tags in zip(X, y)]
    >>> tags, label = recurra.Tagger(hidden=8, epochs=100).fit(X, both, evaluate=False).predict(["play soul now"])[0]
    >>> label, [str(tag) for tag in tags]
    ('play', ['O', 'B-music', 'O'])
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
        """The tags of each text, with its label where there are labels."""
        task = self.task_
        labels = np.array(task.labels, object)
        tags = [labels[one.astype(int) % len(labels)] for one in answers]
        return [(t, task.label_of(one[0])) for t, one in zip(tags, answers, strict=True)] if task.texts else tags
