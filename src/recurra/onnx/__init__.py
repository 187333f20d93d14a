"""ONNX: run graphs of recurrent nodes, read them as models, and write models as graphs. Needs the extra `onnx`."""

import importlib.util

from recurra.errors import MissingExtraError

if importlib.util.find_spec("onnx") is None:
    raise MissingExtraError("recurra.onnx", "onnx", "onnx")

from recurra.onnx.exporter import export
from recurra.onnx.importer import from_onnx
from recurra.onnx.run import run

__all__ = ["export", "from_onnx", "run"]
