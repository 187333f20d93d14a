"""`Session`: a live state of a model, which takes a step or a sequence a call."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from recurra import _native
from recurra.checks import check_array, check_rows
from recurra.errors import DtypeError, SessionError, ShapeError
from recurra.runtime.ops.op import FLOAT
from recurra.runtime.sealed import seal, unseal
from recurra.weights import Array

if TYPE_CHECKING:
    from recurra.runtime.program import Program

_KIND = b"RcrS"  # a snapshot's payload is the states as little-endian float32, one after the other


class Session(_native.Session):
    """A live state of a program: of one row, or of a batch.

    `step(x, out=None)` advances by one step: x [I] (or [B, I]; for an embedding a whole number, or int64 [B]) in, the
    program's output [O] (or [B, O]) out, written to `out` where it is given, and then nothing is allocated. Where the
    program has a stride, it returns None at the steps that have no answer. It raises ShapeError or DtypeError where x
    or out does not fit, and SessionError where the program cannot step; the state is then unchanged. `reset()` goes
    back to the beginning: zeros, or what the program begins with.

    The bits are those of `run` over the whole, in chunks of any size, or in any batch. A session is not to be used by
    two threads at once.

    >>> import numpy as np
    >>> from recurra import cells, runtime
    >>> from recurra.weights import Weights
    >>> weights = Weights.random(cells.lstm, 2, 4, rng=np.random.default_rng(0))
    >>> model = runtime.Model([runtime.Recurrent(cells.lstm, [weights])])
    >>> live, x = model.session(), np.ones((3, 2), np.float32)
    >>> whole = model.run(x)
    >>> all((live.step(x[t]) == whole[t]).all() for t in range(3))
    True
    >>> list(live.state)
    ['layers.0.h', 'layers.0.c']
    """

    __slots__ = ("batch", "program")

    def __init__(self, program: Program, batch: int | None = None) -> None:
        rows = check_rows("a session", batch)
        super().__init__(program.native, rows, 1 if batch is None else 2)
        self.program = program
        self.batch = None if batch is None else rows

    def run(self, xs: Array) -> Array:
        """Advance by T steps: xs [T, I], or [T, B, I] of a batch (ids [T] or [T, B]) in, the outputs of the steps out.

        With a stride these are fewer than T. A program with an op of two directions starts each run from its beginning.

        Raises:
            ShapeError, DtypeError: xs does not fit; the state is unchanged.
        """
        lead = ("T",) if self.batch is None else ("T", self.batch)
        if self.batch is None and getattr(xs, "ndim", 0) == (2 if self.program.vocabulary_size else 3):
            raise ShapeError(
                f"run: `xs` has shape {xs.shape}, a batch, but this session is one row: use model.run(xs), or "
                f"model.session(batch={xs.shape[1]})"
            )
        self.program.check_input("run", xs, lead)
        out = np.empty((self._answers(len(xs)), *lead[1:], self.program.output_size), FLOAT)
        self._run(xs, out)
        return out

    @property
    def state(self) -> dict[str, Array]:
        """A copy of each state by name, [width] or [B, width], in the order of the layers."""
        lead = () if self.batch is None else (self.batch,)
        arrays = {name: np.empty((*lead, width), FLOAT) for name, width in self.program.state_widths().items()}
        self._read(list(arrays.values()))
        return arrays

    @state.setter
    def state(self, values: Mapping[str, Array]) -> None:
        lead = () if self.batch is None else (self.batch,)
        wanted = self.program.state_widths()
        if list(values) != list(wanted):
            raise ShapeError(f"state: the names are {', '.join(values)}, expected {', '.join(wanted)}")
        for name, width in wanted.items():
            check_array("state", name, values[name], FLOAT, (*lead, width))
            if name.endswith(".wait") and len(set(values[name].ravel().tolist())) > 1:
                raise ShapeError(f"state: `{name}` differs from row to row, expected all rows at the same step")
        self._write(list(values.values()))

    def read(self, name: str) -> Array:
        """A copy of one state, [width] or [B, width].

        Raises:
            ShapeError: there is none of that name.
        """
        widths = self.program.state_widths()
        if name not in widths:
            raise ShapeError(f"read: there is no state {name!r}, expected one of {', '.join(widths) or 'none'}")
        found = np.empty((widths[name],) if self.batch is None else (self.batch, widths[name]), FLOAT)
        self._read_one(list(widths).index(name), found)
        return found

    def take(self, order: Sequence[int], but: Collection[str] = ()) -> None:
        """Let row r of a batch have the state that row `order[r]` had.

        Args:
            order: a row for each of B.
            but: states that stay, as those that are the same in both rows.

        Raises:
            ShapeError: there are more or fewer rows than B, or one is none of them.
        """
        rows = self.batch or 1
        if len(order) != rows or not all(0 <= r < rows for r in order):
            raise ShapeError(f"take: the order is {str(list(order))[:60]}, expected {rows} rows from 0 to {rows - 1}")
        which = [k for k, name in enumerate(self.program.state_widths()) if name not in but]
        self._take(list(order), which)

    def fork(self) -> Session:
        """Another session with the same state, which goes its own way."""
        other = Session(self.program, self.batch)
        other.state = self.state
        return other

    def snapshot(self) -> bytes:
        """The state as bytes, for `restore` in this or another process."""
        return seal(_KIND, bytes.fromhex(self.program.fingerprint), self.to_bytes(), batch=self.batch)

    def restore(self, snapshot: bytes, *, version: bool = False) -> None:
        """Go on from a snapshot.

        Args:
            snapshot: from `snapshot`.
            version: whether it may be of another version of the model, whose states have the same sizes.

        Raises:
            SessionError: it is no snapshot, damaged, newer, of another model or of another batch; nothing has changed.
        """
        about, states = unseal(bytes(snapshot), _KIND, None if version else bytes.fromhex(self.program.fingerprint))
        batch = about.get("batch")
        if batch != self.batch:
            raise SessionError(
                f"restore: the snapshot has batch {str(batch)[:40]}, expected {self.batch}: use "
                f"model.session(batch={str(batch)[:40]})"
            )
        self.from_bytes(states)

    def from_bytes(self, states: bytes) -> None:
        """Take the states from the bytes that `to_bytes` gave: float32, one state after the other.

        Raises:
            SessionError: they have another size; nothing has changed.
            ShapeError: rows of a batch are at different steps of a stride; nothing has changed.
        """
        size = 4 * (self.batch or 1) * self.program.state_size
        if len(states) != size:
            raise SessionError(
                f"restore: the snapshot has {len(states)} bytes of states, expected {size}: take another"
            )
        if self.batch is None:
            self._from_bytes(states)
            return
        flat, at, arrays = np.frombuffer(states, FLOAT), 0, {}
        for name, width in self.program.state_widths().items():
            arrays[name] = flat[at : (at := at + width * self.batch)].reshape(self.batch, width)
        self.state = arrays

    def _refuse(self, x: Any, out: Any) -> NoReturn:
        """Say why a step was not done."""
        program, lead = self.program, () if self.batch is None else (self.batch,)
        program.check_streams("step")
        if program.vocabulary_size and isinstance(x, (int, np.integer)):
            program.refuse_ids("step", x)
        program.check_input("step", x, lead)
        if out is not None:
            program.check_output("step", out, lead)
        raise DtypeError("step: `x` or `out` is in another byte order: use .astype(np.float32)")

    def __reduce__(self) -> NoReturn:
        raise SessionError("a session cannot be pickled: use snapshot() and restore()")
