"""Python functions as targets of XLA's foreign function interface, on arrays that are XLA's own buffers: no copies.

`jax.pure_callback` hands over each array as a JAX array that is first put on a device and then made a NumPy array,
which costs some 35 microseconds an array; here it is one microsecond. The structures are those of XLA's stable C
interface, xla/ffi/api/c_api.h, version 0.1 and later.
"""

from __future__ import annotations

import ctypes
import traceback
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_void_p
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jax
import numpy as np

Array = np.ndarray[Any, Any]
Function = Callable[[list[Array], list[Array]], None]

_VERSION = (0, 1)
_EXECUTE = 3
_METADATA = 1
_INTERNAL = 13  # of XLA's error codes
_MOST_VIEWS = 64


class _Extension(Structure):
    _fields_ = (("size", c_size_t), ("type", c_int), ("next", c_void_p))


class _Metadata(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("version_size", c_size_t),
        ("extension", c_void_p),
        ("major", c_int),
        ("minor", c_int),
    )


class _MetadataExtension(Structure):
    _fields_ = (("base", _Extension), ("metadata", POINTER(_Metadata)))


class _Buffer(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("extension", c_void_p),
        ("dtype", c_int),
        ("data", c_void_p),
        ("rank", c_int64),
        ("dims", POINTER(c_int64)),
    )


class _Scalar(Structure):
    _fields_ = (("dtype", c_int), ("value", POINTER(c_int64)))


class _Buffers(Structure):  # arguments or results
    _fields_ = (
        ("size", c_size_t),
        ("extension", c_void_p),
        ("count", c_int64),
        ("types", c_void_p),
        ("at", POINTER(POINTER(_Buffer))),
    )


class _Attributes(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("extension", c_void_p),
        ("count", c_int64),
        ("types", c_void_p),
        ("names", c_void_p),
        ("at", POINTER(POINTER(_Scalar))),
    )


class _ErrorArguments(Structure):
    _fields_ = (("size", c_size_t), ("extension", c_void_p), ("message", c_char_p), ("code", c_int))


_ErrorCreate = CFUNCTYPE(c_void_p, POINTER(_ErrorArguments))


class _Api(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("extension", c_void_p),
        ("version_size", c_size_t),
        ("version_extension", c_void_p),
        ("major", c_int),
        ("minor", c_int),
        ("internal", c_void_p),
        ("error_create", _ErrorCreate),
    )


class _Frame(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("extension", POINTER(_Extension)),
        ("api", POINTER(_Api)),
        ("context", c_void_p),
        ("stage", c_int),
        ("arguments", _Buffers),
        ("results", _Buffers),
        ("attributes", _Attributes),
    )


@dataclass(frozen=True)
class Kind:
    """The shape and dtype of one array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, array: Any) -> Kind:
        """Of an array or whatever has a shape and a dtype."""
        return cls(tuple(array.shape), np.dtype(array.dtype))


class _Views(dict[int | None, Array]):
    """NumPy arrays of one kind by their address, kept, because XLA's buffers tend to come back to the same places."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.memory = ctypes.c_char * int(np.prod(kind.shape, dtype=np.int64) * kind.dtype.itemsize)

    def __missing__(self, address: int | None) -> Array:
        if len(self) >= _MOST_VIEWS:
            self.clear()
        if not address:  # an array without numbers
            return np.empty(self.kind.shape, self.kind.dtype)
        memory: Any = self.memory.from_address(address)
        self[address] = view = np.ndarray(self.kind.shape, self.kind.dtype, memory)
        return view


@dataclass
class _Site:
    """A place in a program from which Python is called."""

    function: Function
    arguments: list[_Views]
    results: list[_Views]


_TARGET = "recurra_python"
_sites: dict[int, _Site] = {}


def call(key: Any, function: Function, results: Sequence[Kind], *arguments: jax.Array) -> list[jax.Array]:
    """Call `function(arguments, results)` in a traced program; it fills the results in place.

    Args:
        key: names the function, for its repr says all that it does: JAX may keep compiled programs on disk, where a
            place is known by a hash of this.
        function: must not call JAX. The arrays that it is given are valid in the call only.
        results: the kinds of the results.
        arguments: the arrays.

    An exception in the function is raised by JAX where the result is awaited.
    """
    kinds = tuple(map(Kind.of, arguments))
    name = sha256(repr((key, kinds, tuple(results))).encode()).digest()
    site = int.from_bytes(name[:8], "little") >> 1
    if site not in _sites:
        _register()
        _sites[site] = _Site(function, [_Views(k) for k in kinds], [_Views(k) for k in results])
    struct: Any = jax.ShapeDtypeStruct
    shapes = [struct(k.shape, k.dtype) for k in results]
    made = jax.ffi.ffi_call(_TARGET, shapes, vmap_method="sequential")(*arguments, site=np.int64(site))
    return list(made)


def _handle(address: Any) -> int | None:
    frame = address.contents
    try:
        if frame.extension and frame.extension.contents.type == _METADATA:
            extension = ctypes.cast(frame.extension, POINTER(_MetadataExtension)).contents
            extension.metadata.contents.major, extension.metadata.contents.minor = _VERSION
            return None
        if frame.stage != _EXECUTE:
            return None
        site = _sites[frame.attributes.at[0].contents.value[0]]
        given, made = frame.arguments.at, frame.results.at
        site.function(
            [views[given[i].contents.data] for i, views in enumerate(site.arguments)],
            [views[made[i].contents.data] for i, views in enumerate(site.results)],
        )
    except BaseException as error:
        text = f"{type(error).__name__}: {error}\n{traceback.format_exc()}".encode()
        arguments = _ErrorArguments(ctypes.sizeof(_ErrorArguments), None, text, _INTERNAL)
        return int(frame.api.contents.error_create(ctypes.byref(arguments)))
    return None


_handler = CFUNCTYPE(c_void_p, POINTER(_Frame))(_handle)
_registered = False


def _register() -> None:
    global _registered
    if not _registered:
        capsule: Any = jax.ffi.pycapsule
        jax.ffi.register_ffi_target(_TARGET, capsule(_handler), platform="cpu")
        _registered = True
