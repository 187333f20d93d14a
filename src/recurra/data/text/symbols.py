"""`Symbols`: the rows of a sequence of tokens: of each the numbers of some of its features, learned from training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.text.tokens import Tokenizer
from recurra.data.text.vocabulary import Vocabulary
from recurra.data.transform import Transform
from recurra.errors import DataError, SettingError

F32: TypeAlias = NDArray[np.float32]

BEGIN = "\x02"  # what stands before the first token

MOST_SHAPE = 8  # signs of the shape of a word


@dataclass(frozen=True)
class Tokens:
    """One text of T tokens.

    Attributes:
        name: its number or its file.
        tokens: as the tokenizer gives them, not in small letters.
        target: what belongs to the whole of it, [], or to each of its tokens, [T]; NaN where nothing is known.
        group: what it was taken from.
        time: when it was written; NaN where nothing was said.
    """

    name: str
    tokens: tuple[str, ...]
    target: NDArray[np.float64]
    group: str
    time: float

    def __len__(self) -> int:
        return len(self.tokens)


def shape(token: str) -> str:
    """The kinds of a token's signs, each run as one: X capital, x small, 9 digit, others as they are.

    >>> shape("McDonald's"), shape("21:30"), shape("NATO")
    ("XxXx'x", '9:9', 'X')
    """
    found = ""
    for c in token:
        kind = "X" if c.isupper() else "x" if c.isalpha() else "9" if c.isdigit() else c
        if not found.endswith(kind):
            found += kind
            if len(found) == MOST_SHAPE:
                break
    return found


# Of a token and the one before it; what a row has, by name. All are known as soon as the token is.
FEATURES: dict[str, Callable[[str, str], str]] = {
    "token": lambda token, before: token,
    "small": lambda token, before: token.lower(),
    "pair": lambda token, before: f"{before.lower()} {token.lower()}",
    "prefix2": lambda token, before: token[:2].lower(),
    "prefix3": lambda token, before: token[:3].lower(),
    "suffix2": lambda token, before: token[-2:].lower(),
    "suffix3": lambda token, before: token[-3:].lower(),
    "shape": lambda token, before: shape(token),
}


@dataclass(frozen=True)
class Symbols(Transform):
    """Numbers of each token: of itself, and of what is known of it with the one before: K ids, float32, in a row.

    Attributes:
        tokenizer: of strings.
        features: names in `FEATURES`.
        vocabularies: one for each.

    >>> from recurra.data.text.tokens import Words
    >>> made = [Tokens("0", ("a", "rose", "is", "a", "rose"), np.array(0.0), "0", np.nan)]
    >>> learned = Symbols.learn(Words(), made, ["small", "suffix2"])
    >>> learned.rows(made[0], 0, 3).tolist()
    [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    """

    tokenizer: Tokenizer
    features: tuple[str, ...]
    vocabularies: tuple[Vocabulary, ...]

    @classmethod
    def learn(
        cls,
        tokenizer: Tokenizer,
        sequences: Sequence[Tokens],
        features: Sequence[str] = ("token",),
        min_count: int = 1,
        most: int | None = None,
    ) -> Self:
        """From the sequences of the training part.

        Raises:
            SettingError: there is no such feature.
        """
        odd = next((name for name in features if name not in FEATURES), None)
        if odd is not None:
            raise SettingError(f"features: {odd!r} is none of {', '.join(FEATURES)}")

        def all_of(name: str) -> Vocabulary:
            of = FEATURES[name]
            found = (of(t, b) for s in sequences for b, t in zip((BEGIN, *s.tokens), s.tokens, strict=False))
            return Vocabulary.learn(found, 2 if name == "pair" else min_count, most)

        return cls(tokenizer, tuple(features), tuple(all_of(name) for name in features))

    @property
    def inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The features."""
        return self.features

    @property
    def input_size(self) -> int:  # type: ignore[override]
        """K."""
        return len(self.features)

    @property
    def row_size(self) -> int:  # type: ignore[override]
        """K."""
        return len(self.features)

    @property
    def tables(self) -> tuple[int, ...]:  # type: ignore[override]
        """How many numbers each feature has: the rows of its table in the network."""
        return tuple(len(v) for v in self.vocabularies)

    def row(self, token: str, before: str) -> F32:
        """The row [K] of a token, after another."""
        known = zip(self.features, self.vocabularies, strict=True)
        return np.array([v.numbers.get(FEATURES[name](token, before), 0) for name, v in known], np.float32)

    def rows(self, sequence: Tokens, start: int, stop: int) -> F32:
        """See `Transform`."""
        tokens = sequence.tokens[start:stop]
        before = (sequence.tokens[start - 1] if start else BEGIN, *tokens)
        found = np.empty((len(tokens), len(self.features)), np.float32)
        for k, (name, known) in enumerate(zip(self.features, self.vocabularies, strict=True)):
            of = FEATURES[name]
            found[:, k] = known.ids([of(t, b) for b, t in zip(before, tokens, strict=False)])
        return found

    def targets(self, sequence: Tokens, start: int, stop: int) -> F32:
        """See `Transform`; the target of a whole text is that of its last token."""
        y = sequence.target
        if y.ndim == 0:
            y = np.concatenate([np.full(len(sequence) - 1, np.nan), y[None]])
        return y[start:stop].astype(np.float32)

    def live(self, name: str = "") -> LiveSymbols:
        """See `Transform`."""
        return LiveSymbols(self)

    def to_dict(self) -> dict[str, Any]:
        """See `Transform`."""
        return {
            "input": "text",
            "tokenizer": self.tokenizer.to_dict(),
            "features": list(self.features),
            "vocabularies": [v.to_dict() for v in self.vocabularies],
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """See `Transform`."""
        try:
            features = tuple(str(name) for name in described["features"])
            found = tuple(Vocabulary.from_dict(v) for v in described["vocabularies"])
            tokenizer = Tokenizer.from_dict(described["tokenizer"])
        except (KeyError, TypeError) as error:
            raise DataError(f"the model's symbols are unreadable ({error}): save the model again") from None
        if not 0 < len(features) == len(found) or not set(features) <= set(FEATURES):
            raise DataError("the model's symbols contradict themselves: save the model again")
        return cls(tokenizer, features, found)


class LiveSymbols:
    """Rows of a text that arrives: token by token, or typed in pieces that are cut anywhere.

    `push` takes a token. `typed` takes a piece of a text and gives the rows of its tokens that are certain; `pending`
    those that would follow if the text ended here.
    """

    def __init__(self, symbols: Symbols) -> None:
        self.symbols, self.before, self.tokens = symbols, BEGIN, symbols.tokenizer.live()

    def push(self, x: Any) -> F32:
        """The row [K] of a token."""
        if isinstance(x, Mapping):
            x = x.get("token")
        if not isinstance(x, str) or not x:
            raise DataError(f"a step: {str(x)[:40]!r}, expected a token")
        (token,) = self.symbols.tokenizer.given([x])
        row = self.symbols.row(token, self.before)
        self.before = token
        return row

    def typed(self, piece: str | bytes) -> list[tuple[str, F32]]:
        """The tokens that a piece completes, with their rows.

        Raises:
            DataError: the bytes are no UTF-8; nothing has changed.
        """
        return self._rows(self.tokens.push(piece), keep=True)

    def pending(self) -> list[tuple[str, F32]]:
        """The tokens that would follow if the text ended here; nothing changes."""
        return self._rows(self.tokens.pending(), keep=False)

    def _rows(self, tokens: Sequence[str], keep: bool) -> list[tuple[str, F32]]:
        before, found = self.before, []
        for token in tokens:
            found.append((token, self.symbols.row(token, before)))
            before = token
        if keep:
            self.before = before
        return found

    def state(self) -> dict[str, NDArray[Any]]:
        """See `LiveTransform`."""
        rest, held, cut = self.tokens.state()
        parts = {"before": self.before.encode(), "rest": rest.encode(), "held": held.encode(), "cut": cut}
        return {name: np.frombuffer(b"\0" + text, np.uint8) for name, text in parts.items()}  # none of no length

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `LiveTransform`."""
        try:
            found = {name: state[name].tobytes()[1:] for name in ("before", "rest", "held", "cut")}
            texts = [found[name].decode() for name in ("before", "rest", "held")]
        except (KeyError, ValueError, AttributeError) as error:
            raise DataError(f"the state of a text is inconsistent ({error})") from None
        self.before = texts[0]
        self.tokens.restore((texts[1], texts[2], found["cut"]))
