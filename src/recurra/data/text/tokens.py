"""Tokenizers: a text becomes tokens (characters, words or subwords), whole or as it is typed, with the same tokens."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Self

from recurra.data.text.normal import Arriving, normal
from recurra.errors import DataError, SettingError, need

LONGEST = 256  # characters without a blank that are one stretch; a longer one is cut
STRETCH = re.compile(rf" ?\S{{1,{LONGEST}}}|\s")  # what tokens do not cross: a blank and what follows, another blank
WORD = re.compile(r"\w+(?:['’.@_-]\w+)*|[^\w\s]")


class Tokenizer(ABC):
    """What cuts texts into tokens; the text is in Unicode's normal form C before it is cut.

    A text as a whole and in pieces, cut anywhere, has the same tokens.

    Attributes:
        kind: in a model file, and as a parameter.
        lower: whether tokens are written in small letters.
    """

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type[Tokenizer]]] = {}
    lower: bool

    def __init_subclass__(cls) -> None:
        if "kind" in cls.__dict__:
            Tokenizer.kinds[cls.kind] = cls

    def tokens(self, text: str) -> list[str]:
        """The tokens of a whole text."""
        return self.cut(normal(text), True)[0]

    def given(self, tokens: Sequence[str]) -> list[str]:
        """Tokens that somebody else has cut, written as this tokenizer writes them."""
        return [normal(t).lower() if self.lower else normal(t) for t in tokens]

    def live(self) -> LiveTokens:
        """The tokens of a text that arrives in pieces."""
        return LiveTokens(self)

    @abstractmethod
    def cut(self, text: str, end: bool) -> tuple[list[str], str]:
        """The tokens of a normal text that nothing to come can change, and the rest; at the end there is no rest."""

    def join(self, tokens: Iterable[str]) -> str:
        """A text of some tokens."""
        return "".join(tokens)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: part of a model file."""
        return {"kind": self.kind, "lower": self.lower}

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict` of the same kind."""
        return cls(lower=bool(described["lower"]))  # type: ignore[call-arg]

    @staticmethod
    def from_dict(described: Mapping[str, Any]) -> Tokenizer:
        """From `to_dict`.

        Raises:
            DataError: it is not what `to_dict` writes.
        """
        try:
            return Tokenizer.kinds[described["kind"]].read(described)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the model's tokenizer is unreadable ({error}): save the model again") from None


@dataclass(frozen=True)
class Characters(Tokenizer):
    """Every character, blanks and ends of lines among them, is a token.

    >>> Characters().tokens("a b")
    ['a', ' ', 'b']
    """

    lower: bool = False
    kind: ClassVar[str] = "characters"

    def cut(self, text: str, end: bool) -> tuple[list[str], str]:
        """See `Tokenizer`: there is never a rest."""
        return [c.lower() for c in text] if self.lower else list(text), ""


class _InStretches(Tokenizer):
    """What cuts each stretch between blanks by itself."""

    def cut(self, text: str, end: bool) -> tuple[list[str], str]:
        """See `Tokenizer`: the last stretch waits for what may belong to it."""
        found: list[str] = []
        last = 0
        for stretch in STRETCH.finditer(text):
            inside = stretch[0]
            # A blank that ends the text may begin a stretch, and an unfinished one may grow.
            open_ = inside == " " or (not inside.isspace() and len(inside.removeprefix(" ")) < LONGEST)
            if stretch.end() == len(text) and not end and open_:
                break
            found += self.inside(inside)
            last = stretch.end()
        return found, text[last:]

    @abstractmethod
    def inside(self, stretch: str) -> Sequence[str]:
        """The tokens of a stretch."""


@dataclass(frozen=True)
class Words(_InStretches):
    """Words, and each other sign by itself; blanks separate. Without `signs` only blanks do, as in text that is cut.

    >>> Words(lower=True).tokens("It's fine, isn't it?")
    ["it's", 'fine', ',', "isn't", 'it', '?']
    >>> Words(signs=False).tokens("(good) stuff")
    ['(good)', 'stuff']
    """

    lower: bool = False
    signs: bool = True
    kind: ClassVar[str] = "words"

    def inside(self, stretch: str) -> Sequence[str]:
        """See above."""
        text = stretch.lower() if self.lower else stretch
        return WORD.findall(text) if self.signs else text.split()

    def join(self, tokens: Iterable[str]) -> str:
        """With blanks between."""
        return " ".join(tokens)

    def to_dict(self) -> dict[str, Any]:
        """See `Tokenizer`."""
        return {**super().to_dict(), "signs": self.signs}

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> Self:
        """See `Tokenizer`."""
        return cls(bool(described["lower"]), bool(described["signs"]))


@dataclass(frozen=True)
class Subwords(_InStretches):
    """Byte pairs, learned by the library `tokenizers` (the extra `text`); its state, a JSON text, is kept here.

    Every text can be written in them, and `join` gives it back. Nothing is asked of a network.

    >>> pairs = Subwords.learn(["low lower lowest new newer newest"] * 9, size=270)
    >>> pairs.tokens("newer low"), pairs.join(pairs.tokens("newer low"))
    (['ne', 'wer', 'Ġlo', 'w'], 'newer low')
    """

    state: str
    lower: bool = False
    kind: ClassVar[str] = "subwords"
    _made: list[Any] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def learn(cls, texts: Iterable[str], size: int = 8000, lower: bool = False) -> Self:
        """From the texts of the training part; `size` subwords at most, 257 at least.

        Raises:
            SettingError: there is no room for all bytes.
            MissingExtraError: `tokenizers` is not installed.
        """
        if size < 257:
            raise SettingError(f"subwords: size={size}, expected at least 257: each byte, and the unknown one")
        need("subwords", "tokenizers", extra="text")
        from tokenizers import Tokenizer as Library
        from tokenizers import decoders, models, pre_tokenizers, trainers

        made = Library(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=size - 1, initial_alphabet=alphabet, show_progress=False)
        cut = (s.lower() if lower else s for text in texts for s in STRETCH.findall(normal(text)))
        made.train_from_iterator(cut, trainer)
        return cls(made.to_str(), lower)

    @property
    def library(self) -> Any:
        """The library's tokenizer."""
        if not self._made:
            need("a model of subwords", "tokenizers", extra="text")
            from tokenizers import Tokenizer as Library

            try:
                made = Library.from_str(self.state)
            except Exception as error:  # the library raises no class of its own
                raise DataError(f"the model's subwords are unreadable ({error}): save the model again") from None
            self._made.extend([made, lru_cache(1 << 16)(lambda stretch: tuple(made.encode(stretch).tokens))])
        return self._made[0]

    def inside(self, stretch: str) -> Sequence[str]:
        """See above."""
        _ = self.library
        found: Sequence[str] = self._made[1](stretch.lower() if self.lower else stretch)
        return found

    def join(self, tokens: Iterable[str]) -> str:
        """The text that has these tokens."""
        text: str = self.library.decoder.decode(list(tokens))
        return text

    def to_dict(self) -> dict[str, Any]:
        """See `Tokenizer`."""
        return {**super().to_dict(), "state": self.state}

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> Self:
        """See `Tokenizer`."""
        return cls(str(described["state"]), bool(described["lower"]))


class LiveTokens:
    """The tokens of a text that arrives in pieces of characters or bytes, cut anywhere.

    >>> live = Words().live()
    >>> [live.push(piece) for piece in ("It i", "s", " so")], live.pending(), live.end()
    ([['It'], [], ['is']], ['so'], ['so'])
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.arriving, self.rest = tokenizer, Arriving(), ""

    def push(self, piece: str | bytes) -> list[str]:
        """Take a piece, and give the tokens that are certain now.

        Raises:
            DataError: the bytes are no UTF-8; nothing has changed.
        """
        found, self.rest = self.tokenizer.cut(self.rest + self.arriving.push(piece), False)
        return found

    def pending(self) -> list[str]:
        """The tokens that would follow if the text ended here; nothing changes."""
        return self.tokenizer.cut(self.rest + self.arriving.pending, True)[0]

    def end(self) -> list[str]:
        """The last tokens, and a new beginning.

        Raises:
            DataError: the text ends in the middle of a character.
        """
        found, self.rest = self.tokenizer.cut(self.rest + self.arriving.end(), True)
        return found

    def state(self) -> tuple[str, str, bytes]:
        """All that waits, for `restore`; of bounded size."""
        return self.rest, self.arriving.held, self.arriving.rest

    def restore(self, state: tuple[str, str, bytes]) -> None:
        """Go on from what `state` gave."""
        self.rest, self.arriving = state[0], Arriving(state[1], state[2])


def tokenizer_of(kind: str, texts: Iterable[str], *, lower: bool = False, size: int = 8000) -> Tokenizer:
    """The tokenizer of a kind ("characters", "words" or "subwords"); the last learns from the training part's texts.

    Raises:
        SettingError: there is no such kind.
    """
    if kind == "characters":
        return Characters(lower)
    if kind == "words":
        return Words(lower)
    if kind == "subwords":
        return Subwords.learn(texts, size, lower)
    raise SettingError(f"tokens={kind!r}, expected one of {', '.join(Tokenizer.kinds)}")
