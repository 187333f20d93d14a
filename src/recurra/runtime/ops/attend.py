"""Attention over a memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recurra.checks import check_array
from recurra.errors import ShapeError
from recurra.runtime.ops.op import FLOAT, MOST_NUMBERS, Op, Shapes, check_count
from recurra.weights import Array

LANES = 16  # the capacity is a multiple of it: of the widest vector


@dataclass(frozen=True, eq=False)
class Attend(Op):
    """What a query finds in a memory of at most M rows, behind what comes in.

        q = W x + b                              in heads of K / heads numbers
        score_m = q . key_m                      (Luong 2015), or with v: v . tanh(q + key_m)  (Bahdanau 2015)
        a = softmax(score_1, ..., score_n)       of each head, over the n rows that are there
        y = [x | sum a_m value_m]                and where it shows them, the mean of the heads' a [M] behind it

    With u, key_m is key_m + u covered_m in all of this, where covered_m is the sum of the a_m of the steps before: what
    it has looked at already (coverage, See et al. 2017). With `wait`, step t (from 0 on) sees the first wait + t rows
    only, so that a decoder need not know more (wait-k, Ma et al. 2019).

    The memory is the op's state, so a session has one of its own, of bounded size, and a snapshot or a fork has it too:
    `memory` makes it of n rows, each K numbers of a key and then V of a value. At the beginning it has no row, and
    what is found is zero. The weights a of the last step are a state as well.

    Shapes: W [K, I], b [K], v [K], u [K]; the output is [I + V], or [I + V + M].

    Args:
        values: V, the numbers of a value.
        capacity: M, the most rows of a memory, a multiple of 16.
        heads: what keys and values are cut into.
        shows: whether the shares are part of the output.
        wait: how many rows the first step sees at most; 0: all.

    Raises:
        ShapeError, DtypeError: the arrays do not fit one another, or K or V is no multiple of `heads`.

    >>> import numpy as np
    >>> from recurra.runtime import Attend, Model
    >>> model = Model([Attend(np.eye(2, dtype=np.float32), np.zeros(2, np.float32), values=1, capacity=16)])
    >>> live, x = model.session(), np.array([9.0, 0.0], np.float32)
    >>> live.step(x)
    array([9., 0., 0.], dtype=float32)
    >>> live.state |= model.ops[0].memory(np.array([[1, 0, 5], [0, 1, 7]], np.float32), "layers.0.")
    >>> live.step(x).round(2)  # the first key is near
    array([9., 0., 5.], dtype=float32)
    """

    W: Array
    b: Array
    v: Array | None = None
    values: int = 0
    capacity: int = 0
    heads: int = 1
    u: Array | None = None
    shows: bool = False
    wait: int = 0
    kind: ClassVar[str] = "attend"
    shapes: ClassVar[Shapes] = {"W": ("K", "I"), "b": ("K",), "v": ("K",), "u": ("K",)}
    optional = ("v", "u")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("values", "capacity", "heads"):
            check_count("attend", name, getattr(self, name))
        if self.wait:
            check_count("attend", "wait", self.wait)
        if not isinstance(self.shows, bool):
            raise ShapeError(f"attend: `shows` is {str(self.shows)[:40]}, expected True or False")
        K, V, M, heads = self.sizes["K"], self.values, self.capacity, self.heads
        if K % heads or V % heads:
            raise ShapeError(f"attend: keys have {K} numbers and values {V}, expected multiples of heads={heads}")
        if M % LANES or M * max(K, V, heads) > MOST_NUMBERS:
            raise ShapeError(
                f"attend: `capacity` is {M}, expected a multiple of {LANES}, and at most {MOST_NUMBERS} numbers in all"
            )

    def width(self, before: int) -> int:
        """What comes in, what is found, and the shares where they are shown."""
        return before + self.values + self.capacity * self.shows

    def states(self, width: int) -> Mapping[str, int]:
        """The memory, the weights of the last step [heads, M], how many rows there are; what was looked at so far
        [heads, M], and how many steps there were."""
        M = self.capacity
        always = {"keys": self.sizes["K"] * M, "values": M * self.values, "weights": self.heads * M, "count": 1}
        covered = {"covered": self.heads * M} if self.u is not None else {}
        return always | covered | ({"steps": 1} if self.wait else {})

    def settings(self) -> dict[str, Any]:
        """What is not as ever is said."""
        also = ("shows", "wait")
        return {name: value for name, value in super().settings().items() if value or name not in also}

    def memory(self, rows: Array, prefix: str = "") -> dict[str, Array]:
        """The states that hold n rows [n, K + V], or [n, B, K + V] of a batch, by name.

        Args:
            rows: float32; keys, then values.
            prefix: of the op in its program, such as "layers.2.".

        Raises:
            ShapeError: they are more than the capacity, or have another width.
        """
        K, M = self.sizes["K"], self.capacity
        lead = ("n", "B") if getattr(rows, "ndim", 0) == 3 else ("n",)
        check_array("attend", "rows", rows, FLOAT, (*lead, K + self.values))
        n, among = len(rows), rows.shape[1:-1]
        if n > M:
            raise ShapeError(f"attend: the memory gets {n} rows, expected at most {M}, its capacity")
        keys, values = np.zeros((*among, K, M), FLOAT), np.zeros((*among, M, self.values), FLOAT)
        keys[..., :n] = np.moveaxis(rows[..., :K], 0, -1)
        values[..., :n, :] = np.moveaxis(rows[..., K:], 0, -2)
        made = {"keys": keys.reshape(*among, -1), "values": values.reshape(*among, -1)}
        made["count"] = np.full((*among, 1), n, FLOAT)
        begin = {name: np.zeros((*among, width), FLOAT) for name, width in self.states(0).items()}
        return {f"{prefix}{name}": array for name, array in (begin | made).items()}

    def _numbers(self, offsets: Mapping[str, int]) -> Sequence[float]:
        return [self.values, self.heads, self.capacity, self.shows, self.wait]
