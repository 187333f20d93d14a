"""Where models come from: each source gives a runtime model, and can itself be run on one sequence."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recurra.conversion import definition
from recurra.conversion.described import Described
from recurra.conversion.keras_json import is_keras_json, read_keras_json
from recurra.conversion.mapping import runtime_layers
from recurra.conversion.state_dict import read_state_dict
from recurra.conversion.suggestion import suggestion
from recurra.errors import ConversionError, MissingExtraError, RecurraError
from recurra.runtime import Model

_COUNTER = "num_batches_tracked"  # of a torch BatchNorm: no weight, and no float
PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True)
class Source:
    """A model from elsewhere.

    Attributes:
        name: what it is, for reports.
        model: what it was turned into.
        run: the source itself on one sequence [T, I] (ids [T]): [T, O], or [O] where it gives the last step alone.
        steps: the only length that it takes; None: any.
        lowest_id: the first whole number that is no padding.
        described: whether `run` is a description's word: the file has weights alone.
    """

    name: str
    model: Model
    run: Callable[[Any], Any]
    steps: int | None = None
    lowest_id: int = 0
    described: bool = False


def open_source(source: Any, description: Mapping[str, Any] | str | os.PathLike[str] | None) -> Source:
    """Whatever can be converted: a path, a torch module or a Keras model.

    Raises:
        ConversionError: it is of a kind that is not known, or has parts that are not known; the message names them.
        MissingExtraError: the library that it needs is not installed.
        OSError: a file cannot be read.
    """
    if isinstance(source, (str, os.PathLike)):
        return _from_path(Path(source), description)
    torch, keras = sys.modules.get("torch"), sys.modules.get("keras")
    if torch is not None and isinstance(source, torch.nn.Module) and not (keras and isinstance(source, keras.Model)):
        return _from_torch(source)
    if keras is not None and isinstance(source, keras.Model):
        return _from_keras(source, f"a Keras {type(source).__name__}")
    raise ConversionError(
        f"convert: the source is a {type(source).__name__}, expected the path of a .keras, .onnx, .safetensors or "
        ".json file, a torch.nn.Module or a keras.Model"
    )


def _from_path(path: Path, description: Any) -> Source:
    suffix = path.suffix.lower()
    if suffix in PICKLED:
        raise ConversionError(
            f"{path}: a pickle runs whatever code is in it, so none is read: in torch, load it yourself and use "
            "safetensors.torch.save_file(module.state_dict(), 'model.safetensors')"
        )
    if suffix not in _READERS:
        raise ConversionError(
            f"{path}: a file {suffix or 'without a suffix'} is not known, expected one of: {', '.join(_READERS)}"
        )
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    return _READERS[suffix](path, description)


def _from_onnx(path: Path, description: Any) -> Source:
    _no_description(path, description)
    onnx = importlib.import_module("recurra.onnx.importer")
    graph = onnx.widened(onnx.read(path))
    imported = onnx.import_graph(graph)
    return Source(f"the ONNX model {path.name}", imported.model, imported.runner(graph), imported.steps)


def _from_keras_file(path: Path, description: Any) -> Source:
    _no_description(path, description)
    _choose_backend()
    _import("recurra.keras", "keras", "keras")  # which registers our layers, so that a file with them loads
    keras = _import("keras", "keras", "keras")
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # whatever Keras, h5py and zipfile say of a damaged file
        raise ConversionError(f"{path}: Keras cannot load it: {' '.join(str(error).split())[:300]}") from error
    return _from_keras(model, f"the Keras model {path.name}")


def _choose_backend() -> None:
    """Keras takes TensorFlow where nobody says otherwise, and any other backend reads the same file."""
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or importlib.util.find_spec("tensorflow"):
        return
    installed = next((name for name in ("torch", "jax") if importlib.util.find_spec(name)), None)
    if installed:
        os.environ["KERAS_BACKEND"] = installed


def _from_keras(model: Any, name: str) -> Source:
    converted = _import("recurra.keras", "keras", "keras").from_keras(model)
    shape = model.input_shape
    steps = shape[1] if isinstance(shape, tuple) and len(shape) > 1 else None
    models = importlib.import_module("recurra.keras.models")
    lowest = int(models.pads_with_zero(model))
    return Source(name, converted, lambda x: models.answers(model, x[None])[0], steps, lowest_id=lowest)


def _from_torch(module: Any) -> Source:
    torch = importlib.import_module("torch")
    exporting = importlib.import_module("recurra.torch.export")
    found, model = exporting.read_model(module)
    batch = 1 - found.time

    def run(x: Any) -> Any:
        training = module.training
        try:
            with torch.no_grad():
                result = module.eval()(torch.from_numpy(x).unsqueeze(batch))
        finally:
            module.train(training)
        return (result[0] if isinstance(result, tuple) else result).squeeze(0 if found.last else batch).numpy()

    return Source(f"the torch module {type(module).__name__}", model, run)


def _from_safetensors(path: Path, description: Any) -> Source:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            told = (file.metadata() or {}).get("description")
            names = [name for name in file.keys() if not name.endswith(_COUNTER)]  # noqa: SIM118
            tensors = {name: _float32(path, name, file.get_tensor(name)) for name in names}
    except (SafetensorError, TypeError, ValueError) as error:
        raise ConversionError(f"{path}: no safetensors file that can be read: {str(error)[:300]}") from error
    return _from_tensors(path, tensors, description, told)


def _from_json(path: Path, description: Any) -> Source:
    content = _json(path)
    if is_keras_json(content):
        _no_description(path, description)
        return _described(f"the network {path.name}", read_keras_json(content))
    if not isinstance(content, dict) or not all(
        isinstance(value, list) or name.endswith(_COUNTER) for name, value in content.items()
    ):
        raise ConversionError(
            f"{path}: neither a network with `in_shape` and `layers` nor a state_dict of nested lists: expected one of "
            "the two"
        )
    tensors = {}
    for name, value in content.items():
        if name.endswith(_COUNTER):
            continue
        try:
            tensors[name] = _float32(path, name, np.array(value, np.float64))
        except (ValueError, TypeError, OverflowError) as error:
            raise ConversionError(f"{path}: {name[:80]!r} is no array of numbers: {error}") from error
    return _from_tensors(path, tensors, description, None)


def _from_tensors(path: Path, tensors: dict[str, Any], description: Any, told: str | None) -> Source:
    """A state_dict: the description is given, in the file, or beside it."""
    beside = path.with_name(f"{path.stem}.description.json")
    if description is None and told is None and not beside.exists():
        raise ConversionError(
            f"{path}: weights say what layers hold, and neither in which order they run nor what runs between them: "
            f"write {beside.name} beside it, or pass a description. {suggestion(tensors)}"
        )
    if isinstance(description, (str, os.PathLike)):
        description = _json(Path(description))
    elif description is None:
        description = _json(path, told) if told is not None else _json(beside)
    return _described(f"the weights {path.name}", read_state_dict(tensors, description), True)


def _described(name: str, layers: Sequence[Described], told: bool = False) -> Source:
    try:
        model = Model(runtime_layers(layers))
    except RecurraError as error:
        raise ConversionError(f"{name} do not make a model: {error}") from error
    return Source(name, model, lambda x: definition.run(layers, x), described=told)


def _float32(path: Path, name: str, tensor: Any) -> Any:
    if tensor.dtype.kind != "f":
        raise ConversionError(f"{path}: the tensor {name[:80]!r} is {tensor.dtype}, expected floats")
    if not np.isfinite(single := tensor.astype(np.float32)).all():
        raise ConversionError(f"{path}: the tensor {name[:80]!r} has numbers that are not finite in float32")
    return single


def _json(path: Path, text: str | None = None) -> Any:
    """What a file, or a text in it, says in JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8") if text is None else text)
    except (ValueError, RecursionError) as error:  # or no UTF-8
        raise ConversionError(f"{path}: no JSON: {str(error)[:200]}") from error


def _no_description(path: Path, description: Any) -> None:
    if description is not None:
        raise ConversionError(f"{path}: a description is only for weights, and this file says itself what it is")


def _import(module: str, package: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError("this source", error.name or package, extra) from error


_READERS: dict[str, Callable[[Path, Any], Source]] = {
    ".keras": _from_keras_file,
    ".h5": _from_keras_file,
    ".hdf5": _from_keras_file,
    ".onnx": _from_onnx,
    ".safetensors": _from_safetensors,
    ".json": _from_json,
}
