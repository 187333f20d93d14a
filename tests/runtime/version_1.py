"""A writer of the first version of the model file, from its own description: such files are read for ever."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from recurra.runtime import Model

Layers = list[tuple[dict, dict[str, np.ndarray]]]


def layers_of(model: Model) -> Layers:
    """The layers that the first version had for a model: a `split` in place of a second input."""
    (_, first), *others = model.inputs.items()
    split = [({"kind": "split", "first": first, "beside": sum(w for _, w in others)}, {})] if others else []
    return [*split, *((op.describe(), op.arrays()) for op in model.ops)]


def fingerprint(layers: Layers) -> str:
    digest = hashlib.sha256(json.dumps([said for said, _ in layers], sort_keys=True).encode())
    for i, (_, arrays) in enumerate(layers):
        for name, array in arrays.items():
            digest.update(f"layers.{i}.{name}{array.shape}".encode() + array.astype("<f4").tobytes())
    return digest.hexdigest()


def write(path: Path, layers: Layers, manifest: dict) -> None:
    said = {"format": 1, "made_by": "recurra 0.1.0", "fingerprint": fingerprint(layers)}
    said |= {"layers": [layer for layer, _ in layers], "preprocessing": {}, "card": {}, "parity": {}} | manifest
    arrays = {f"layers.{i}.{name}": array for i, (_, own) in enumerate(layers) for name, array in own.items()}
    path.write_bytes(save(arrays, {"recurra": json.dumps(said)}))
