"""The example that needs no PyTorch: a cell of one's own, from its equations to a live step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_first_cell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    import first_cell

    first_cell.main(T=37, B=3, I=2, H=19)
    printed = capsys.readouterr().out
    assert "has the bits of the batch: True" in printed
    apart = [float(number) for number in re.findall(r": (\d\.\de[-+]\d+)", printed)]
    assert len(apart) == 6  # the output, and the gradients of W, U, b, c_ and s
    assert max(apart) < 1e-5
