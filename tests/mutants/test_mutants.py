"""Every planted fault turns its part of the suite red, which is green without it."""

from __future__ import annotations

import pytest

from mutants.faults import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.name}: {m.check.__name__}")
def test_the_suite_sees(mutant: Mutant) -> None:
    mutant.check(*mutant.arguments)
    with mutant.plant(), pytest.raises(AssertionError):
        mutant.check(*mutant.arguments)
    mutant.check(*mutant.arguments)


def test_the_parts_of_the_suite_that_mutants_turn_red() -> None:
    assert len({m.name for m in MUTANTS}) == len(MUTANTS) >= 12
    parts = {m.check.__name__ for m in MUTANTS}
    assert parts >= {"conforms", "check_against_torch", "check_finite_differences", "check_adjoint", "check_chunks"}
