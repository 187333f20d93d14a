"""What an epoch of training costs, against what the hardware does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recurra import _native, engine
from recurra.train import History

if TYPE_CHECKING:
    from recurra.models import Network
    from recurra.tasks.bench import Bench

PASSES = 3  # through each weight: forward, and backward for its gradient and for that of what it was multiplied with


def cost_of(bench: Bench, network: Network, history: History) -> dict[str, float]:
    """Of an epoch.

    Returns:
        `seconds` with its validation; `macs`, multiply-adds with weights at all steps of the training part; and `peak`,
        those that one core of this machine does in a second at most, measured now.
    """
    tables = {id(p) for m in network.modules() if hasattr(m, "num_embeddings") for p in m.parameters()}
    weights = sum(p.numel() for p in network.parameters() if p.dim() > 1 and id(p) not in tables)
    steps = sum(piece.stop - (0 if bench.task.whole else piece.start) for piece in bench.pieces("train"))
    return {
        "seconds": history.seconds,
        "macs": float(PASSES * weights * steps),
        "peak": float(_native.fma_peak(engine.isa(), 4)),
    }
