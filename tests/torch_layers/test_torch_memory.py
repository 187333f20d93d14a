"""The memory of a training step beside torch.nn.LSTM's, each in a process of its own."""

from __future__ import annotations

import pytest

from helpers import printed

STEP = """
import sys
import torch
from helpers import peak_mib
torch.set_num_threads(1)
kind, every = sys.argv[1:]
if kind == "torch":
    layer = torch.nn.LSTM(128, 128)
else:
    from recurra.torch import LSTM, Recurrent
    layer = LSTM(128, 128) if every == "0" else Recurrent("lstm", 128, 128, checkpoint_every=int(every))
def step(T):
    layer.zero_grad()
    layer(torch.randn(T, 32, 128))[0].square().mean().backward()
step(2)  # what is made once
before = peak_mib()
for _ in range(2):
    step(1000)
print(peak_mib() - before)
"""


def growth(*of: object) -> float:
    """By how many MiB a step raises the peak. glibc is told to give every large array pages of its own, and to give
    them back: else the peak depends on which freed array the next one happens to fit into."""
    return float(printed(STEP, *of, MALLOC_MMAP_THRESHOLD_="1000000"))


@pytest.mark.long
def test_a_training_step_needs_no_more_than_torchs() -> None:
    theirs, ours, less = growth("torch", 0), growth("recurra", 0), growth("recurra", 32)
    print(f"MiB at B32 T1000 H128: torch {theirs:.0f}, recurra {ours:.0f}, checkpoints every 32 steps {less:.0f}")
    assert theirs > 50
    assert ours <= 1.03 * theirs
    assert less < 0.7 * ours
