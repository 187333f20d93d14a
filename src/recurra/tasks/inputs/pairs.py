"""`Pairs`: texts, and what is to be written for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.sequences import Sequences
from recurra.data.split import Split
from recurra.data.text.normal import decoded
from recurra.data.text.pairs import Pair, PairSymbols
from recurra.data.text.reading import JSON_ENDINGS, Texts, read_texts
from recurra.data.text.tokens import Tokenizer, Words, tokenizer_of
from recurra.data.transform import Transform
from recurra.errors import DataError, SettingError
from recurra.tasks.inputs import Input

if TYPE_CHECKING:
    from recurra.runtime.model import Model
    from recurra.tasks.base import Task
    from recurra.tasks.live.base import Live

ENDINGS = (*JSON_ENDINGS, ".tsv", ".csv", ".parquet")
LANES = 16  # what a memory is a multiple of
MOST_READ = 1024  # tokens of a text for which memory is kept without a word


@dataclass(frozen=True)
class PairSequences(Sequences):
    """What was read: `x` are the tokens of each text, `y` the tokens that are to be written."""

    def with_targets(self, targets: Sequence[Any] | None) -> list[Any]:
        """As `Pair`."""
        count = len(self)
        groups = self.groups if self.groups is not None else [f"{i}" for i in range(count)]
        times = self.times if self.times is not None else np.full(count, np.nan)
        written = [()] * count if self.y is None else self.y
        parts = zip(self.names, self.x, groups, times, written, strict=True)
        nothing = np.array(np.nan)
        return [Pair(n, tuple(map(str, x)), nothing, g, float(t), tuple(w)) for n, x, g, t, w in parts]


@dataclass
class Pairs(Input):
    """Strings or lists of tokens, or a table with a column of each side.

    Attributes:
        tokens: what a text is cut into: "words", "characters" or "subwords" (by the extra `text`).
        written: the same of what is to be written; None: as `tokens`.
        min_count: how often a symbol comes in training at least; a rarer one is unknown.
        most: symbols of each side, the most frequent ones; of subwords, 8000 at most where nothing is said.
        longest: tokens that are read, for which memory is kept; a longer text is an error. 0: as many as the longest of
            training has, up to 1024.
        embedding: numbers of a symbol.
        heads, score: of the attention, see `recurra.torch.Attend`.
    """

    tokens: str = "words"
    written: str | None = None
    min_count: int = 1
    most: int | None = None
    longest: int = 0
    embedding: int = 128
    heads: int = 1
    score: str = "product"
    name = "pairs"

    @classmethod
    def takes(cls, X: Any, given: Mapping[str, Any]) -> bool:
        """Whatever its task is given."""
        return True

    def read(self, task: Task, X: Any, **given: Any) -> Sequences:
        """The tokenizers are made of what is read first."""
        for kind in (self.tokens, self.written or self.tokens):
            if kind not in Tokenizer.kinds:
                raise SettingError(f"reading: tokens={kind!r}, expected one of {', '.join(Tokenizer.kinds)}")
        found = self._texts(X, given)
        names = {"text": found.column, "y": found.target}
        task.roles = {role: name for role, name in names.items() if isinstance(name, str)}
        if found.y is None:
            raise DataError("pairs: y is not given, expected what is to be written for each text, or its column")
        self.tokenizers = (
            _tokenizer(self.tokens, found.texts, self.most),
            _tokenizer(self.written or self.tokens, found.y, self.most),
        )
        task.columns = ("token",)
        made = _cut(found, self.tokenizers)
        longest = max(len(x) for x in made.x)
        if not self.longest and longest > MOST_READ:
            raise DataError(
                f"pairs: a text has {longest} tokens, expected at most {MOST_READ} where nothing is said: cut it, or "
                f"train with reading={{'longest': {longest}}}, and memory for as many is kept for each text"
            )
        self.longest = self.longest or -(-max(longest, LANES) // LANES) * LANES
        self.check(made.x)
        return made

    def check(self, texts: Sequence[Any]) -> None:
        """Raise where a text is longer than what the network remembers."""
        odd = next((i for i, x in enumerate(texts) if len(x) > self.longest), None)
        if odd is not None:
            raise DataError(
                f"pairs: number {odd} has {len(texts[odd])} tokens, expected at most {self.longest}: cut it, or train "
                "with reading={'longest': ...}"
            )

    @staticmethod
    def _texts(X: Any, given: Mapping[str, Any]) -> Texts:
        for role in ("series", "time", "columns"):
            if given.get(role) is not None:
                raise DataError(f"pairs: {role} is {given[role]!r}, expected none: each text is a sequence by itself")
        kept: dict[str, Any] = {role: given.get(role) for role in ("text", "y", "groups", "times")}
        if isinstance(X, (str, Path)) and Path(X).suffix.lower() == ".tsv" and kept["text"] is kept["y"] is None:
            return _two_columns(Path(X))
        return read_texts(X, kept.pop("y"), **kept)

    def again(self, task: Task, X: Any, transform: Any, targets: bool, **given: Any) -> Sequences:
        """Cut as in training."""
        given = {role: value for role, value in given.items() if role in ("y", "text") and value is not None}
        if isinstance(X, str) and Path(X).suffix.lower() not in ENDINGS:
            X = [X]
        found = self._texts(X, given)
        if targets and found.y is None:
            raise DataError("pairs: y is not given, expected what is to be written for each text")
        made = _cut(found, (transform.source.tokenizer, transform.tokenizer))
        self.check(made.x)
        return made

    def transform(self, task: Task, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """`PairSymbols`."""
        train = [s for s, split in zip(sequences, splits, strict=True) if split.train_end]
        return PairSymbols.learn(self.tokenizers, train, self.min_count, self.most)

    def transform_from(self, described: Mapping[str, Any]) -> Transform:
        """`PairSymbols`."""
        return PairSymbols.from_dict(described)

    def live(self, task: Task, model: Model, transform: Any) -> Live:
        """`LiveTranslation`."""
        from recurra.tasks.translation.live import LiveTranslation

        return LiveTranslation(model, task, transform)

    def pack(self, sequences: Sequence[Any]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Their tokens."""
        return {}, {"tokens": [list(s.tokens) for s in sequences], "written": [list(s.written) for s in sequences]}

    def unpack(self, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Sequences:
        """See `Input`."""
        x: Any = tuple(map(tuple, settings["tokens"]))
        written = list(map(tuple, settings["written"]))
        return PairSequences(tuple(settings["names"]), x, (), written, list(settings["groups"]), arrays["time"])

    def cut(self, sequence: Any, end: int) -> dict[str, Any]:
        """See `Input`."""
        return {"tokens": sequence.tokens[:end]}


def _two_columns(path: Path) -> Texts:
    """A file without a header: a text, a tab, and what is to be written for it, a line.

    Raises:
        DataError: a line has not two columns, or there is none.
    """
    sides: tuple[list[str | list[str]], list[Any]] = ([], [])
    for number, line in enumerate(decoded(path.read_bytes(), str(path)).splitlines(), 1):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) != 2:
            raise DataError(
                f"{path.name}, line {number}: {len(columns)} columns, expected two: a text, a tab, and what is to be "
                "written for it; or name the columns of a table with a header"
            )
        sides[0].append(columns[0])
        sides[1].append(columns[1])
    if not sides[0]:
        raise DataError(f"{path.name}: there is no pair, expected at least one")
    return Texts(sides[0], sides[1])


def _tokenizer(kind: str, texts: Sequence[Any], most: int | None) -> Tokenizer:
    if kind == "words" and all(isinstance(t, list) for t in texts):
        return Words(signs=False)
    return tokenizer_of(kind, (t if isinstance(t, str) else " ".join(t) for t in texts), size=most or 8000)


def _cut(found: Texts, tokenizers: tuple[Tokenizer, Tokenizer]) -> PairSequences:
    """Both sides cut into tokens.

    Raises:
        DataError: one has none.
    """
    sides = []
    for what, texts, tokenizer in zip(("text", "y"), (found.texts, found.y), tokenizers, strict=True):
        cut = [tokenizer.tokens(t) if isinstance(t, str) else tokenizer.given(t) for t in texts or []]
        empty = next((i for i, tokens in enumerate(cut) if not tokens), None)
        if empty is not None:
            raise DataError(f"pairs: {what} number {empty} is empty: leave the pair out")
        sides.append(cut)
    names = tuple(found.names or (str(i) for i in range(len(sides[0]))))
    times = None if found.times is None else np.asarray(found.times, np.float64)
    x: Any = tuple(map(tuple, sides[0]))
    return PairSequences(names, x, (), None if found.y is None else sides[1], found.groups, times)
