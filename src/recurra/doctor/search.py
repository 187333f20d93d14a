"""Finds where a NaN or an infinity came from: which layer ran first with one, then which step and operation in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from recurra.doctor.anomalies import Anomaly, backward_anomaly, forward_anomaly
from recurra.torch.observe import Call, Gradients, Passed, Segment, segments, tensors_in


def find_anomaly(
    passed: list[Passed], calls: list[Call], back: list[Gradients], loss: Tensor, gradients: Mapping[str, Tensor | None]
) -> Anomaly | None:
    """The first number that is none: forward by the step and then by the order of running, else backward."""
    axis = 1 if any(getattr(call.module, "batch_first", False) for call in calls) else 0
    found = [f for one in passed if (f := _of_layer(one, axis)) is not None]
    for call in calls:
        found += _of_call(call)
    if found:
        # What came in from a lower layer at the same step is that layer's anomaly, and one that made it comes first.
        order = sorted(found, key=lambda f: (f.step if f.step >= 0 else np.inf, f.operation == "input"))
        return order[0]
    if not _is_finite(loss):
        value = "NaN" if bool(torch.isnan(loss)) else "infinity"
        return Anomaly(-1, "the loss", "the loss", value, 0, "all layers give finite numbers")
    bad = [(name, g) for name, g in gradients.items() if g is not None and not _is_finite(g)]
    if not bad:
        return None
    for call, d in zip(reversed(calls), reversed(back), strict=True):
        got = _backward(call, d)
        if got is not None:
            return got
    return Anomaly(-1, bad[0][0], "the parameter", *_kind(bad[0][1]), "no recurrent layer made it", True)


def anomaly_in(calls: list[Call]) -> Anomaly | None:
    """The first in the forward runs of some layers."""
    found = [f for call in calls for f in _of_call(call)]
    return min(found, key=lambda f: (f.step, f.operation == "input"), default=None)


def _is_finite(t: Tensor) -> bool:
    return bool(torch.isfinite(t).all())


def _kind(t: Tensor) -> tuple[str, int]:
    at = (~torch.isfinite(t)).nonzero()[0].tolist()
    return "NaN" if bool(torch.isnan(t[tuple(at)])) else "infinity", at[-1] if at else 0


def _of_layer(one: Passed, axis: int) -> Anomaly | None:
    """Of a layer without equations, whose output has steps where it has three axes, if what came in is finite."""
    if not all(_is_finite(t) for t in tensors_in(one.inputs)):
        return None
    bad = next((t.detach() for t in tensors_in(one.output) if not _is_finite(t)), None)
    if bad is None:
        return None
    value, unit = _kind(bad)
    rows = (~torch.isfinite(bad)).any(-1).any(1 - axis) if bad.dim() == 3 else None
    step, kind = int(rows.nonzero()[0]) if rows is not None else -1, type(one.module).__name__
    return Anomaly(step, one.name or kind, kind, value, unit, "what came in is finite")


def _of_call(call: Call) -> list[Anomaly]:
    """Each trace's first, where there is one."""
    some = _suspect(call)
    if some is None:
        return []
    with np.errstate(all="ignore"):
        traces = call.traces([some])
    return [_shifted(f, some[1]) for f in map(forward_anomaly, traces) if f is not None]


def _shifted(anomaly: Anomaly, start: int) -> Anomaly:
    return replace(anomaly, step=anomaly.step + start)


def _suspect(call: Call) -> Segment | None:
    """The part of a row where something is not finite, the earliest."""
    output = call.tensors()[0]
    parts = segments(call)
    if _is_finite(call.x) and all(_is_finite(t) for t in call.tensors()):
        return None
    if _is_finite(call.x) and output.dim() != 3:
        return parts[0] if parts else None
    y = output.transpose(0, 1) if getattr(call.module, "batch_first", False) else output
    bad = ~torch.isfinite(call.x).all(-1)
    if y.shape[:2] == bad.shape:
        bad = bad | ~torch.isfinite(y.detach()).all(-1)
    at = [(int(hit[0]) if len(hit := bad[a:b, row].nonzero()) else 10**9, (row, a, b)) for row, a, b in parts]
    return min(at, default=(0, None))[1]


def _backward(call: Call, back: Gradients) -> Anomaly | None:
    """Row by row, those first whose gradient comes in broken."""
    broken = {int(r) for r in np.argwhere(~np.isfinite(back[0]))[:, 1]}
    parts = sorted(segments(call), key=lambda s: s[0] not in broken)
    with np.errstate(all="ignore"):
        for some in parts:
            for trace in reversed(call.traces([some], back)):
                found = backward_anomaly(trace)
                if found is not None:
                    return _shifted(found, some[1])
    return None
