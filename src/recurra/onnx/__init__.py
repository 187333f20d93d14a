"""ONNX: run graphs of recurrent nodes, read them as models, and write models as graphs. Needs the extra `onnx`."""

# ruff: noqa: E402  (what is missing is said before it is imported)

from recurra.errors import need

need("recurra.onnx", "onnx", extra="onnx")

from recurra.onnx.exporter import export
from recurra.onnx.importer import from_onnx
from recurra.onnx.live import LiveGraph
from recurra.onnx.run import run

__all__ = ["LiveGraph", "export", "from_onnx", "run"]
