"""What all ops have in common: arrays with their shapes in letters, settings, states, and features in and out.

An op is a frozen dataclass. Its fields that `shapes` names are arrays of float32; the others are settings. It is
checked when it is made, so whatever a model file says ends here or works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from recurra.checks import check_array
from recurra.errors import ShapeError
from recurra.weights import Array

FLOAT = np.dtype(np.float32)
MOST_NUMBER = 1e30
MOST_NUMBERS = 1 << 24  # in what a row carries or a state holds; a week of minutes, ten numbers each, is 100 thousand

Arrays = Mapping[str, Array]
Shapes = Mapping[str, tuple[str, ...]]
Settings = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Op:
    """One op of a program; a subclass with a `kind` is known to model files by it.

    Attributes:
        kind: the word that names it in a model file, and in the native module.
        shapes: its arrays in order, each with its sizes: letters, the same size wherever they stand. `I` are the
            features in, `O` those out; without an `O`, as many come out as go in.
        optional: the arrays that may be left out.
        first_only: whether it stands only at the beginning of a program.
        without: how to make a model that does without it, for whoever has no form of it.
        goes_by_ids: whether it reads the first whole number that comes in, which an embedding with `tables` takes.
    """

    kind: ClassVar[str] = ""
    shapes: ClassVar[Shapes] = {}
    optional: ClassVar[tuple[str, ...]] = ()
    first_only: ClassVar[bool] = False
    goes_by_ids: ClassVar[bool] = False
    without: ClassVar[str] = ""
    kinds: ClassVar[dict[str, type[Op]]] = {}

    def __init_subclass__(cls) -> None:
        Op.kinds[cls.kind] = cls

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        for name, shape in self.shapes.items():
            array = getattr(self, name)
            if array is None and name in self.optional:
                continue
            wanted = [sizes.get(letter, letter) for letter in shape]
            check_array(f"a {self.kind} layer", name, array, FLOAT, tuple(wanted))
            if 0 in array.shape:
                raise ShapeError(
                    f"a {self.kind} layer: `{name}` has shape {array.shape}, expected at least 1 in each direction"
                )
            sizes |= zip(shape, array.shape, strict=True)
        for f in fields(self):
            if isinstance(f.default, float):
                check_number(self.kind, f.name, getattr(self, f.name))
        object.__setattr__(self, "sizes", sizes)

    sizes: ClassVar[Mapping[str, int]]  # of each letter; of an instance

    @property
    def input_size(self) -> int | None:
        """Features in, or None where any number will do."""
        return self.sizes.get("I")

    @property
    def output_size(self) -> int | None:
        """Features out, or None where as many come out as go in."""
        return self.sizes.get("O", self.input_size)

    def width(self, before: int) -> int:
        """Features out, where `before` come in."""
        return before if self.output_size is None else self.output_size

    @property
    def vocabulary_size(self) -> int:
        """How many whole numbers it takes in place of features; 0: it takes features."""
        return 0

    @property
    def id_counts(self) -> tuple[int, ...]:
        """Of the first features that come in, those that are whole numbers: how many each may be."""
        return ()

    @property
    def reads(self) -> Mapping[str, int]:
        """The named inputs of the program that it reads beside what flows into it, and the features of each."""
        return {}

    def states(self, width: int) -> Mapping[str, int]:
        """The width of each state that a session carries for it, where `width` features come in."""
        return {}

    def beginnings(self, width: int) -> Mapping[str, Array]:
        """What each of its states begins with, [width]."""
        return {name: np.zeros(size, FLOAT) for name, size in self.states(width).items()}

    @property
    def stride(self) -> int:
        """It answers at every so many steps, beginning with the first."""
        return 1

    @property
    def streams(self) -> bool:
        """Whether no output depends on later steps."""
        return True

    def settings(self) -> dict[str, Any]:
        """What a manifest says of it besides its kind."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.shapes}

    def arrays(self) -> dict[str, Array]:
        """Its arrays by name, without those that are left out."""
        named = {name: getattr(self, name) for name in self.shapes}
        return {name: array for name, array in named.items() if array is not None}

    def describe(self) -> dict[str, Any]:
        """Kind and settings, as a manifest has them."""
        return {"kind": self.kind, **self.settings()}

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> Op:
        """From what `settings` and `arrays` gave; a setting that is left out is its default.

        Raises:
            ShapeError, DtypeError, CellError: they do not make an op of this kind.
        """
        check_names(set(cls.shapes) - (set(cls.optional) - set(arrays)), arrays)
        own = [f for f in fields(cls) if f.name not in cls.shapes]
        known = {f.name: settings.get(f.name, None if f.default is MISSING else f.default) for f in own}
        return cls(**known, **arrays)

    def add_to(self, network: Any, width: int, offsets: Mapping[str, int]) -> None:
        """Add it to a native network whose last op gives `width` features.

        `offsets` has, for each named input, where it begins in a row of all inputs.
        """
        network.add(self.kind, [getattr(self, name) for name in self.shapes], self._numbers(offsets), width)

    def _numbers(self, offsets: Mapping[str, int]) -> Sequence[float]:
        """What the native op takes besides its arrays."""
        return []


def check_number(kind: str, name: str, value: object) -> None:
    """Raise unless it is a number that float32 holds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < MOST_NUMBER:
        raise ShapeError(f"{kind}: `{name}` is {str(value)[:80]!r}, expected a finite number that float32 holds")


def check_count(kind: str, name: str, value: object, most: int = MOST_NUMBERS) -> None:
    """Raise unless it is a whole number from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ShapeError(f"{kind}: `{name}` is {str(value)[:80]}, expected a number from 1 to {most}")


def check_names(wanted: set[str], arrays: Arrays) -> None:
    """Raise unless these are the names of the arrays."""
    if wanted != set(arrays):
        got, expected = ", ".join(sorted(arrays)[:8]) or "none", ", ".join(sorted(wanted)) or "none"
        raise ShapeError(f"its arrays are {got}, expected {expected}")
