"""The engine inside JAX's compiled programs: XLA calls it on its own buffers, without Python and without copies.

A call in a program is a number, its site, which stands for what to run (`_native.pyi`, `xla_add`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

import jax
import numpy as np

from recurra import _native

_TARGET = "recurra"


@dataclass(frozen=True)
class Kind:
    """The shape and dtype of one array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, array: Any) -> Kind:
        """Of an array or whatever has a shape and a dtype."""
        return cls(tuple(array.shape), np.dtype(array.dtype))


@dataclass(frozen=True)
class Site:
    """What to run at a place in a program. Rows of numbers say which argument or result each address is; -1: none.

    Attributes:
        name: for errors.
        call: of `engine.call`.
        backward: which of the two.
        keep: whether forward keeps a tape, whose number is then its last result; backward has it as last argument.
        tensors: the arguments that both are given.
        incoming: the arguments that only backward is given.
        results: the results.
        threads: how many, unless the user says.
    """

    name: str
    call: _native.Call
    backward: bool
    keep: bool
    tensors: Sequence[int]
    incoming: Sequence[int]
    results: Sequence[int]
    threads: int


def call(key: Any, site: Callable[[], Site], results: Sequence[Kind], *arguments: jax.Array) -> list[jax.Array]:
    """Call the engine in a traced program.

    Args:
        key: names the site, for its repr and the kinds of all arrays say all that it does: JAX may keep compiled
            programs on disk, where a site is known by a hash of these.
        site: makes it, if this process does not know it yet.
        results: the kinds of the results.
        arguments: the arrays.

    An error in the engine is raised by JAX where the result is awaited.
    """
    kinds = tuple(map(Kind.of, arguments))
    name = sha256(repr((key, kinds, tuple(results))).encode()).digest()
    number = int.from_bytes(name[:8], "little") >> 1
    if not _native.xla_knows(number):
        _register()
        _native.xla_add(number, **vars(site()))
    struct: Any = jax.ShapeDtypeStruct
    shapes = [struct(k.shape, k.dtype) for k in results]
    made = jax.ffi.ffi_call(_TARGET, shapes, vmap_method="sequential")(*arguments, site=np.int64(number))
    return list(made)


@cache
def _register() -> None:
    jax.ffi.register_ffi_target(_TARGET, _native.xla_handler(), platform="cpu")
