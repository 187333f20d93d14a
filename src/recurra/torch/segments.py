"""Resets to a learned state: each part of a row between resets is run as a row of its own."""

# ruff: noqa: A002  (`input` is torch's name for it, `all` is the operator's)

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def scan_segments(
    scan: Callable[..., list[Tensor]],
    x: Tensor,
    begin: Sequence[Tensor],
    fresh: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor,
    reverse: bool,
    every: int,
    all: bool,
) -> list[Tensor]:
    """As `scan`, an operator's run of a cell with its weights, but a row starts from `fresh` at resets.

    `fresh` is [H] for each state; `begin` [B, H] is what each row starts from otherwise. Values and gradients are
    exact; a row's bits are those of its parts run apart.
    """
    T, B, _ = x.shape
    steps = torch.arange(T, device=x.device)[:, None]
    ends = torch.full((B,), T, device=x.device) if lengths is None else lengths
    starts = reset & (steps < ends)
    cut = starts[:1].any(0)  # a row that is reset before its first step
    starts = torch.cat([torch.ones_like(starts[:1]), starts[1:]])
    row, first = starts.T.nonzero(as_tuple=True)  # parts in the order of rows, then of time
    same = row[1:] == row[:-1]
    stop = torch.cat([torch.where(same, first[1:], ends[row[:-1]]), ends[row[-1:]]])
    opens = torch.cat([torch.ones_like(same[:1]), ~same]) if len(row) > 1 else torch.ones_like(row, dtype=torch.bool)
    closes = torch.cat([~same, torch.ones_like(opens[:1])])

    given = (closes if reverse else opens & ~cut[row])[:, None]
    states = [torch.where(given, b[row], f) for b, f in zip(begin, fresh, strict=True)]
    length = stop - first
    at = torch.arange(int(length.max()), device=x.device)[:, None] + first
    parts = x[at.clamp(max=T - 1), row]
    got = scan(parts, states, length, None, reverse, every, all)

    part = starts.T.reshape(-1).cumsum(0).reshape(B, T).T - 1
    inside, within = steps < ends, steps - first[part]

    def back(t: Tensor) -> Tensor:
        """From parts [steps, parts, H] to rows [T, B, H]."""
        rows = t[within.clamp(max=len(t) - 1), part] if len(t) else t.new_zeros(T, B, t.shape[-1])
        return torch.where(inside[..., None], rows, 0)

    last, count = (opens if reverse else closes), len(begin)
    final = [s[last] for s in got[1 : 1 + count]]
    every_step = [back(t) for t in got[1 + count : -1]] + [torch.stack([back(g) for g in got[-1]])] if all else []
    return [back(got[0]), *final, *every_step]
