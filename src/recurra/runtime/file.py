"""The model file: one safetensors file, whose metadata key `recurra` is a JSON manifest. No code in it is ever run::

    {"format": 2, "made_by": "recurra 0.2.0", "fingerprint": "3f...", "checksum": "a8...",
     "programs": {"main": {"inputs": {"x": 3, "future": 40},
                           "ops": [{"kind": "recurrent", "cell": "def lstm(x, h, c): ..."},
                                   {"kind": "forecast", "levels": [0.1, 0.5, 0.9]}]}},
     "preprocessing": {...}, "card": {...}, "parity": {...}}

The arrays of op i of "main" are tensors of float32 named `layers.i.W` and so on, those of another program
`decoder.layers.i.W`. The fingerprint is of programs and numbers, the checksum of the manifest. Version 1 had the ops of
one program, its `layers`, and a layer `split` in place of several inputs; it is read for ever.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from recurra import _native
from recurra.errors import CellError, DtypeError, ModelFileError, ShapeError
from recurra.files import write_atomically
from recurra.runtime.model import MAIN, Model, prefix
from recurra.runtime.ops import Op, Recurrent
from recurra.runtime.ops.branches import every
from recurra.runtime.ops.forecast import FUTURE
from recurra.runtime.ops.op import check_count
from recurra.runtime.program import INPUT, Program
from recurra.weights import Array

FORMAT = 2
KEY = "recurra"
MOST_LAYERS, MOST_PROGRAMS = 1000, 100
MOST_CELLS = 32  # to compile, each a tenth of a second or more
_MOST_HEADER = 100_000_000  # bytes, as safetensors has it
_CURE = "export it again, or copy the file again"


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model to one file, in one move: a reader sees the old file or the new one, never a part.

    Raises:
        ModelFileError: preprocessing, card or parity has something that JSON cannot hold.
        OSError: the file cannot be written; what was there is untouched.

    >>> import numpy as np, tempfile
    >>> from recurra import runtime
    >>> model = runtime.Model([runtime.Linear(np.ones((1, 2), np.float32))], card={"made for": "an example"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     runtime.save_model(model, f"{folder}/sum.recurra")
    ...     again = runtime.load(f"{folder}/sum.recurra")
    >>> again.run(np.ones((3, 2), np.float32)).tolist(), again.card
    ([[2.0], [2.0], [2.0]], {'made for': 'an example'})
    """
    from safetensors.numpy import save

    target = Path(path)
    manifest = {
        "format": FORMAT,
        "made_by": f"recurra {_version()}",
        "fingerprint": model.fingerprint,
        "programs": {name: program.describe() for name, program in model.programs.items()},
        "preprocessing": model.preprocessing,
        "card": model.card,
        "parity": model.parity,
    }
    try:
        manifest["checksum"] = _checksum(json.loads(json.dumps(manifest, allow_nan=False)))
        text = json.dumps(manifest)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{target}: the manifest cannot be written as JSON ({error}), expected text, finite numbers, lists and "
            "dicts in preprocessing, card and parity"
        ) from error
    content = save({n: np.ascontiguousarray(a) for n, a in model.arrays().items()}, {KEY: text})
    write_atomically(target, content)


def load(path: str | os.PathLike[str]) -> Model:
    """A model from its file, checked and ready to run. Imports no torch, SymPy or pandas.

    A cell that is not built in is compiled when its model is loaded first, or comes from the cache (see `recurra.jit`).

    Raises:
        ModelFileError: the file is truncated, foreign, newer than this program, or inconsistent.
        OSError: there is no such file, or it cannot be read.
        MissingExtraError: a cell must be compiled, and the packages for that are not installed.
    """
    target = Path(path)
    arrays, text = _read(target)
    manifest = _manifest(target, text)
    described = manifest["programs"]
    tensors = _by_program(target, described, arrays)
    try:
        ops = {n: _ops(target, n, d["ops"], tensors[n]) for n, d in described.items()}
        own = {op.cell for n in ops for op in every(ops[n]) if isinstance(op, Recurrent)}
        if len(foreign := {cell.fingerprint for cell in own} - set(_native.zoo)) > MOST_CELLS:
            raise ModelFileError(
                f"{target}: {len(foreign)} cells of its own would have to be compiled, expected at most {MOST_CELLS}"
            )
        programs = {n: Program(ops[n], d["inputs"]) for n, d in described.items()}
        model = Model(programs=programs, **{name: manifest[name] for name in ("preprocessing", "card", "parity")})
    except ModelFileError:
        raise
    except (ShapeError, DtypeError, CellError) as error:
        raise ModelFileError(f"{target}: {_line(error)}; {_CURE}") from error
    except RecursionError as error:
        raise ModelFileError(f"{target}: the equations of a cell are nested too deeply; {_CURE}") from error
    if manifest["fingerprint"] != model.fingerprint:
        raise ModelFileError(
            f"{target}: the layers have the fingerprint {model.fingerprint[:12]}, expected "
            f"{str(manifest['fingerprint'])[:12]}: the file is damaged; {_CURE}"
        )
    said = json.loads(text)
    if said.pop("checksum", None) not in (None, _checksum(said)):  # files of earlier versions have none
        raise ModelFileError(f"{target}: the manifest has another checksum than it says: the file is damaged; {_CURE}")
    return model


