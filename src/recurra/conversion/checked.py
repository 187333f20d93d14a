"""A model from elsewhere as a model file, held against its source before it is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurra.conversion.sources import Source, open_source
from recurra.errors import ConversionError
from recurra.runtime import Model, check_parity, parity, save_model
from recurra.runtime.parity import TOLERANCE, random_input, refuse_difference, refuse_differing

LENGTHS = (24, 1, 7, 2, 13)


@dataclass(frozen=True)
class Conversion:
    """What `convert` did.

    Attributes:
        model: the model that was written.
        source: what it was made of.
        difference: the largest difference between the outputs of source and model, relative to the largest output where
            that is above 1.
        lengths: of the random sequences on which both were run.
        path: where it was written.
        described: whether the source is weights alone, whose order and whose activations are the description's word:
            then the difference is that from the network as described.
    """

    model: Model
    source: str
    difference: float
    lengths: tuple[int, ...]
    path: str
    described: bool = False

    def __str__(self) -> str:
        lengths = ", ".join(map(str, self.lengths))
        how = "the same bits as a whole, in chunks and stepped"
        if not self.model.streams:
            how = "it reads in both directions, so it runs on whole sequences only"
        described = ""
        if self.described:
            described = (
                "held against the layers as described: whether they run in this order, with nothing else between them, "
                "a file of weights cannot show; compare some outputs with your own\n"
            )
        return (
            f"{self.source}: {self.model!r}\n"
            f"largest difference {self.difference:.2e} (at most {TOLERANCE:.0e}) on sequences of {lengths} steps\n"
            f"{described}{how}\n"
            f"wrote {self.path}"
        )


def convert(
    source: Any,
    path: str | os.PathLike[str],
    description: Mapping[str, Any] | str | os.PathLike[str] | None = None,
) -> Conversion:
    """Convert a model to a model file for `recurra.load`.

    Before anything is written, source and result are run on random sequences of different lengths, and the result is
    run as a whole, in chunks, stepped and reloaded, which must have the same bits.

    Args:
        source: the path of a `.keras` or `.h5` file, an `.onnx` file, a torch state_dict in `.safetensors` (or
            `.json`, as nested lists), or a network in RTNeural's JSON; or a torch.nn.Module, or a keras.Model. Weights
            alone are held against a NumPy definition of their layers with their own conventions.
        path: where to write.
        description: of a state_dict: its layers, or the path of a JSON file with them; see
            `recurra.conversion.state_dict`. Not needed where `model.description.json` stands beside
            `model.safetensors`.

    Raises:
        ConversionError: the source has what is not known, or the result differs by more than 1e-5; nothing is written.
        ExportError, OnnxError: as ConversionError, of a torch module and of an ONNX model.
        MissingExtraError: the library that reads the source is not installed.
        OSError: a file cannot be read or written.

    >>> import tempfile
    >>> import numpy as np, recurra
    >>> from safetensors.numpy import save_file
    >>> shapes = {"rnn.weight_ih_l0": (12, 2), "rnn.weight_hh_l0": (12, 4), "head.weight": (1, 4)}
    >>> rng = np.random.default_rng(0)
    >>> tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    >>> layers = [{"kind": "gru", "name": "rnn"}, {"kind": "linear", "name": "head"}]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file(tensors, f"{folder}/model.safetensors")
    ...     done = recurra.convert(f"{folder}/model.safetensors", f"{folder}/model.recurra", {"layers": layers})
    >>> done.model, done.difference < 1e-6
    (<model of gru, linear: 2 in, 1 out>, True)
    """
    found = open_source(source, description)
    lengths = LENGTHS if found.steps is None else (found.steps,)
    difference = largest_difference(found, lengths)
    refuse_difference("convert", f"that of {found.name}", difference, ConversionError, "nothing is written; ")
    report = check_parity(found.model, random_input(found.model, max(lengths), 3))
    refuse_differing("convert", report, ConversionError)
    found.model.parity = report | {"source": found.name, "source_difference": difference, "tolerance": TOLERANCE}
    save_model(found.model, path)
    return Conversion(found.model, found.name, difference, lengths, os.fspath(path), found.described)


def largest_difference(source: Source, lengths: tuple[int, ...]) -> float:
    """Between a source and its model, on one random sequence of each length, relative to outputs above 1."""
    all_ours, all_theirs = [], []
    for i, steps in enumerate(lengths):
        x = np.ascontiguousarray(random_input(source.model, steps, 1, seed=i)[:, 0])
        x = np.maximum(x, source.lowest_id) if source.model.vocabulary_size else x
        theirs, ours = np.asarray(source.run(x), np.float64), source.model.run(x)
        if theirs.ndim == ours.ndim - 1:
            ours = ours[-1]  # the source gives the last step alone
        if theirs.shape != ours.shape:
            raise ConversionError(
                f"convert: {source.name} gives the shape {theirs.shape} for {steps} steps, its conversion "
                f"{ours.shape}: expected an output for each step, or of the last one"
            )
        all_ours.append(ours.ravel())
        all_theirs.append(theirs.ravel())
    return parity.difference(np.concatenate(all_ours), np.concatenate(all_theirs))
