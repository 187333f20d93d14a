"""The doctor's numbers in TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recurra.errors import MissingExtraError

if TYPE_CHECKING:
    from recurra.doctor.findings import Findings


def write(findings: Findings, where: Any, step: int = 0) -> None:
    """Numbers of each layer as scalars, the findings as text; samples of training at their own steps.

    Args:
        findings: what to write.
        where: a SummaryWriter, or a folder.
        step: of the training, to which an examination belongs.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    with writer_for(where) as writer:
        for layer in findings.layers:
            scalars: dict[str, float | None] = {
                "gradient rate per step": layer.flow.rate,
                "gradient left": layer.flow.ratio(findings.lag),
                "Lyapunov exponent": layer.spectrum.exponents[0],
                "spectral radius": layer.spectrum.radius,
                "memory horizon": float(layer.memory.horizon),
                "dead units": float(len(layer.activity.dead)),
                "weight gradient": layer.weight_gradient,
            }
            scalars |= {f"saturation of {s.name}": s.share for s in layer.activity.saturation}
            _scalars(writer, layer.name, scalars, step)
        for sample in findings.steps:
            write_sample(writer, sample)
        writer.add_text("doctor/findings", "\n\n".join(f"**{f.kind}** {f.where}: {f.evidence}" for f in findings), step)


def write_sample(writer: Any, sample: dict[str, Any]) -> None:
    """One sample of `watch`, at its step."""
    step = sample["step"]
    whole = {"gradient norm": sample["gradient"], "gradient norm after clipping": sample["after"]}
    _scalars(writer, "training", whole | {"update": sample["update"], "loss": sample["loss"]}, step)
    for name, layer in sample["layers"].items():
        scalars = {f"saturation of {gate}": share for gate, share in layer["saturation"].items()}
        left = layer["norms"][-1] / layer["norms"][0] if layer["norms"][0] else math.nan
        _scalars(writer, name, scalars | {"gradient rate per step": layer["rate"], "gradient left": left}, step)


def _scalars(writer: Any, group: str, scalars: dict[str, float | None], step: int) -> None:
    for name, value in scalars.items():
        if value is not None and math.isfinite(value):
            writer.add_scalar(f"doctor/{group}/{name}", value, step)


@contextmanager
def writer_for(where: Any) -> Iterator[Any]:
    """The writer as given, or one of our own for a folder, closed in the end.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    if hasattr(where, "add_scalar"):
        yield where
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("writing for TensorBoard", "tensorboard", "tensorboard") from None
    writer = SummaryWriter(str(where))
    try:
        yield writer
    finally:
        writer.close()
