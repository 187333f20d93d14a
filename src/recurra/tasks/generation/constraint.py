"""What a generated text may be: a regular expression, or one of some texts; asked after every symbol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from recurra.errors import SettingError, need


class Constraint(ABC):
    """Says of the beginning of a text whether it can go on to one that is allowed."""

    @abstractmethod
    def begins(self, text: str) -> bool:
        """Whether an allowed text begins so, or is it."""

    @abstractmethod
    def allows(self, text: str) -> bool:
        """Whether it is allowed as it is."""


class Expression(Constraint):
    """The whole text matches a regular expression of the library `regex`, which can tell beginnings of a match."""

    def __init__(self, pattern: str) -> None:
        need("a constraint by a regular expression", "regex", extra="text")
        import regex

        try:
            self.pattern: Any = regex.compile(pattern)
        except regex.error as error:
            raise SettingError(f"constraint: {pattern[:60]!r} is no regular expression ({error})") from None

    def begins(self, text: str) -> bool:
        """By a partial match."""
        return self.pattern.fullmatch(text, partial=True) is not None

    def allows(self, text: str) -> bool:
        """By a full one."""
        return self.pattern.fullmatch(text) is not None


class OneOf(Constraint):
    """One of some texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = frozenset(texts)
        odd = next((t for t in self.texts if not isinstance(t, str)), None)
        if odd is not None or not self.texts:
            raise SettingError(f"constraint: {'there is no text' if odd is None else repr(odd)}, expected some texts")

    def begins(self, text: str) -> bool:
        """One of them."""
        return any(one.startswith(text) for one in self.texts)

    def allows(self, text: str) -> bool:
        """Whether it is there."""
        return text in self.texts


def constraint_of(given: Any) -> Constraint | None:
    """A constraint as it was given: an expression, texts, a `Constraint` or none.

    Raises:
        SettingError: it is none of these.

    >>> one = constraint_of(["yes", "no"])
    >>> one.begins("y"), one.begins("yo"), one.allows("no")
    (True, False, True)
    """
    if given is None or isinstance(given, Constraint):
        return given
    if isinstance(given, str):
        return Expression(given)
    try:
        return OneOf(given)
    except TypeError:
        raise SettingError(
            f"constraint: got a {type(given).__name__}, expected a regular expression, or a set of texts"
        ) from None
