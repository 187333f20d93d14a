"""The routines of a cell as Triton kernels: the same programs as `emit_cpp` and `emit_llvm` print, on tiles of a GPU.

A tile has some rows (r, downwards) and some units (u, across). Arrays are float32 and dense; past a row's end stand
zeros. Steps are in the order of reading, so no kernel knows of directions. Two ways to run a sequence:

    sequence, sequence_saving, sequence_backward
        many steps in one launch. A program has all units of its rows and does the recurrent products itself; where the
        weights fit they are loaded once. Without recurrent products a program has a tile of units.
    step_inner, step, step_saving, step_backward_inner, step_backward
        the routines of one step. The products are made between the launches, and lie in `products`, slot by slot.
    gates
        the value of each gate of many rows, from what was kept.
"""

from __future__ import annotations

from collections.abc import Callable

from recurra.cells.cell import Cell
from recurra.cells.routines import Place
from recurra.cells.triton_tile import HEADER, LOOP, Block, Tile


class Kernels(Tile):
    """The text of a cell's kernels, and the names of each one's arrays in the order of its parameters.

    Arrays of a sequence are [steps, rows, width], others [rows, width]; `k` and `i` are numbers of states, of inner
    values (those that are multiplied within a step, and last the one that is projected), and of parameters:

        inputs          the input's sums, of the slots that have them
        products        the recurrent sums of each slot, for the kernels of one step
        kept            what the adjoint needs, slot by slot
        state{k}        the states as they are; operand{k} the same as the next step reads them, after its resets
        after{k}        the states after each step
        inner{i}        inner values; for the kernels of one step of this step alone
        weights, biases, projection     U, c and R
        parameter{i}    [H]; d_parameter{i} its gradient, of each row by itself
        d_output, d_state{k}, d_slots, d_inner{i}    gradients; d_projected that of the projection's result
        lengths [rows], reset [steps + 1, rows]      int64, and int8 with a last row of zeros
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        makers: list[Callable[[], str]] = [
            lambda: self._forward("sequence", "forward", inside=True),
            lambda: self._forward("sequence_saving", "forward_saving", inside=True),
            lambda: self._backward("sequence_backward", inside=True),
            lambda: self._gates(),
        ]
        if cell.recurrent_gates or self.projects:
            makers += [
                lambda: self._forward("step", "forward", inside=False),
                lambda: self._forward("step_saving", "forward_saving", inside=False),
                lambda: self._backward("step_backward", inside=False),
            ]
        if self.inner:
            makers += [lambda: self._inner(), lambda: self._backward_inner()]
        self.text = HEADER + "".join(f"\n\n{make()}" for make in makers)

    def _forward(self, name: str, routine: str, inside: bool) -> str:
        setup, body, end, saves = self._start(), Block("v", 2), Block("e", 1), routine == "forward_saving"
        n = range(self._states)
        for k in n:
            width, place, where = self._wide(k)
            setup.say(f"state_{k} = {self._of_rows(f'state{k}', width, place, where)}")
        self._when(body)
        before = [f"before_{k}" for k in n]
        for k in n:
            width, place, where = self._wide(k)
            own = f"tl.where(fresh, 0.0, state_{k})" if inside else self._of_rows(f"operand{k}", width, place, where)
            body.say(f"before_{k} = {own}")
        held = self._known(before)
        self._slots_of(held, body, setup, before, inside)
        results = self._run(routine, body, held)
        new = {p.vector: v for p, v in results.items() if p.array == "next"}
        hidden = next((v for p, v in results.items() if p.array == "inner"), None)
        if hidden is not None and inside:
            matrix = self._matrix(setup, body, "R", *self._projection("P"))
            new[0] = self._dot(f"tl.where(at, {hidden}, 0.0)", matrix)
        elif hidden is not None:
            body.say(f"tl.store(inner{self.inner} + r * H + u, {hidden}, mask=at)")
        if not inside:
            body.say("anew = tl.load(reset + row + rows, mask=here, other=0) != 0 if RESET else here & (r < 0)")
        for k in sorted(new):
            where = self._wide(k)[2]
            body.say(f"state_{k} = tl.where(runs & {where}, {new[k]}, state_{k})")
            self._write(body, f"after{k}", f"tl.where(runs, state_{k}, 0.0)", k, "row")
            if not inside:
                self._write(body, f"operand{k}", f"tl.where(anew, 0.0, state_{k})", k)
            self._write(end, f"state{k}", f"state_{k}", k)
        for to, value in results.items() if saves else ():
            if to.array == "slot":
                self._write_slot(body, "kept", "row", self.kept, to.vector, value)
        arrays = ["inputs", *(["weights", "biases", "projection"] if inside else ["products"])]
        arrays += self._numbered("parameter", len(self.cell.parameters)) + self._numbered("state", len(n))
        arrays += [] if inside else self._numbered("operand", len(n))
        arrays += [f"inner{self.inner}"] if hidden is not None and not inside else []
        arrays += [*self._numbered("after", len(n)), *(["kept"] if saves else []), "lengths", "reset"]
        return self._kernel(name, arrays, setup, LOOP, body, end)

    def _inner(self) -> str:
        setup, body, n = self._start(), Block("v", 2), self._states
        self._when(body)
        for k in range(n):
            body.say(f"before_{k} = {self._of_rows(f'operand{k}', *self._wide(k))}")
        before = [f"before_{k}" for k in range(n)]
        held = self._known(before)
        self._slots_of(held, body, setup, before, inside=False)
        for place, value in self._run("inner", body, held).items():
            body.say(f"tl.store(inner{place.vector} + r * H + u, {value}, mask=at)")
        arrays = ["inputs", "products", *self._numbered("parameter", len(self.cell.parameters))]
        arrays += [*self._numbered("operand", n), *self._numbered("inner", self.inner), "lengths", "reset"]
        return self._kernel("step_inner", arrays, setup, LOOP, body)

    def _saved(self, setup: Block, body: Block) -> dict[Place, str]:
        """What was kept of a step, the states around it, and the gradients that come in."""
        n = range(self._states)
        for k in n:
            setup.say(f"begin_{k} = {self._of_rows(f'begin{k}', *self._wide(k))}")
        for k in n:
            width, place, where = self._wide(k)
            previous = self._of_rows(f"after{k}", width, place, f"{where} & (row >= rows)", "(row - rows)")
            body.say(f"before_{k} = tl.where(fresh, 0.0, tl.where(row >= rows, {previous}, begin_{k}))")
            body.say(f"next_{k} = {self._of_rows(f'after{k}', width, place, where, 'row')}")
        held = self._known([f"before_{k}" for k in n]) | {Place("next", k): f"next_{k}" for k in n}
        for j in range(self.kept):
            body.say(f"kept_{j} = {self._read_slot('kept', 'row', self.kept, j)}")
            held[Place("slot", j)] = f"kept_{j}"
        return held

    def _seeds(self, body: Block, held: dict[Place, str]) -> None:
        """The gradients of the new states: what comes from the next step, and for the first from the output."""
        for k in range(self._states):
            width, place, where = self._wide(k)
            own = f" + {self._of_rows('d_output', width, place, f'{where} & runs', 'row')}" if k == 0 else ""
            body.say(f"seed_{k} = d_{k}{own}")
            held[Place("next_gradient", k)] = f"seed_{k}"

    def _backward(self, name: str, inside: bool) -> str:
        setup, body, end, n = self._start(), Block("v", 2), Block("e", 1), self._states
        for k in range(n):
            setup.say(f"d_{k} = {self._of_rows(f'd_state{k}', *self._wide(k))}")
        for i in range(len(self.cell.parameters)):
            setup.say(f"d_theta{i} = {self._of_rows(f'd_parameter{i}', 'H', 'u', 'at')}")
        body.say("i = steps - 1 - back")
        self._when(body)
        held = self._saved(setup, body)
        if not inside:
            self._cut(body)
        self._seeds(body, held)
        slots = self._late(setup, body, held, inside)
        results = self._run("backward", body, held)
        slots |= {p.vector: v for p, v in results.items() if p.array == "slot_gradient"}
        early = {p.vector for p in results if p.array == "slot_gradient"}
        for i in sorted(slots):
            body.say(f"d_slot{i} = tl.where(runs & at, {slots[i]}, 0.0)")
            if inside or i in early:
                self._write_slot(body, "d_slots", "row", len(self.layout.slots), i, f"d_slot{i}")
        given = {p.vector: v for p, v in results.items() if p.array == "state_gradient"}
        for run in self.layout.runs if inside else ():
            for i in range(run.first, run.first + run.slots) if 0 <= run.operand < n else ():
                gate = self.layout.slots[i].recurrent or ""
                g = self.cell.recurrent_gates.index(gate)
                matrix = self._matrix(setup, body, f"V{g}", *self._weight(gate, "operand"))
                product = self._dot(f"d_slot{i}", matrix)
                given[run.operand] = f"{given[run.operand]} + {product}" if run.operand in given else product
        for k in range(n):
            value = given.get(k, "0.0")
            body.say(f"d_{k} = tl.where(runs, {f'tl.where(fresh, 0.0, {value})' if inside else value}, d_{k})")
            self._write(end, f"d_state{k}", f"tl.where({self._wide(k)[2]}, d_{k}, 0.0)", k)
        for place, value in results.items():
            if place.array == "parameter_gradient":
                body.say(f"d_theta{place.vector} += tl.where(runs & at, {value}, 0.0)")
                end.say(f"tl.store(d_parameter{place.vector} + r * H + u, d_theta{place.vector}, mask=at)")
            elif place.array == "inner":
                body.say(f"tl.store(inner{place.vector} + row * H + u, tl.where(runs, {value}, 0.0), mask=at)")
        return self._kernel(name, self._backward_arrays(inside), setup, "    for back in range(0, steps):", body, end)

    def _backward_arrays(self, inside: bool) -> list[str]:
        n, inner = self._states, self.inner + self.projects
        arrays = ["kept", *self._numbered("begin", n), *self._numbered("after", n)]
        arrays += ["weights", "projection"] if inside else self._numbered("d_inner", inner)
        arrays += ["d_projected"] if inside and self.projects else []
        parameters = len(self.cell.parameters)
        arrays += self._numbered("parameter", parameters) + self._numbered("d_parameter", parameters)
        arrays += ["d_output", *self._numbered("d_state", n), "d_slots", *self._numbered("inner", inner)]
        return [*arrays, "lengths", "reset"]

    def _cut(self, body: Block) -> None:
        """A step alone: what the step after it said of its states counts where that did not begin anew."""
        body.say("anew = tl.load(reset + row + rows, mask=here, other=0) != 0 if RESET else here & (r < 0)")
        for k in range(self._states):
            body.say(f"d_{k} = tl.where(anew & (first + i + 1 < ends), 0.0, d_{k})")

    def _late(self, setup: Block, body: Block, held: dict[Place, str], inside: bool) -> dict[int, str]:
        """The gradients of inner values, from those of the slots that they feed, which come first."""
        found: dict[int, str] = {}
        if self.projects:
            seed = self._of_rows(f"d_inner{self.inner}", "H", "u", "at")
            if inside:
                matrix = self._matrix(setup, body, "R", *self._projection("units"))
                seed = self._dot("seed_0", matrix)
                self._write(body, "d_projected", "tl.where(runs, seed_0, 0.0)", 0, "row")
            body.say(f"d_value{self.inner} = {seed}")
            held[Place("inner_gradient", self.inner)] = f"d_value{self.inner}"
        if not self.inner:
            return found
        if not inside:
            for i in range(self.inner):
                body.say(f"d_value{i} = {self._of_rows(f'd_inner{i}', 'H', 'u', 'at')}")
                held[Place("inner_gradient", i)] = f"d_value{i}"
            return found
        found = {p.vector: v for p, v in self._run("backward_inner", body, held).items()}
        sums: dict[int, list[str]] = {}
        for run in self.layout.runs:
            for i in range(run.first, run.first + run.slots) if run.operand >= self._states else ():
                gate = self.layout.slots[i].recurrent or ""
                matrix = self._matrix(
                    setup, body, f"V{self.cell.recurrent_gates.index(gate)}", *self._weight(gate, "operand")
                )
                late = f"tl.where(runs & at, {found[i]}, 0.0)"
                sums.setdefault(run.operand - self._states, []).append(self._dot(late, matrix))
        for i, parts in sums.items():
            body.say(f"d_value{i} = {' + '.join(parts)}")
            held[Place("inner_gradient", i)] = f"d_value{i}"
        return found

    def _backward_inner(self) -> str:
        setup, body, n = self._start(), Block("v", 2), self._states
        for k in range(n):
            setup.say(f"d_{k} = {self._of_rows(f'd_state{k}', *self._wide(k))}")
        self._when(body)
        held = self._saved(setup, body)
        self._cut(body)
        self._seeds(body, held)
        for place, value in self._run("backward_inner", body, held).items():
            gradient = f"tl.where(runs, {value}, 0.0)"
            self._write_slot(body, "d_slots", "row", len(self.layout.slots), place.vector, gradient)
        arrays = ["kept", *self._numbered("begin", n), *self._numbered("after", n)]
        arrays += [*self._numbered("parameter", len(self.cell.parameters)), "d_output"]
        arrays += [*self._numbered("d_state", n), "d_slots", "lengths", "reset"]
        return self._kernel("step_backward_inner", arrays, setup, LOOP, body)

    def _gates(self) -> str:
        setup, body, count = self._start(), Block("v", 2), len(self.cell.gates)
        self._when(body)
        held = self._saved(setup, body)
        for place, value in self._run("gates", body, held).items():
            self._write_slot(body, "gates_", "row", count, place.vector, f"tl.where(runs, {value}, 0.0)")
        arrays = ["kept", *self._numbered("begin", self._states), *self._numbered("after", self._states)]
        arrays += [*self._numbered("parameter", len(self.cell.parameters)), "gates_", "lengths", "reset"]
        return self._kernel("gates", arrays, setup, LOOP, body)
