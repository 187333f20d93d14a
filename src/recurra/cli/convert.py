"""`recurra convert`: a model from elsewhere as a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[
        Path, typer.Argument(help="A .keras, .onnx or .safetensors file, or a network or weights in .json.")
    ],
    out: Annotated[Path, typer.Argument(help="The model file to write, as in model.recurra.")],
    description: Annotated[
        Path | None,
        typer.Option(help="For weights alone: JSON with the layers; else SOURCE's name with .description.json."),
    ] = None,
) -> None:
    """Convert a model from Keras, PyTorch or ONNX, and check it against its source before it is written."""
    from recurra.conversion import convert as run

    print(run(source, out, description))
