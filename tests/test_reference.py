"""The definition against mathematics: finite differences, and what lengths, reverse and resets mean."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.cases import Setting, make_case
from conformance.definition import check_finite_differences
from helpers import ALL_CELLS
from recurra import cells, reference
from recurra.cells import Cell

SMALL = Setting(T=3, B=2, I=2, H=2, P=3)
RAGGED = Setting(T=4, B=3, I=1, H=2, P=1, lengths=(2, 0, 4), reverse=True, resets=True)


@pytest.mark.parametrize("setting", [SMALL, RAGGED], ids=["plain", "ragged"])
@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_gradients_are_those_of_finite_differences(cell: Cell, setting: Setting) -> None:
    check_finite_differences(cell, setting)


def test_lengths_reverse_and_resets_mean_what_they_say() -> None:
    """Each row of a ragged batch is that row alone, cut to its length, read in its direction, cut at its resets."""
    cell = cells.get("lstm")
    for reverse in (False, True):
        case = make_case(cell, Setting(lengths=(3, 11, 0, 7, 11, 1, 5), reverse=reverse, resets=True), np.float64)
        run = reference.forward(cell, case.weights[0], case.x, case.state[0], case.lengths, reverse, case.reset)
        for b, length in enumerate(case.lengths):
            state = [s[b : b + 1] for s in case.state[0]]
            for t in range(length)[:: -1 if reverse else 1]:
                if case.reset[t, b]:
                    state = [np.zeros_like(s) for s in state]
                state = reference.forward(cell, case.weights[0], case.x[t : t + 1, b : b + 1], state).state
                np.testing.assert_allclose(run.output[t, b], state[0][0], atol=1e-14)
            assert not run.output[length:, b].any()
            for ours, alone in zip(run.state, state, strict=True):
                np.testing.assert_allclose(ours[b], alone[0], atol=1e-14)