def _checksum(manifest: dict[str, Any]) -> str:
    """Of all that the manifest says: what is done to data decides an answer as much as the numbers do."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> tuple[dict[str, Array], str]:
    """The tensors and the manifest's text; nothing is read before its size is known to fit the file."""
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = int.from_bytes(file.read(8), "little")
    if size < 8 or header > min(size - 8, _MOST_HEADER):
        raise ModelFileError(
            f"{path}: got {size} bytes, whose header claims {header}, expected a whole .safetensors file: it is "
            f"truncated or of another kind; {_CURE}"
        )
    try:
        with safe_open(path, framework="numpy") as tensors:
            text = (tensors.metadata() or {}).get(KEY)
            if text is None:
                raise ModelFileError(
                    f"{path}: a safetensors file without a manifest of recurra, expected a model file: write one with "
                    "recurra.save_model or recurra.torch.export"
                )
            arrays = {}
            for name in tensors.keys():  # noqa: SIM118  (no mapping)
                dtype = tensors.get_slice(name).get_dtype()
                if dtype != "F32":
                    raise ModelFileError(f"{path}: the tensor {name[:80]!r} is {dtype}, expected F32; {_CURE}")
                arrays[name] = np.array(tensors.get_tensor(name))
            return arrays, text
    except (SafetensorError, ValueError, OverflowError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path}: {_line(error)}, expected a whole .safetensors file; {_CURE}") from error


def _manifest(path: Path, text: str) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: the manifest is no JSON ({error}); {_CURE}") from error
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ModelFileError(f"{path}: the manifest has the format {str(version)[:80]!r}, expected a number; {_CURE}")
    if version > FORMAT:
        raise ModelFileError(
            f"{path}: the file has format {version}, expected at most {FORMAT}: it was made by "
            f"{str(manifest.get('made_by'))[:80]}, this is recurra {_version()}: update recurra"
        )
    programs = {"layers": list} if version == 1 else {"programs": dict}
    kinds = {**programs, "fingerprint": str, "preprocessing": dict, "card": dict, "parity": dict}
    for name, kind in kinds.items():
        if not isinstance(manifest.get(name), kind):
            got = type(manifest.get(name)).__name__
            raise ModelFileError(f"{path}: the manifest's {name!r} is a {got}, expected a {kind.__name__}; {_CURE}")
    if version == 1:
        return dict(manifest) | {"programs": {MAIN: _main_of_layers(path, manifest["layers"])}}
    if len(manifest["programs"]) > MOST_PROGRAMS:
        raise ModelFileError(f"{path}: there are more than {MOST_PROGRAMS} programs; {_CURE}")
    for name, program in manifest["programs"].items():
        parts = program if isinstance(program, dict) else {}
        if not isinstance(parts.get("ops"), list) or not isinstance(parts.get("inputs"), dict):
            raise ModelFileError(
                f"{path}: the program {name[:80]!r} is a {type(program).__name__} without a list `ops` and a dict "
                f"`inputs`; {_CURE}"
            )
    return dict(manifest)


def _main_of_layers(path: Path, layers: list[Any]) -> dict[str, Any]:
    """The program that version 1 described by its layers: a first layer `split` is a second input."""
    first = layers[0] if layers and isinstance(layers[0], dict) else {}
    if first.get("kind") != "split":
        return {"ops": layers, "inputs": None}
    try:
        for name in ("first", "beside"):
            check_count("split", name, first.get(name))
    except ShapeError as error:
        raise ModelFileError(f"{path}: layer 0 (split): {error}; {_CURE}") from error
    return {"ops": layers[1:], "inputs": {INPUT: first["first"], FUTURE: first["beside"]}, "skipped": 1}


_TENSOR = re.compile(r"(?:([a-z][a-z0-9_]*)\.)?layers\.(0|[1-9][0-9]{0,3})\.(.+)")


def _by_program(path: Path, described: dict[str, Any], arrays: dict[str, Array]) -> dict[str, list[dict[str, Array]]]:
    """The arrays of each op of each program."""
    found: dict[str, list[dict[str, Array]]] = {}
    for name, program in described.items():
        if len(program["ops"]) > MOST_LAYERS:
            raise ModelFileError(
                f"{path}: there are {len(program['ops'])} layers, expected at most {MOST_LAYERS}; {_CURE}"
            )
        found[name] = [{} for _ in program["ops"]]
    for name, array in arrays.items():
        match = _TENSOR.fullmatch(name)
        owner = (match[1] or MAIN) if match else ""
        i = int(match[2]) - described[owner].get("skipped", 0) if match and owner in found else -1
        if match is None or not 0 <= i < len(found.get(owner, ())):
            raise ModelFileError(f"{path}: the tensor {name[:80]!r} belongs to no layer; {_CURE}")
        found[owner][i][match[3]] = array
    return found


def _ops(path: Path, program: str, described: list[Any], arrays: list[dict[str, Array]]) -> list[Op]:
    ops: list[Op] = []
    for i, (settings, own) in enumerate(zip(described, arrays, strict=True)):
        where = f"{path}: {prefix(program)}layer {i}"
        kind = settings.get("kind") if isinstance(settings, dict) else None
        if not isinstance(kind, str) or kind not in Op.kinds:
            raise ModelFileError(
                f"{where} is of the kind {str(kind)[:80]!r}, expected one of: {', '.join(Op.kinds)}; update recurra"
            )
        try:
            ops.append(Op.kinds[kind].read(settings, own))
        except (ShapeError, DtypeError, CellError) as error:
            raise ModelFileError(f"{where} ({kind}): {_line(error)}; {_CURE}") from error
    return ops


def _line(error: Exception) -> str:
    """An error's message in one line of bounded length, whatever of the file it quotes."""
    return " ".join(str(error).split())[:400]


def _version() -> str:
    return str(importlib.import_module("recurra").__version__)
