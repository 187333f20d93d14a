"""Finds where a NaN or an infinity came from: which layer ran first with one, then which step and operation in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.doctor.capture import Call, Segment, places_of, recurrent_layers, segments, tensors_in
from recurra.doctor.trouble import Trouble, backward_trouble, forward_trouble
from recurra.weights import Array

Back = tuple[Array, list[list[Array]]]


@dataclass
class Watched:
    """Listens to the layers of a module that have no layers inside them and are not recurrent.

    `seen` has each run whose output is not finite though its input is, in the order of running.
    """

    module: nn.Module
    seen: list[tuple[str, str, Tensor]] = field(default_factory=list)
    _handles: list[Any] = field(default_factory=list)

    def __enter__(self) -> Watched:
        inside = {id(m) for _, layer in recurrent_layers(self.module) for m in layer.modules()}
        for name, layer in self.module.named_modules():
            if id(layer) not in inside and not list(layer.children()):
                self._handles.append(layer.register_forward_hook(self._after(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _after(self, name: str) -> Any:
        def hook(layer: nn.Module, args: Any, result: Any) -> None:
            if all(_is_finite(t) for t in tensors_in(args)):
                bad = next((t for t in tensors_in(result) if not _is_finite(t)), None)
                if bad is not None:
                    self.seen.append((name, type(layer).__name__, bad.detach()))

        return hook


def find_trouble(
    watched: Watched, calls: list[Call], back: list[Back], loss: Tensor, gradients: Mapping[str, Tensor | None]
) -> Trouble | None:
    """The first number that is none: forward by the step and then by the order of running, else backward."""
    axis = 1 if any(getattr(call.module, "batch_first", False) for call in calls) else 0
    found = [_of_layer(name, kind, bad, axis) for name, kind, bad in watched.seen]
    for call in calls:
        found += _of_call(call)
    if found:
        # What came in from a lower layer at the same step is that layer's trouble, and one that made it comes first.
        order = sorted(found, key=lambda f: (f.step if f.step >= 0 else np.inf, f.operation == "input"))
        return order[0]
    if not _is_finite(loss):
        value = "NaN" if bool(torch.isnan(loss)) else "infinity"
        return Trouble(-1, "the loss", "the loss", value, 0, "all layers give finite numbers")
    bad = [(name, g) for name, g in gradients.items() if g is not None and not _is_finite(g)]
    if not bad:
        return None
    for call, d in zip(reversed(calls), reversed(back), strict=True):
        got = _backward(call, d)
        if got is not None:
            return got
    return Trouble(-1, bad[0][0], "the parameter", *_kind(bad[0][1]), "no recurrent layer made it", True)


def trouble_in(calls: list[Call]) -> Trouble | None:
    """The first in the forward runs of some layers."""
    found = [f for call in calls for f in _of_call(call)]
    return min(found, key=lambda f: (f.step, f.operation == "input"), default=None)


def _is_finite(t: Tensor) -> bool:
    return bool(torch.isfinite(t).all())


def _kind(t: Tensor) -> tuple[str, int]:
    at = (~torch.isfinite(t)).nonzero()[0].tolist()
    return "NaN" if bool(torch.isnan(t[tuple(at)])) else "infinity", at[-1] if at else 0


def _of_layer(name: str, kind: str, bad: Tensor, axis: int) -> Trouble:
    """Of a layer without equations, whose output has steps where it has three axes."""
    value, unit = _kind(bad)
    rows = (~torch.isfinite(bad)).any(-1).any(1 - axis) if bad.dim() == 3 else None
    step = int(rows.nonzero()[0]) if rows is not None else -1
    return Trouble(step, name or kind, kind, value, unit, "what came in is finite")


def _of_call(call: Call) -> list[Trouble]:
    """Each place's first, where there is one."""
    some = _suspect(call)
    if some is None:
        return []
    d_output, final = call.gradients([None] * len(call.tensors()))
    with np.errstate(all="ignore"):
        places = places_of(call, [some], d_output, final)
    return [_shifted(f, some[1]) for f in map(forward_trouble, places) if f is not None]


def _shifted(trouble: Trouble, start: int) -> Trouble:
    return replace(trouble, step=trouble.step + start)


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


def _backward(call: Call, back: Back) -> Trouble | None:
    d_output, d_final = back
    """Row by row, those first whose gradient comes in broken."""
    broken = {int(r) for r in np.argwhere(~np.isfinite(d_output))[:, 1]}
    parts = sorted(segments(call), key=lambda s: s[0] not in broken)
    with np.errstate(all="ignore"):
        for some in parts:
            for place in reversed(places_of(call, [some], d_output, d_final)):
                found = backward_trouble(place)
                if found is not None:
                    return _shifted(found, some[1])
    return None
