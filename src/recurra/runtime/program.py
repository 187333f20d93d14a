"""`Program`: ops that run in one native call, from named inputs to an output."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra import _native
from recurra.checks import check_array
from recurra.engine import isa
from recurra.errors import SessionError, ShapeError
from recurra.runtime.ops.op import FLOAT, MOST_NUMBERS, Op, check_count
from recurra.weights import Array

if TYPE_CHECKING:
    from recurra.runtime.session import Session

IDS = np.dtype(np.int64)
INPUT = "x"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Program:
    """Ops one after the other, ready to run.

    The first input flows into the first op; an op that reads another one (`Op.reads`) has it beside what flows. A row
    of a step has all inputs one after the other, in their order, so that a step is one array and one native call.

    Args:
        ops: from the input to the output.
        inputs: names and features of the inputs, in order; found from the ops where it is not given, with `x` as the
            name of the first.

    Attributes:
        ops: from the input to the output.
        inputs: names and features of the inputs, in order.
        input_size, output_size: features of a step, of all inputs together (an embedding takes one whole number
            instead).
        vocabulary_size: how many whole numbers an embedding takes; 0 where features come in.
        id_counts: of the first numbers of a row, those that are whole: how many each may be, from 0 on.
        stride: at every so many steps there is an output, beginning with the first.
        streams: whether it can step; an op of two directions needs the whole sequence.

    Raises:
        ShapeError: an op does not take what the one before it gives, or an input does not fit.

    >>> import numpy as np
    >>> from recurra.runtime import Linear, Program
    >>> Program([Linear(np.ones((1, 3), np.float32))]).inputs
    {'x': 3}
    """

    def __init__(self, ops: Sequence[Op], inputs: Mapping[str, int] | None = None) -> None:
        self.ops = tuple(ops)
        self.inputs = _inputs(self.ops, inputs)
        first = next(iter(self.inputs.values()))
        self._widths = _widths(self.ops, first)
        self.input_size, self.output_size = sum(self.inputs.values()), self._widths[-1]
        self.vocabulary_size = self.ops[0].vocabulary_size if self.ops else 0
        self.id_counts = self.ops[0].id_counts if self.ops else ()
        self.stride = int(np.prod([op.stride for op in self.ops], dtype=object))
        self.streams = all(op.streams for op in self.ops)
        self.native = _native.Network(isa(), self.input_size, first)
        ends = np.cumsum([0, *self.inputs.values()]).tolist()
        offsets = dict(zip(self.inputs, ends, strict=False))
        for op, width in zip(self.ops, self._widths, strict=False):
            op.add_to(self.native, width, offsets)

    def __repr__(self) -> str:
        kinds = ", ".join(op.cell.name if hasattr(op, "cell") else op.kind for op in self.ops)
        return f"<program of {kinds}: {self.input_size} in, {self.output_size} out>"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the ops and all their numbers: equal fingerprints, equal bits.

        Several inputs are hashed as what the first version of the model file had in their place, an op that splits a
        row, so that fingerprints, and with them snapshots, outlive that version.
        """
        return self._hash(numbers=True)

    @cached_property
    def architecture(self) -> str:
        """A hash of the ops and the shapes of their arrays, as `fingerprint` without the numbers: what another training
        of the same network does not change."""
        return self._hash(numbers=False)

    def _hash(self, numbers: bool) -> str:
        described = [op.describe() for op in self.ops]
        (_, first), *others = self.inputs.items()
        if others:
            split = {"kind": "split", "first": first, "beside": self.input_size - first}
            named = {} if list(self.inputs) == [INPUT, "future"] else {"inputs": list(self.inputs.items())}
            described.insert(0, split | named)
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        for i, op in enumerate(self.ops, start=len(described) - len(self.ops)):
            for name, array in op.arrays().items():
                digest.update(f"layers.{i}.{name}{array.shape}".encode())
                if numbers:
                    digest.update(array.astype("<f4", copy=False).data)
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Inputs and ops, as a manifest has them."""
        return {"inputs": self.inputs, "ops": [op.describe() for op in self.ops]}

    def arrays(self) -> dict[str, Array]:
        """All arrays by name: `layers.0.W`."""
        named = ((i, item) for i, op in enumerate(self.ops) for item in op.arrays().items())
        return {f"layers.{i}.{name}": array for i, (name, array) in named}

    def state_widths(self) -> dict[str, int]:
        """The width of each state that a session carries, by name: `layers.0.h`."""
        widths = zip(self.ops, self._widths, strict=False)
        named = ((i, item) for i, (op, width) in enumerate(widths) for item in op.states(width).items())
        return {f"layers.{i}.{state}": width for i, (state, width) in named}

    @cached_property
    def state_size(self) -> int:
        """The numbers of a session's states of one row."""
        return sum(self.state_widths().values())

    def beginnings(self) -> dict[str, Array]:
        """What each state of a session begins with, by name."""
        widths = zip(self.ops, self._widths, strict=False)
        named = ((i, item) for i, (op, width) in enumerate(widths) for item in op.beginnings(width).items())
        return {f"layers.{i}.{state}": array for i, (state, array) in named}

    def session(self, batch: int | None = None) -> Session:
        """A live state at its beginning: of one row that takes vectors [I], or of `batch` rows that takes [B, I].

        Raises:
            ShapeError: batch is less than 1.
        """
        from recurra.runtime.session import Session

        return Session(self, batch)

    def run(self, xs: Array) -> Array:
        """Whole sequences from the beginning: [T, I] or [T, B, I] in (ids [T] or [T, B]), ceil(T / stride) steps out.

        Raises:
            ShapeError, DtypeError: xs does not fit.
        """
        batched = getattr(xs, "ndim", 0) == (2 if self.vocabulary_size else 3)
        if batched and xs.shape[1] == 0:
            self.check_input("run", xs, ("T", "B"))
            return np.empty((-(-len(xs) // self.stride), 0, self.output_size), FLOAT)
        return self.session(xs.shape[1] if batched else None).run(xs)

    def step_many(self, sessions: Sequence[Session], X: Array, out: Array | None = None) -> Array:
        """One step of each of N sessions, in one native call: X [N, I] (or ids [N]) in, [N, O] out.

        The bits are those of stepping one by one. Each session is one row of this program, and comes once. With a
        stride, the row of a session that has no answer at its step is NaN.

        Raises:
            ShapeError, DtypeError: X or out does not fit.
            SessionError: a session is of another model, is a batch or comes twice; no session has moved.
        """
        name, N = "step_many", len(sessions)
        self.check_streams(name)
        self.check_input(name, X, (N,))
        out = self._given_or_new(name, out, X, N)
        listed = sessions if type(sessions) is list else list(sessions)
        self._check_taken(name, listed, X, self.native.step_many(listed, X, out))
        return out

    def _given_or_new(self, name: str, out: Array | None, X: Array, rows: int) -> Array:
        """Memory for so many rows of output: the caller's, checked, or new."""
        if out is None:
            return np.empty((rows, self.output_size), FLOAT)
        self.check_output(name, out, (rows,))
        if np.may_share_memory(X, out):
            raise ShapeError(f"{name}: `out` shares memory with `X`, expected memory of its own: use np.empty")
        return out

    def run_many(self, sessions: Sequence[Session], steps: Sequence[int], X: Array, out: Array | None = None) -> Array:
        """Some steps of each of N sessions, in one native call.

        The bits are those of `Session.run` one after the other. With a stride, the row of a step that has no answer is
        NaN.

        Args:
            sessions: as for `step_many`.
            steps: how many of each, [N].
            X: float32 [sum of steps, I] (or ids): all steps of the first session, then all of the second, and so on.
            out: float32 [sum of steps, O].

        Raises:
            ShapeError, DtypeError: X, out or steps do not fit.
            SessionError: as for `step_many`; no session has moved.
        """
        name, total = "run_many", sum(steps)
        if len(steps) != len(sessions) or any(n < 0 for n in steps):
            raise ShapeError(f"{name}: `steps` is {str(list(steps))[:60]}, expected {len(sessions)} counts from 0")
        self.check_streams(name)
        self.check_input(name, X, (total,))
        out = self._given_or_new(name, out, X, total)
        listed = list(sessions)
        self._check_taken(name, listed, X, self.native.run_many(listed, list(steps), X, out))
        return out

    def _check_taken(self, name: str, sessions: list[Session], X: Array, bad: int) -> None:
        """Raise for the session that could not take part, or for an id that is none."""
        if bad == len(sessions):
            self.refuse_ids(name, X)
        elif bad >= 0:
            raise SessionError(
                f"{name}: sessions[{bad}] is {_spoken(sessions[bad], self)}, expected a session of one row of this "
                "model, each once: model.session()"
            )

    def check_streams(self, call: str) -> None:
        """Raise where it cannot step."""
        if not self.streams:
            i = next(i for i, op in enumerate(self.ops) if not op.streams)
            raise SessionError(
                f"{call}: layer {i} reads the sequence in both directions, so its output at a step needs the steps to "
                "come: use run on whole sequences, or train it in one direction"
            )

    def check_input(self, call: str, x: Array, lead: tuple[int | str, ...]) -> None:
        """Raise unless x is `[*lead, I]` of float32, or whole numbers `[*lead]` where an embedding takes them."""
        if self.vocabulary_size:
            check_array(call, "x", x, IDS, lead)
            self.refuse_ids(call, x)
        else:
            check_array(call, "x", x, FLOAT, (*lead, self.input_size))
            self.refuse_ids(call, x)

    def check_output(self, call: str, out: Array, lead: tuple[int | str, ...]) -> None:
        """Raise unless out is `[*lead, O]` of float32 that can be written."""
        check_array(call, "out", out, FLOAT, (*lead, self.output_size), written=True)
        if not out.flags.writeable:
            raise ShapeError(f"{call}: `out` is read-only, expected an array that can be written: pass a copy")

    def refuse_ids(self, call: str, x: Any) -> None:
        """Raise where a whole number is not one of the embedding's rows."""
        for k, count in enumerate(self.id_counts):
            of_table = x[..., k]
            bad = of_table[~((of_table >= 0) & (of_table < count) & (of_table == np.floor(of_table)))]
            if bad.size:
                raise ShapeError(
                    f"{call}: number {k} of a row of `x` is {bad.flat[0]:g}, expected a whole number from 0 to "
                    f"{count - 1}: the embedding's rows"
                )
        ids, count = np.asarray(x), self.vocabulary_size
        if not count:
            return
        if ids.size and (ids.min() < 0 or ids.max() >= count):
            bad = ids.min() if ids.min() < 0 else ids.max()
            raise ShapeError(f"{call}: `x` has the number {bad}, expected 0 to {count - 1}: the embedding's rows")


def _inputs(ops: Sequence[Op], given: Mapping[str, int] | None) -> dict[str, int]:
    """The inputs by name, checked against what the ops read."""
    read: dict[str, int] = {}
    for i, op in enumerate(ops):
        for name, width in op.reads.items():
            if read.setdefault(name, width) != width:
                raise ShapeError(
                    f"layer {i} ({op.kind}) takes {width} numbers of the input {name!r}, expected {read[name]}: what a "
                    "layer before it takes"
                )
    if given is None:
        sizes = (1 if op.vocabulary_size else op.input_size for op in ops)
        known = next((size for size in sizes if size is not None), None)
        if known is None:
            raise ShapeError("a network has no layer with weights, expected at least one")
        given = {INPUT: known, **read}
    for name, width in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ShapeError(f"a program: an input is called {str(name)[:80]!r}, expected small letters, digits and _")
        check_count("a program", f"inputs[{name!r}]", width)
    if not given or sum(given.values()) > MOST_NUMBERS:
        raise ShapeError(
            f"a program: its inputs are {str(dict(given))[:80]}, expected 1 to {MOST_NUMBERS} numbers in all"
        )
    others = {name: width for k, (name, width) in enumerate(given.items()) if k}
    for i, op in enumerate(ops):
        for name, width in op.reads.items():
            if others.get(name) != width:
                raise ShapeError(
                    f"layer {i} ({op.kind}) takes {width} numbers of the input {name!r}, expected {others.get(name, 0)}"
                )
    unread = [name for name in others if name not in read]
    if unread:
        raise ShapeError(f"a program: no layer reads the input {unread[0]!r}, expected a layer that takes it")
    if others and ops and ops[0].vocabulary_size:
        raise ShapeError(
            "a program: an embedding takes whole numbers, so there is no place for other inputs beside them"
        )
    return dict(given)


def _widths(ops: Sequence[Op], first: int) -> list[int]:
    """The features that each op gives, after those that go into the first."""
    widths = [first]
    for i, op in enumerate(ops):
        before = widths[-1]
        if i > 0 and (op.first_only or op.id_counts):
            article = "an" if op.kind[0] in "aeiou" else "a"
            raise ShapeError(f"layer {i} is {article} {op.kind}, expected it only as the first layer")
        if op.goes_by_ids and not (ops[0].id_counts and all(one.stride == 1 for one in ops[:i])):
            raise ShapeError(
                f"layer {i} ({op.kind}) goes by the symbols that come in, expected an embedding with `tables` as the "
                "first layer, and an answer at every step"
            )
        if op.input_size is not None and op.input_size != before:
            raise ShapeError(f"layer {i} ({op.kind}) takes {op.input_size} features, expected {before}: what comes in")
        widths.append(op.width(before))
    return widths


def _spoken(session: object, program: Program) -> str:
    from recurra.runtime.session import Session

    if not isinstance(session, Session):
        return f"a {type(session).__name__}"
    if session.program is not program:
        return "a session of another model"
    return "a session that comes twice" if session.batch is None else f"a session of a batch of {session.batch}"
