"""`Corpus`: a text as the numbers of its tokens, in memory or in a file of any size; rows that ask for the next one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.split import Split
from recurra.data.text.reading import CONLL_ENDINGS, JSON_ENDINGS, read_texts
from recurra.data.text.tokens import LiveTokens, Tokenizer
from recurra.data.text.vocabulary import Vocabulary
from recurra.data.transform import Transform
from recurra.errors import DataError

PIECE = 1 << 20  # bytes of a file that are read at once
IN_MEMORY = 1 << 25  # tokens; more lie in a temporary file that is mapped into memory
TABLES = (*JSON_ENDINGS, *CONLL_ENDINGS, ".csv", ".tsv", ".parquet")  # files of many texts
LONGEST_NAME = 255  # of a file

F32: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Corpus:
    """One text of tokens. Step t has the token before, and its target is token t; an open one has a step more.

    Attributes:
        name: its file or its number.
        ids: the place in `symbols` of each token, int32 [T].
        symbols: every token that came, shared by all texts that were read together.
        open: whether what follows the last token is asked for.
        group, time: nothing is known of them.
    """

    name: str
    ids: Ids
    symbols: list[str]
    open: bool = False
    group: str = ""
    time: float = float("nan")

    def __len__(self) -> int:
        return len(self.ids) + self.open


@dataclass(frozen=True)
class NextSymbol(Transform):
    """The number of the token before, one float32 a row, for a network that says what comes next; 0 at the beginning.

    Attributes:
        tokenizer: of strings.
        vocabulary: of its tokens, learned from the training part.

    >>> from recurra.data.text.tokens import Characters
    >>> text = Corpus("0", np.array([0, 1, 0], np.int32), ["a", "b"])
    >>> learned = NextSymbol.learn(Characters(), [text], [Split(3, 3, 3)])
    >>> learned.rows(text, 0, 3)[:, 0].tolist(), learned.targets(text, 0, 3).tolist()
    ([0.0, 1.0, 2.0], [1.0, 2.0, 1.0])
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary

    inputs = ("text",)
    input_size = 1
    row_size = 1

    @classmethod
    def learn(
        cls,
        tokenizer: Tokenizer,
        sequences: Sequence[Corpus],
        splits: Sequence[Split],
        min_count: int = 1,
        most: int | None = None,
    ) -> Self:
        """From the tokens of the training part."""
        symbols = sequences[0].symbols
        counts = np.zeros(len(symbols), np.int64)
        for one, split in zip(sequences, splits, strict=True):
            for at in range(0, split.train_end, PIECE):
                counts += np.bincount(one.ids[at : min(at + PIECE, split.train_end)], minlength=len(symbols))
        kept = sorted((-int(n), s) for s, n in zip(symbols, counts, strict=True) if n >= max(1, min_count))
        return cls(tokenizer, Vocabulary.from_dict({"symbols": [s for _, s in kept[: most or len(kept)]]}))

    @property
    def tables(self) -> tuple[int, ...]:  # type: ignore[override]
        """The symbols that there are."""
        return (len(self.vocabulary),)

    def numbers(self, sequence: Corpus, start: int, stop: int) -> F32:
        """The numbers of the tokens start .. stop - 1."""
        known = _numbers(self.vocabulary, sequence.symbols)
        return known[sequence.ids[start:stop]]

    def rows(self, sequence: Corpus, start: int, stop: int) -> F32:
        """See `Transform`."""
        found = np.zeros((stop - start, 1), np.float32)
        first = 1 if start == 0 else 0
        found[first:, 0] = self.numbers(sequence, start - 1 + first, stop - 1)
        return found

    def targets(self, sequence: Corpus, start: int, stop: int) -> F32:
        """See `Transform`."""
        found = np.full(stop - start, np.nan, np.float32)
        known = self.numbers(sequence, start, min(stop, len(sequence.ids)))
        found[: len(known)] = known
        return found

    def live(self, name: str = "") -> LiveNext:
        """See `Transform`."""
        return LiveNext(self)

    def to_dict(self) -> dict[str, Any]:
        """See `Transform`."""
        return {"tokenizer": self.tokenizer.to_dict(), "vocabulary": self.vocabulary.to_dict()}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """See `Transform`."""
        try:
            tokenizer = Tokenizer.from_dict(described["tokenizer"])
            return cls(tokenizer, Vocabulary.from_dict(described["vocabulary"]))
        except (KeyError, TypeError) as error:
            raise DataError(f"the model's symbols are unreadable ({error}): save the model again") from None


_KNOWN: dict[int, tuple[Vocabulary, list[str], F32]] = {}  # of the last lists of symbols, which are not copied


def _numbers(vocabulary: Vocabulary, symbols: list[str]) -> F32:
    """The number of each symbol."""
    key = id(symbols)
    found = _KNOWN.get(key)
    if found is None or found[0] is not vocabulary or found[1] is not symbols or len(found[2]) != len(symbols):
        while len(_KNOWN) > 8:
            _KNOWN.pop(next(iter(_KNOWN)))
        found = _KNOWN[key] = vocabulary, symbols, vocabulary.ids(symbols)
    return found[2]


