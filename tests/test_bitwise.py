"""In float32 the same bits come out however a cell is run: the promise that training makes to deployment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from conformance import bits
from helpers import ALL_CELLS, ISAS, on_isa, printed
from recurra import cells, engine
from recurra.cells import Cell
from user_cells import CELLS

FUSED = ("avx512", "avx2")

every_cell = pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)


@every_cell
@pytest.mark.parametrize(
    "check",
    [
        bits.check_batch,
        bits.check_threads,
        bits.check_padding,
        bits.check_options,
        bits.check_reverse,
        bits.check_resets,
    ],
    ids=lambda c: c.__name__,
)
def test_same_bits(check: Callable[[Cell], None], cell: Cell) -> None:
    check(cell)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "cell",
    [cells.rnn, cells.lstm, cells.gru, cells.gru_reset_before, cells.lstm_projected, *CELLS],
    ids=lambda c: c.name,
)
def test_same_bits_for_every_size(cell: Cell, isa: str) -> None:
    with on_isa(isa):
        bits.check_sizes(cell, range(1, 140))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "cell", [cells.lstm, cells.gru, cells.gru_reset_before, cells.lstm_projected, *CELLS[:2]], ids=lambda c: c.name
)
def test_same_bits_of_wide_layers(cell: Cell, isa: str) -> None:
    with on_isa(isa):
        bits.check_wide(cell, 211, 301, 133)


@every_cell
@pytest.mark.parametrize("size", [1, 7, 64])
def test_whole_and_in_chunks(cell: Cell, size: int) -> None:
    bits.check_chunks(cell, size)


@every_cell
@pytest.mark.parametrize("rows", [None, 1, 5])
def test_whole_and_live(cell: Cell, rows: int | None) -> None:
    bits.check_stepper(cell, rows)


RUN_ALL = """
import sys
import numpy as np
from conformance.bits import LENGTHS, Run
from helpers import ZOO
from user_cells import CELLS
from recurra import _native

results = {}
for cell in ZOO if sys.argv[2] == 'zoo' else CELLS:
    for lengths in (None, LENGTHS):
        run = Run(cell).forward(lengths=lengths, return_gates=True)
        arrays = (run.output, *run.state, *run.gates.values())
        results |= {f"{cell.name} {lengths is None} {k}": a for k, a in enumerate(arrays)}
np.savez(sys.argv[1], **results)
print(*(name for name, there in _native.isas() if there and _native.ran(name)))
"""


@pytest.mark.parametrize("whose", ["zoo", "user"])
def test_same_bits_on_every_isa_with_fused_multiply_add(whose: str, tmp_path) -> None:
    here = {name for name, available in engine._native.isas() if available}
    if missing := set(FUSED) - here:
        pytest.skip(f"this machine lacks {', '.join(missing)}")
    for isa in FUSED:
        assert printed(RUN_ALL, tmp_path / f"{isa}.npz", whose, RECURRA_ISA=isa) == isa
    first, second = (np.load(tmp_path / f"{isa}.npz") for isa in FUSED)
    assert len(first.files) >= 18
    assert first.files == second.files
    for name in first.files:
        bits.assert_same_bits(first[name], second[name], name)
