"""`Model`: a network of layers that runs in one native call, with what its file says of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra import _native
from recurra.checks import check_array
from recurra.engine import isa
from recurra.errors import SessionError, ShapeError
from recurra.runtime.kinds import widths
from recurra.runtime.layers import FLOAT, Embedding, Layer, Recurrent
from recurra.weights import Array

if TYPE_CHECKING:
    from recurra.runtime.session import Session

IDS = np.dtype(np.int64)


class Model:
    """A network, ready to run.

    Attributes:
        layers: from the input to the output.
        preprocessing: what must be done to data before it comes in and after it goes out; free-form, JSON.
        card: what it was trained on and how well it did; free-form, JSON.
        parity: the report of the check that its export made, empty where none was made.
        input_size, output_size: features of a step (an embedding takes one whole number instead).
        streams: whether it can step; a layer of two directions needs the whole sequence.

    Raises:
        ShapeError: a layer does not take what the one before it gives.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        preprocessing: dict[str, Any] | None = None,
        card: dict[str, Any] | None = None,
        parity: dict[str, Any] | None = None,
    ) -> None:
        self.layers = tuple(layers)
        self.preprocessing = preprocessing or {}
        self.card = card or {}
        self.parity = parity or {}
        features = widths(self.layers)
        self.input_size, self.output_size = features[0], features[-1]
        self.words = len(layers[0].W) if isinstance(layers[0], Embedding) else 0
        self.streams = all(len(layer.weights) == 1 for layer in self.layers if isinstance(layer, Recurrent))
        self._native = _native.Network(isa())
        for layer, before in zip(self.layers, features, strict=False):
            layer.add_to(self._native, before)

    def __repr__(self) -> str:
        kinds = ", ".join(layer.cell.name if isinstance(layer, Recurrent) else layer.kind for layer in self.layers)
        return f"<model of {kinds}: {self.input_size} in, {self.output_size} out>"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the layers and all their numbers: equal fingerprints, equal bits."""
        digest = hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode())
        for name, array in self.arrays().items():
            digest.update(f"{name}{array.shape}".encode())
            digest.update(array.astype("<f4", copy=False).data)
        return digest.hexdigest()

    def describe(self) -> list[dict[str, Any]]:
        """The layers as the manifest has them."""
        return [{"kind": layer.kind, **layer.settings()} for layer in self.layers]

    def arrays(self) -> dict[str, Array]:
        """All arrays, by the names that they have in a file: `layers.0.W`."""
        named = ((i, item) for i, layer in enumerate(self.layers) for item in layer.arrays().items())
        return {f"layers.{i}.{name}": array for i, (name, array) in named}

    def state_widths(self) -> dict[str, int]:
        """The width of each state that a session carries, by name: `layers.0.h`."""
        return {
            f"layers.{i}.{state}": layer.weights[0].U.shape[1] if k == 0 else layer.weights[0].hidden_size
            for i, layer in enumerate(self.layers)
            if isinstance(layer, Recurrent) and len(layer.weights) == 1
            for k, state in enumerate(layer.cell.states)
        }

    def session(self, batch: int | None = None) -> Session:
        """A live state at its beginning: of one row that takes vectors [I], or of `batch` rows that takes [B, I].

        Raises:
            ShapeError: batch is less than 1.
        """
        from recurra.runtime.session import Session

        return Session(self, batch)

    def run(self, xs: Array) -> Array:
        """Whole sequences from the beginning: [T, I] or [T, B, I] in (ids [T] or [T, B]), as many steps out.

        Raises:
            ShapeError, DtypeError: xs does not fit.
        """
        batched = getattr(xs, "ndim", 0) == (2 if self.words else 3)
        if batched and xs.shape[1] == 0:
            self.check_input("run", xs, ("T", "B"))
            return np.empty((*xs.shape[:2], self.output_size), FLOAT)
        return self.session(xs.shape[1] if batched else None).run(xs)

    def step_many(self, sessions: Sequence[Session], X: Array, out: Array | None = None) -> Array:
        """One step of each of N sessions, in one native call: X [N, I] (or ids [N]) in, [N, O] out.

        The bits are those of stepping one by one. Each session is one row of this model, and comes once.

        Raises:
            ShapeError, DtypeError: X or out does not fit.
            SessionError: a session is of another model, is a batch or comes twice; no session has moved.
        """
        name, N = "step_many", len(sessions)
        self.check_streams(name)
        self.check_input(name, X, (N,))
        if out is None:
            out = np.empty((N, self.output_size), FLOAT)
        else:
            self.check_output(name, out, (N,))
            if np.may_share_memory(X, out):
                raise ShapeError(f"{name}: `out` shares memory with `X`, expected memory of its own: use np.empty")
        bad = self._native.step_many(sessions if type(sessions) is list else list(sessions), X, out)
        if bad == N:
            self.refuse_ids(name, X)
        elif bad >= 0:
            raise SessionError(
                f"{name}: sessions[{bad}] is {_kind(sessions[bad], self)}, expected a session of one row of this "
                "model, each once: model.session()"
            )
        return out

    def save(self, path: Any) -> None:
        """As `save_model`."""
        from recurra.runtime.file import save_model

        save_model(self, path)

    def check_streams(self, call: str) -> None:
        """Raise where the network cannot step."""
        if not self.streams:
            i = next(i for i, x in enumerate(self.layers) if isinstance(x, Recurrent) and len(x.weights) == 2)
            raise SessionError(
                f"{call}: layer {i} reads the sequence in both directions, so its output at a step needs the steps to "
                "come: use run on whole sequences, or train it in one direction"
            )

    def check_input(self, call: str, x: Array, lead: tuple[int | str, ...]) -> None:
        """Raise unless x is `[*lead, I]` of float32, or whole numbers `[*lead]` where an embedding takes them."""
        if self.words:
            check_array(call, "x", x, IDS, lead)
            self.refuse_ids(call, x)
        else:
            check_array(call, "x", x, FLOAT, (*lead, self.input_size))

    def check_output(self, call: str, out: Array, lead: tuple[int | str, ...]) -> None:
        """Raise unless out is `[*lead, O]` of float32 that can be written."""
        check_array(call, "out", out, FLOAT, (*lead, self.output_size), written=True)
        if not out.flags.writeable:
            raise ShapeError(f"{call}: `out` is read-only, expected an array that can be written: pass a copy")

    def refuse_ids(self, call: str, x: Any) -> None:
        """Raise where a whole number is not one of the embedding's rows."""
        ids = np.asarray(x)
        if ids.size and (ids.min() < 0 or ids.max() >= self.words):
            bad = ids.min() if ids.min() < 0 else ids.max()
            raise ShapeError(f"{call}: `x` has the number {bad}, expected 0 to {self.words - 1}: the embedding's rows")


def _kind(session: object, model: Model) -> str:
    from recurra.runtime.session import Session

    if not isinstance(session, Session):
        return f"a {type(session).__name__}"
    if session.model is not model:
        return "a session of another model"
    return "a session that comes twice" if session.batch is None else f"a session of a batch of {session.batch}"
