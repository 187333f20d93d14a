"""Several chains of ops side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from recurra.errors import ShapeError
from recurra.runtime.ops.op import MOST_NUMBERS, Arrays, Op, Settings
from recurra.weights import Array

HOW = ("add", "subtract", "multiply", "join")
MOST_BRANCHES, MOST_OPS = 16, 1000


@dataclass(frozen=True, eq=False)
class Branches(Op):
    """What several chains of ops make of the same row, put together: x + f(x), x * g(x), [x | f(x)].

    Args:
        branches: 2 to 16 chains; one without an op is the row itself.
        how: "add", "subtract" (from the first), "multiply", or "join": side by side.

    Where a branch reads the sequence in both directions, the whole is needed. Branches that begin with tables take
    whole numbers, below the least that one of them has.

    Raises:
        ShapeError: a branch does not answer at every step, an embedding is not at its beginning, or it is too large.

    >>> import numpy as np
    >>> from recurra.runtime import Branches, Linear, Model
    >>> double = Linear(2 * np.eye(2, dtype=np.float32))
    >>> Model([Branches([[], [double]], "add")]).run(np.array([[1, 2]], np.float32)).tolist()
    [[3.0, 6.0]]
    """

    branches: Sequence[Sequence[Op]]
    how: str = "add"
    kind: ClassVar[str] = "branches"

    def __post_init__(self) -> None:
        super().__post_init__()
        count = len(self.branches)
        if not 2 <= count <= MOST_BRANCHES or self.how not in HOW:
            raise ShapeError(
                f"branches: {count} of them, by {str(self.how)[:80]!r}, expected 2 to {MOST_BRANCHES} by one of "
                f"{', '.join(HOW)}"
            )
        if len(parts := list(self.parts)) > MOST_OPS:
            raise ShapeError(f"branches: they have {len(parts)} layers, expected at most {MOST_OPS}")
        for op in parts:
            if op.stride != 1 or op.vocabulary_size:
                raise ShapeError(
                    f"branches: a {op.kind} layer does not answer each step of features with features, expected that "
                    "of each: put it before or behind what is added up"
                )
        late = next((op for chain in self.branches for op in chain[1:] if op.id_counts), None)
        if late is not None:
            raise ShapeError(f"branches: a {late.kind} layer takes whole numbers, expected it first in its branch")

    @property
    def parts(self) -> Iterator[Op]:
        """The ops of all branches."""
        return (part for chain in self.branches for op in chain for part in every([op]))

    @property
    def streams(self) -> bool:
        """Whether all branches do."""
        return all(op.streams for op in self.parts)

    @property
    def id_counts(self) -> tuple[int, ...]:
        """Of each whole number the least that a branch has."""
        found = [chain[0].id_counts for chain in self.branches if chain and chain[0].id_counts]
        return tuple(map(min, zip(*found, strict=False)))

    @property
    def input_size(self) -> int | None:
        """What a branch takes that says so."""
        for chain in self.branches:
            for op in chain:
                if op.input_size is not None:
                    return op.input_size
                if op.output_size is not None or op.width(1) != 1:
                    break
        return None

    @property
    def output_size(self) -> int | None:
        """It depends on what comes in."""
        return None if (size := self.input_size) is None else self.width(size)

    def width(self, before: int) -> int:
        """That of one branch, or of all together."""
        found = [[width for _, width in self._along(chain, before)][-1] for chain in self.branches]
        if self.how != "join" and len(set(found)) > 1:
            raise ShapeError(f"branches: they give {found} features, expected the same of each to {self.how} them")
        if sum(found) > MOST_NUMBERS:
            raise ShapeError(f"branches: they give {sum(found)} features, expected at most {MOST_NUMBERS}")
        return sum(found) if self.how == "join" else found[0]

    @staticmethod
    def _along(chain: Sequence[Op], width: int) -> Iterator[tuple[Op | None, int]]:
        """Each op with the features that come into it, and at the end those that come out."""
        for op in chain:
            if op.input_size not in (None, width):
                raise ShapeError(f"branches: a {op.kind} layer takes {op.input_size} features, expected {width}")
            yield op, width
            width = op.width(width)
        yield None, width

    @property
    def reads(self) -> Mapping[str, int]:
        """What its ops read."""
        found: dict[str, int] = {}
        for op in self.parts:
            for name, width in op.reads.items():
                if found.setdefault(name, width) != width:
                    raise ShapeError(f"branches: the input {name!r} has {width} features, expected {found[name]}")
        return found

    def states(self, width: int) -> Mapping[str, int]:
        """Those of its ops: `1.0.h` is of the first op of the second branch."""
        return {name: size for _, name, (size, _) in self._carried(width)}

    def beginnings(self, width: int) -> Mapping[str, Array]:
        """Those of its ops."""
        return {name: begin for _, name, (_, begin) in self._carried(width)}

    def _carried(self, width: int) -> Iterator[tuple[Op, str, tuple[int, Array]]]:
        for k, chain in enumerate(self.branches):
            for i, (op, before) in enumerate(self._along(chain, width)):
                if op is not None:
                    begins = op.beginnings(before)
                    for name, size in op.states(before).items():
                        yield op, f"{k}.{i}.{name}", (size, begins[name])

    def settings(self) -> dict[str, Any]:
        """How, and what the ops say of themselves."""
        return {"how": self.how, "branches": [[op.describe() for op in chain] for chain in self.branches]}

    def arrays(self) -> dict[str, Array]:
        """Those of the ops: `1.0.W`."""
        ops = ((f"{k}.{i}", op) for k, chain in enumerate(self.branches) for i, op in enumerate(chain))
        return {f"{at}.{name}": array for at, op in ops for name, array in op.arrays().items()}

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> Branches:
        """The ops from theirs."""
        described, left = settings.get("branches"), dict(arrays)
        if not isinstance(described, list) or not all(isinstance(chain, list) for chain in described):
            raise ShapeError("branches: `branches` is no list of lists of layers")
        chains: list[list[Op]] = []
        for k, chain in enumerate(described):
            chains.append([])
            for i, said in enumerate(chain):
                kind = said.get("kind") if isinstance(said, dict) else None
                if not isinstance(kind, str) or kind not in Op.kinds:
                    raise ShapeError(f"branches: a layer of the kind {str(kind)[:80]!r}, expected one that is known")
                own = {n: left.pop(n) for n in list(left) if n.startswith(f"{k}.{i}.")}
                chains[-1].append(Op.kinds[kind].read(said, {n.removeprefix(f"{k}.{i}."): a for n, a in own.items()}))
        if left:
            raise ShapeError(f"branches: there is no layer for the array {next(iter(left))[:80]!r}")
        return cls(chains, settings.get("how", "add"))

    def add_to(self, network: Any, width: int, offsets: Mapping[str, int]) -> None:
        """A native network for each branch, whose ops it takes."""
        chains = []
        for chain in self.branches:
            chains.append(network.branch(width))
            for op, before in self._along(chain, width):
                if op is not None:
                    op.add_to(chains[-1], before, offsets)
        network.add_branches(chains, HOW.index(self.how), width)


def every(ops: Sequence[Op]) -> Iterator[Op]:
    """Ops with those within them."""
    for op in ops:
        yield op
        yield from getattr(op, "parts", ())


def merged(chains: Sequence[Sequence[Op]], how: str) -> tuple[Op, ...]:
    """One chain of several that come from the same input: what they have in common, and branches."""
    shared = 0
    while all(len(c) > shared and c[shared] is chains[0][shared] for c in chains):
        shared += 1
    return *chains[0][:shared], Branches([list(c[shared:]) for c in chains], how)
