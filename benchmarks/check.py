"""Whether an adapter computes what its case says: nothing is timed before it has passed."""

from __future__ import annotations

import numpy as np

from benchmarks.task import Problem, Task
from recurra import reference
from recurra.weights import Array

OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 2e-5, 1e-4  # of the largest magnitude, or of 1 if that is larger


class Checker:
    """Compares tasks with `recurra.reference` in float64; each cell's results are computed once."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._expected: dict[str, dict[str, Array]] = {}

    def check(self, name: str, task: Task) -> None:
        """Run the task, which is left warm.

        Raises:
            ValueError: a result is missing or wrong.
        """
        expected = self._reference(task)
        found = self._run(task)
        at = f"{self.problem.case.name}: {name}"
        if found.keys() != expected.keys():
            raise ValueError(f"{at} gives {sorted(found)}, expected {sorted(expected)}")
        for key, want in expected.items():
            if found[key].shape != want.shape:
                raise ValueError(f"{at}: `{key}` has shape {found[key].shape}, expected {want.shape}")
            error = np.abs(found[key] - want).max() / max(1.0, np.abs(want).max())
            tolerance = OUTPUT_TOLERANCE if key == "output" else GRADIENT_TOLERANCE
            if not error <= tolerance:
                raise ValueError(f"{at}: `{key}` is off by {error:.1e} of its scale, expected at most {tolerance:.0e}")

    def _run(self, task: Task) -> dict[str, Array]:
        if self.problem.case.kind != "step":
            return task.read(task.run())
        return {"output": np.stack([task.read(task.run())["output"].reshape(1, -1).copy() for _ in self.problem.x])}

    def _reference(self, task: Task) -> dict[str, Array]:
        cell, problem = task.cell or self.problem.cell, self.problem
        if cell.fingerprint in self._expected:
            return self._expected[cell.fingerprint]
        x = problem.x if problem.case.kind != "step" else np.repeat(problem.x[:1], problem.case.T, axis=0)
        run = reference.forward(cell, problem.weights, x)
        arrays = {"output": run.output}
        if problem.case.kind == "train":
            back = reference.backward(cell, problem.weights, x, run, problem.d_output)
            arrays |= {f"d_{name}": d for name, d in back.weights.items()}
            arrays |= {"d_x": back.x} if problem.case.want_x else {}
        return self._expected.setdefault(cell.fingerprint, arrays)
