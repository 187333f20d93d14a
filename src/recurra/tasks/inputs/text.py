"""`Text`: texts, or lists of tokens; a row has the numbers of a token's features, whose tables the network learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.sequences import Sequences
from recurra.data.split import Split
from recurra.data.text.reading import ENDINGS, Texts, are_texts, read_texts
from recurra.data.text.symbols import Symbols, Tokens
from recurra.data.text.tokens import Tokenizer, Words, tokenizer_of
from recurra.data.text.vocabulary import UNKNOWN
from recurra.data.transform import Transform
from recurra.errors import DataError, SettingError
from recurra.tasks.inputs import Input

if TYPE_CHECKING:
    from recurra.runtime.model import Model
    from recurra.tasks.base import Task
    from recurra.tasks.baselines import Baseline
    from recurra.tasks.bench import Bench, ModelPredictor
    from recurra.tasks.live.base import Live
    from recurra.torch import Embedding


@dataclass(frozen=True)
class TextSequences(Sequences):
    """What was read: `x` are the tokens of each text."""

    def with_targets(self, targets: Sequence[Any] | None) -> list[Any]:
        """As `Tokens`, with a number (or an array [T]) for each."""
        count = len(self)
        groups = self.groups if self.groups is not None else [f"{i}" for i in range(count)]
        times = self.times if self.times is not None else np.full(count, np.nan)
        values = [np.nan] * count if targets is None else targets
        parts = zip(self.names, self.x, values, groups, times, strict=True)
        return [Tokens(n, tuple(map(str, x)), np.asarray(y, np.float64), g, float(t)) for n, x, y, g, t in parts]


@dataclass
class Text(Input):
    """Strings, lists of tokens, or files of them.

    Attributes:
        tokens: what a string is cut into: "words", "characters" or "subwords" (by the extra `text`).
        features: of each token, names in `recurra.data.text.symbols.FEATURES`; None: as suits the task.
        min_count: how often a symbol comes in training at least; a rarer one is unknown.
        most: symbols of a feature, the most frequent ones; for subwords, of them.
        embedding: numbers that the network has for a symbol of each feature.
        dropout: the share of a row's numbers that is dropped in training.
        forgotten: the share of symbols that are taken for unknown in training, so that the network knows what to make
            of one that is.
    """

    tokens: str = "words"
    features: Sequence[str] | None = None
    min_count: int = 1
    most: int | None = None
    embedding: int = 32
    dropout: float = 0.5
    forgotten: float = 0.05
    name = "text"

    @classmethod
    def takes(cls, X: Any, given: Mapping[str, Any]) -> bool:
        """Lists of strings or of tokens, files of texts, folders, and tables of which a column of texts is named."""
        if given.get("text") is not None or are_texts(X):
            return True
        return isinstance(X, (str, Path)) and (Path(X).suffix.lower() in ENDINGS or Path(X).is_dir())

    def read(self, task: Task, X: Any, **given: Any) -> Sequences:
        """The tokenizer is made of what is read first."""
        self._check()
        found = self._texts(task, X, given)
        names = {"text": found.column, "y": found.target, "groups": given.get("groups"), "times": given.get("times")}
        task.roles = {role: name for role, name in names.items() if isinstance(name, str)}
        self.tokenizer = self._tokenizer(found)
        task.columns = tuple(self.features or task.features(self.tokens))
        return _cut(found, self.tokenizer)

    def _check(self) -> None:
        if self.tokens not in Tokenizer.kinds:
            raise SettingError(f"reading: tokens={self.tokens!r}, expected one of {', '.join(Tokenizer.kinds)}")
        for name, low, high in (("min_count", 1, 1 << 24), ("embedding", 1, 4096)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SettingError(f"reading: {name}={value!r}, expected a whole number from {low} to {high}")
        for name in ("dropout", "forgotten"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
                raise SettingError(f"reading: {name}={value!r}, expected a number from 0 to less than 1")

    def _tokenizer(self, found: Texts) -> Tokenizer:
        if self.tokens == "words" and all(isinstance(t, list) for t in found.texts):
            return Words(signs=False)  # somebody else has cut them: what is typed is cut at blanks
        texts = (t if isinstance(t, str) else " ".join(t) for t in found.texts)
        return tokenizer_of(self.tokens, texts, size=self.most or 8000)

    @staticmethod
    def _texts(task: Task, X: Any, given: Mapping[str, Any]) -> Texts:
        for role in ("series", "time", "columns"):
            if given.get(role) is not None:
                raise DataError(f"texts: {role} is {given[role]!r}, expected none: each text is a sequence by itself")
        kept = {role: given.get(role) for role in ("y", "text", "groups", "times")}
        return read_texts(X, kept.pop("y"), tagged=task.tags, **kept)

    def again(self, task: Task, X: Any, transform: Any, targets: bool, **given: Any) -> Sequences:
        """Cut as in training. A string is one text, unless it is the path of a file."""
        given = {role: value for role, value in given.items() if role in ("y", "text") and value is not None}
        if isinstance(X, str) and "\n" not in X and len(X) < 4096 and not Path(X).exists() and not Path(X).suffix:
            X = [X]
        if not are_texts(X) and not isinstance(X, (list, tuple)):
            wanted = ("text", "y") if targets else ("text",)
            given = {role: name for role, name in task.roles.items() if role in wanted} | given
        found = read_texts(X, given.get("y"), text=given.get("text"), tagged=task.tags)
        return _cut(found, transform.tokenizer)

    def transform(self, task: Task, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """`Symbols`."""
        train = [s for s, split in zip(sequences, splits, strict=True) if split.train_end]
        return Symbols.learn(self.tokenizer, train, task.columns, self.min_count, self.most)

    def transform_from(self, described: Mapping[str, Any]) -> Transform:
        """`Symbols`."""
        return Symbols.from_dict(described)

    def live(self, task: Task, model: Model, transform: Any) -> Live:
        """`LiveText`."""
        from recurra.tasks.live.text import LiveText

        return LiveText(model, task, transform)

    def table(self, transform: Any) -> Embedding:
        """That of the features, which forgets some symbols in training."""
        from recurra.models.tables import Tables

        return Tables(transform.tables, self.embedding, self.dropout, self.forgotten)

    def begin(self, bench: Bench, table: Any) -> None:
        """In the first numbers of a symbol of texts that are labelled: how much oftener it comes with each label than
        in all (the log-count ratio of Wang and Manning 2012), from which training goes on."""
        import torch

        labels = getattr(bench.task, "labels", ())
        if bench.task.tags or bench.every or not 0 < len(labels) <= self.embedding // 2:
            return
        pieces = bench.pieces("train")
        y = np.array([int(piece.sequence.target) for piece in pieces])
        ids = [bench.transform.rows(piece.sequence, 0, piece.stop).astype(np.int64) for piece in pieces]
        with torch.no_grad():
            for k, (first, size) in enumerate(zip(table.begins, table.tables, strict=True)):
                found = torch.from_numpy(log_ratios([np.unique(one[:, k]) for one in ids], y, size, len(labels)))
                table.weight[first : first + size, : len(labels)] = found

    def hidden(self, sequence: Any, step: int) -> Any:
        """An unknown token in its place."""
        tokens = (*sequence.tokens[:step], UNKNOWN, *sequence.tokens[step + 1 :])
        return replace(sequence, tokens=tokens)

    def named(self, sequence: Any) -> list[str]:
        """The tokens."""
        return list(sequence.tokens)

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """Texts of the test part, right ones and wrong ones, and the words that made their label most probable."""
        from recurra.tasks.classification.occlusion import examples

        return [] if bench.task.each else [examples(bench, predictor)]

    def baselines(self, task: Task) -> tuple[type[Baseline], ...]:
        """A linear model of the words that there are, where an answer is for a text as a whole."""
        return task.text_baselines or type(task).baselines

    def pack(self, sequences: Sequence[Any]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Their tokens."""
        return {}, {"tokens": [list(s.tokens) for s in sequences]}

    def unpack(self, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Sequences:
        """See `Input`."""
        x: Any = tuple(map(tuple, settings["tokens"]))
        return TextSequences(tuple(settings["names"]), x, (), None, list(settings["groups"]), arrays["time"])

    def cut(self, sequence: Any, end: int) -> dict[str, Any]:
        """See `Input`."""
        return {"tokens": sequence.tokens[:end]}

    def suspicions(self, bench: Bench) -> list[str]:
        """The same text in training and in the test part."""
        train = {s.tokens for s, split in zip(bench.sequences, bench.splits, strict=True) if split.train_end}
        test = [piece.sequence.tokens for piece in bench.pieces("test")]
        twice = sum(tokens in train for tokens in test)
        return [f"{twice} of {len(test)} texts of the test part are in training, too"] if twice else []


def _cut(found: Texts, tokenizer: Tokenizer) -> TextSequences:
    """Texts cut into tokens.

    Raises:
        DataError: one has none.
    """
    cut = [tokenizer.tokens(t) if isinstance(t, str) else tokenizer.given(t) for t in found.texts]
    empty = next((i for i, tokens in enumerate(cut) if not tokens or not all(tokens)), None)
    if empty is not None:
        raise DataError(f"texts: number {empty} is {str(found.texts[empty])[:40]!r} and has no token: leave it out")
    names = tuple(found.names or (str(i) for i in range(len(cut))))
    times = None if found.times is None else np.asarray(found.times, np.float64)
    x: Any = tuple(map(tuple, cut))
    return TextSequences(names, x, (), found.y, found.groups, times)


def log_ratios(ids: Sequence[NDArray[np.int64]], y: NDArray[np.int64], size: int, classes: int) -> NDArray[np.float32]:
    """log of (1 + texts of a label with a symbol) a text of that label, over the same of all labels: [size, classes].

    Args:
        ids: the different symbols of each text.
        y: its label.
        size, classes: how many symbols and labels there are; the symbol 0, what is unknown, has zeros.

    >>> log_ratios([np.array([1]), np.array([2])], np.array([0, 1]), 3, 2).round(2).astype(str).tolist()
    [['0.0', '0.0'], ['0.35', '-0.35'], ['-0.35', '0.35']]
    """
    counts = np.ones((size, classes))
    np.add.at(counts, (np.concatenate(ids), np.repeat(y, [len(one) for one in ids])), 1)
    logs = np.log(counts / (1 + np.bincount(y, minlength=classes)))
    found: NDArray[np.float32] = (logs - logs.mean(1, keepdims=True)).astype(np.float32)
    found[0] = 0.0
    return found