class LiveNext:
    """What has arrived of a text: the part of a token that waits, and the last output of the network, [V]; and how many
    symbols have been drawn, with the number of the last one, -1 where others wrote after it."""

    def __init__(self, transform: NextSymbol) -> None:
        self.transform = transform
        self.tokens: LiveTokens = transform.tokenizer.live()
        self.output: F32 = np.zeros(0, np.float32)
        self.drawn = (0, -1)

    def push(self, x: Any) -> F32:
        """The row [1] of a token."""
        return self.transform.vocabulary.ids([x])

    def state(self) -> dict[str, NDArray[Any]]:
        """See `LiveTransform`."""
        rest, held, cut = self.tokens.state()
        parts = {"rest": rest.encode(), "held": held.encode(), "cut": cut}
        numbers: dict[str, NDArray[Any]] = {"output": self.output.copy(), "drawn": np.array(self.drawn, np.int64)}
        return {n: np.frombuffer(b"\0" + t, np.uint8) for n, t in parts.items()} | numbers

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `LiveTransform`."""
        try:
            found = {name: state[name].tobytes()[1:] for name in ("rest", "held", "cut")}
            texts = found["rest"].decode(), found["held"].decode()
            output = np.array(state["output"], np.float32)
            drawn, last = map(int, state.get("drawn", (0, -1)))
        except (KeyError, ValueError, AttributeError) as error:
            raise DataError(f"the state of a text is inconsistent ({error})") from None
        if output.shape not in ((0,), (len(self.transform.vocabulary),)):
            raise DataError("the state of a text is of another vocabulary")
        if not (drawn >= 0 and -1 <= last < len(self.transform.vocabulary)):
            raise DataError("the state of a text is inconsistent: what was drawn is no symbol of the model")
        self.tokens.restore((*texts, found["cut"]))
        self.output, self.drawn = output, (drawn, last)


Pieces: TypeAlias = "Callable[[], Iterable[str | Sequence[str]]]"  # of a text, or of its tokens, again and again


def open_texts(X: Any, text: str | None = None) -> list[tuple[str, Pieces]]:
    """The names of some texts, and for each what gives it piece by piece.

    Args:
        X: a file of one text, of any size; a folder of such; a string with ends of lines in it; or what `read_texts`
            takes: lists of strings or of tokens, tables, JSON Lines.
        text: the column of the texts, where X is a table.

    Raises:
        DataError: there are none, or one is empty.
        OSError: a file cannot be read.
    """
    if isinstance(X, str) and ("\n" in X or len(X) > LONGEST_NAME):
        found: list[tuple[str, Pieces]] = [("text", lambda: [X])]
    elif isinstance(X, (str, os.PathLike)) and Path(X).suffix.lower() not in TABLES:
        files = sorted(p for p in Path(X).rglob("*") if p.is_file()) if Path(X).is_dir() else [Path(X)]
        found = [(p.name, _file(p)) for p in files]
    else:
        texts = read_texts(X, text=text)
        found = [(str(i), _given(one)) for i, one in enumerate(texts.texts)]
    if not found:
        raise DataError(f"corpus: {X} has no file, expected at least one text")
    return found


def _given(one: str | Sequence[str]) -> Pieces:
    return lambda: [one]


def _file(path: Path) -> Pieces:
    def pieces() -> Iterator[str]:
        with open(path, encoding="utf-8", newline="") as file:
            try:
                while piece := file.read(PIECE):
                    yield piece
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}: byte {error.start} is no UTF-8, expected a text: convert it to UTF-8"
                ) from None

    return pieces


def read_corpus(texts: Sequence[tuple[str, Pieces]], tokenizer: Tokenizer, open_end: bool = False) -> list[Corpus]:
    """Texts as numbers; where there are very many tokens, they lie in a temporary file.

    Raises:
        DataError: a text has no tokens.
    """
    place: dict[str, int] = {}
    symbols: list[str] = []  # one list for all, which grows with what is read
    found = []
    for name, pieces in texts:
        ids = _ids(name, pieces, tokenizer, place)
        symbols += list(islice(place, len(symbols), None))
        found.append(Corpus(name, ids, symbols, open_end))
    return found


def _ids(name: str, pieces: Pieces, tokenizer: Tokenizer, place: dict[str, int]) -> Ids:
    live, parts, count, file = tokenizer.live(), list[Ids](), 0, None

    def take(tokens: Sequence[str]) -> None:
        nonlocal parts, count, file
        parts.append(np.array([place.setdefault(t, len(place)) for t in tokens], np.int32))
        count += len(tokens)
        if count > IN_MEMORY:
            file = file or tempfile.TemporaryFile(prefix="recurra-")  # noqa: SIM115  (it lives as long as the map)
            for part in parts:
                file.write(part.tobytes())
            parts = []

    for piece in pieces():
        take(live.push(piece) if isinstance(piece, str) else tokenizer.given(piece))
    take(live.end())
    if not count:
        raise DataError(f"corpus: {name} has no tokens, expected a text: leave it out")
    if file is None:
        return np.concatenate(parts)
    with file:
        file.flush()
        return np.memmap(file, np.int32, "r")
