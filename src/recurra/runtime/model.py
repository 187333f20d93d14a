"""`Model`: programs, with what their file says of them."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurra.errors import ShapeError
from recurra.runtime.ops.op import Op
from recurra.runtime.program import Program
from recurra.weights import Array

if TYPE_CHECKING:
    from recurra.runtime.session import Session

MAIN = "main"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Model:
    """A network, ready to run: usually one program, which is called "main"; or several by name.

    What is said of a model without naming a program is said of "main": `ops`, `inputs`, `input_size`, `output_size`,
    `vocabulary_size`, `stride`, `streams`, `run`, `step_many`, `run_many` and so on are those of `Program`.

    Args:
        ops: of "main", from the input to the output.
        programs: in place of `ops`, programs (or their ops) by name.

    Attributes:
        programs: by name.
        preprocessing: what must be done to data before it comes in and after it goes out; free-form, JSON.
        card: what it was trained on and how well it did; free-form, JSON.
        parity: the report of the check that its export made, empty where none was made.

    Raises:
        ShapeError: an op does not take what the one before it gives.

    >>> import numpy as np
    >>> from recurra.runtime import Linear, Model
    >>> wide, narrow = Linear(np.ones((2, 3), np.float32)), Linear(np.ones((1, 2), np.float32))
    >>> model = Model(programs={"encoder": [wide], "decoder": [narrow]})
    >>> model.session(program="encoder").step(np.ones(3, np.float32))
    array([3., 3.], dtype=float32)
    """

    def __init__(
        self,
        ops: Sequence[Op] | None = None,
        *,
        programs: Mapping[str, Program | Sequence[Op]] | None = None,
        preprocessing: dict[str, Any] | None = None,
        card: dict[str, Any] | None = None,
        parity: dict[str, Any] | None = None,
    ) -> None:
        if (ops is None) == (programs is None):
            raise ShapeError("a model: expected either its ops or its programs")
        named = {MAIN: ops or []} if programs is None else programs
        for name in named:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ShapeError(
                    f"a model: a program is called {str(name)[:80]!r}, expected small letters, digits and _"
                )
        self.programs = {n: p if isinstance(p, Program) else Program(p) for n, p in named.items()}
        if not self.programs:
            raise ShapeError("a model: it has no program, expected at least one")
        self.preprocessing = preprocessing or {}
        self.card = card or {}
        self.parity = parity or {}

    def program(self, name: str = MAIN) -> Program:
        """The program of that name.

        Raises:
            ShapeError: there is none.
        """
        if name not in self.programs:
            raise ShapeError(f"a model has no program {name!r}, expected one of: {', '.join(self.programs)}")
        return self.programs[name]

    @property
    def ops(self) -> tuple[Op, ...]:
        """From the input to the output."""
        return self.program().ops

    @property
    def inputs(self) -> dict[str, int]:
        """Names and features of the inputs, in order."""
        return self.program().inputs

    @property
    def input_size(self) -> int:
        """Features of a step that come in, of all inputs together."""
        return self.program().input_size

    @property
    def output_size(self) -> int:
        """Features of a step that go out."""
        return self.program().output_size

    @property
    def vocabulary_size(self) -> int:
        """How many whole numbers an embedding takes; 0 where features come in."""
        return self.program().vocabulary_size

    @property
    def id_counts(self) -> tuple[int, ...]:
        """Of the first numbers of a row, those that are whole: how many each may be."""
        return self.program().id_counts

    @property
    def stride(self) -> int:
        """At every so many steps there is an output, beginning with the first."""
        return self.program().stride

    @property
    def streams(self) -> bool:
        """Whether it can step."""
        return self.program().streams

    def __repr__(self) -> str:
        if list(self.programs) == [MAIN]:
            return repr(self.program()).replace("<program", "<model")
        return f"<model of {', '.join(f'{name}: {program!r}' for name, program in self.programs.items())}>"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the programs and all their numbers: equal fingerprints, equal bits."""
        return self._hash("fingerprint")

    @cached_property
    def architecture(self) -> str:
        """A hash of the programs without their numbers: what another training of the same networks does not change."""
        return self._hash("architecture")

    def _hash(self, which: str) -> str:
        of_each = {name: getattr(program, which) for name, program in self.programs.items()}
        if list(self.programs) == [MAIN]:
            return str(of_each[MAIN])
        return hashlib.sha256(json.dumps(of_each, sort_keys=True).encode()).hexdigest()

    def arrays(self) -> dict[str, Array]:
        """All arrays, by the names that they have in a file: `layers.0.W`, `decoder.layers.0.W`."""
        return {prefix(n) + a: array for n, program in self.programs.items() for a, array in program.arrays().items()}

    def state_widths(self) -> dict[str, int]:
        """The width of each state that a session carries, by name: `layers.0.h`."""
        return self.program().state_widths()

    def session(self, batch: int | None = None, program: str = MAIN) -> Session:
        """A live state at its beginning: of one row that takes vectors [I], or of `batch` rows that takes [B, I].

        Raises:
            ShapeError: batch is less than 1, or there is no such program.
        """
        return self.program(program).session(batch)

    def run(self, xs: Array) -> Array:
        """As `Program.run`."""
        return self.program().run(xs)

    def step_many(self, sessions: Sequence[Session], X: Array, out: Array | None = None) -> Array:
        """As `Program.step_many`."""
        return self.program().step_many(sessions, X, out)

    def run_many(self, sessions: Sequence[Session], steps: Sequence[int], X: Array, out: Array | None = None) -> Array:
        """As `Program.run_many`."""
        return self.program().run_many(sessions, steps, X, out)

    def __reduce__(self) -> tuple[Any, ...]:
        """As pickle, copy and joblib take it: the bytes of its file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            self.save(path)
            return _of_bytes, (path.read_bytes(),)

    def save(self, path: Any) -> None:
        """As `save_model`."""
        from recurra.runtime.file import save_model

        save_model(self, path)


def prefix(program: str) -> str:
    """What stands before the names of a program's arrays."""
    return "" if program == MAIN else f"{program}."


def _of_bytes(content: bytes) -> Model:
    """What `Model.__reduce__` wrote."""
    from recurra.runtime.file import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(content)
        return load(path)
