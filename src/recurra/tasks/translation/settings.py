"""`Writing`: how a text is written."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

MOST_TOKENS = 100_000


@dataclass(frozen=True)
class Writing:
    """How a text is written; the arguments of `recurra.Translator` say what each is."""

    copy: bool = False
    coverage: bool = False
    feeding: bool = False
    sampling: float = 0.0
    wait: int = 0
    smoothing: float = 0.1
    beam: int = 4
    penalty: float = 1.0
    least: int = 0
    most: int = 0
    no_repeat: int = 0

    def checked(self, error: type[Exception]) -> Self:
        """Itself; raises where something is out of range."""
        for f in fields(self):
            value, (low, high) = getattr(self, f.name), _RANGES.get(f.name, (0, 1))
            kind = (int, float) if f.type == "float" else bool if f.type == "bool" else int
            if (
                not isinstance(value, kind)
                or (isinstance(value, bool) and f.type != "bool")
                or not low <= value <= high
            ):
                expected = "True or False" if f.type == "bool" else f"a number from {low} to {high}"
                raise error(f"{f.name} is {str(value)[:40]}, expected {expected}")
        if self.wait and self.beam > 1:
            raise error(f"beam is {self.beam} with wait={self.wait}, expected 1: what is written is not taken back")
        if self.most and self.least > self.most:
            raise error(
                f"the least is {self.least} tokens and the most {self.most}, expected a least that is not above it"
            )
        return self


_RANGES = {
    "smoothing": (0, 0.9),
    "beam": (1, 1000),
    "penalty": (0, 100),
    "wait": (0, 1000),
    "least": (0, MOST_TOKENS),
    "most": (0, MOST_TOKENS),
    "no_repeat": (0, 100),
}
