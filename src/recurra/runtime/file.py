"""The model file: one safetensors file, whose metadata key `recurra` is a JSON manifest. No code in it is ever run.

    {"format": 1, "made_by": "recurra 0.1.0", "fingerprint": "3f...",
     "layers": [{"kind": "recurrent", "cell": "def lstm(x, h, c): ...", "directions": 1}, {"kind": "linear"}],
     "preprocessing": {...}, "card": {...}, "parity": {...}}

The arrays of layer i are tensors of float32 named `layers.i.W` and so on.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from recurra.errors import CellError, DtypeError, ModelFileError, ShapeError
from recurra.files import write_atomically
from recurra.runtime.kinds import KINDS
from recurra.runtime.layers import Layer
from recurra.runtime.model import Model
from recurra.weights import Array

FORMAT = 1
KEY = "recurra"
MOST_LAYERS = 1000
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
        "layers": model.describe(),
        "preprocessing": model.preprocessing,
        "card": model.card,
        "parity": model.parity,
    }
    try:
        text = json.dumps(manifest, allow_nan=False)
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
    layers = _layers(target, manifest["layers"], arrays)
    try:
        model = Model(layers, **{name: manifest[name] for name in ("preprocessing", "card", "parity")})
    except (ShapeError, DtypeError, CellError) as error:
        raise ModelFileError(f"{target}: {_line(error)}; {_CURE}") from error
    except RecursionError as error:
        raise ModelFileError(f"{target}: the equations of a cell are nested too deeply; {_CURE}") from error
    if manifest["fingerprint"] != model.fingerprint:
        raise ModelFileError(
            f"{target}: the layers have the fingerprint {model.fingerprint[:12]}, expected "
            f"{str(manifest['fingerprint'])[:12]}: the file is damaged; {_CURE}"
        )
    return model


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
    kinds = {"layers": list, "fingerprint": str, "preprocessing": dict, "card": dict, "parity": dict}
    for name, kind in kinds.items():
        if not isinstance(manifest.get(name), kind):
            got = type(manifest.get(name)).__name__
            raise ModelFileError(f"{path}: the manifest's {name!r} is a {got}, expected a {kind.__name__}; {_CURE}")
    return dict(manifest)


def _layers(path: Path, described: list[Any], arrays: dict[str, Array]) -> list[Layer]:
    if len(described) > MOST_LAYERS:
        raise ModelFileError(f"{path}: there are {len(described)} layers, expected at most {MOST_LAYERS}; {_CURE}")
    of_layer: list[dict[str, Array]] = [{} for _ in described]
    for name, array in arrays.items():
        lead, _, rest = name.partition(".")
        number, _, short = rest.partition(".")
        if lead != "layers" or not number.isdecimal() or len(number) > 4 or int(number) >= len(described) or not short:
            raise ModelFileError(f"{path}: the tensor {name[:80]!r} belongs to no layer; {_CURE}")
        of_layer[int(number)][short] = array
    layers: list[Layer] = []
    for i, (settings, own) in enumerate(zip(described, of_layer, strict=True)):
        kind = settings.get("kind") if isinstance(settings, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            raise ModelFileError(
                f"{path}: layer {i} is of the kind {str(kind)[:80]!r}, expected one of: "
                f"{', '.join(KINDS)}; update recurra"
            )
        if own and not KINDS[kind].has_arrays:
            raise ModelFileError(
                f"{path}: layer {i} ({kind}) has the arrays {', '.join(own)[:80]}, expected none; {_CURE}"
            )
        try:
            layers.append(KINDS[kind].read(settings, own))
        except (ShapeError, DtypeError, CellError) as error:
            raise ModelFileError(f"{path}: layer {i} ({kind}): {_line(error)}; {_CURE}") from error
    return layers


def _line(error: Exception) -> str:
    """An error's message in one line of bounded length, whatever of the file it quotes."""
    return " ".join(str(error).split())[:400]


def _version() -> str:
    return str(importlib.import_module("recurra").__version__)
