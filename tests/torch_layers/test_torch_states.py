"""The states of `Recurrent`: resets, learned and carried ones, and all of them handed out."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from composed import RAGGED, B, I, T, compose, fill, mask, numbers
from torch import Tensor

import user_cells
from recurra.torch import Recurrent


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("initial", ["zeros", "learned"])
def test_a_reset_begins_a_new_sequence(bidirectional: bool, initial: Any) -> None:
    """Parts between resets give the bits that they give apart, in both directions."""
    module = Recurrent("lstm", I, 7, bidirectional=bidirectional, initial_state=initial)
    fill(module, "parts")
    x = numbers(T, 1, I, dtype=torch.float32)
    reset = torch.zeros(T, 1, dtype=torch.bool)
    reset[[0, 3, 4, 9]] = True
    output, (h, _) = module(x, reset=reset)
    parts = [module(part) for part in x.split([3, 1, 5, 2])]
    assert torch.equal(output, torch.cat([p[0] for p in parts]))
    assert torch.equal(h[0], parts[-1][1][0][0])
    if bidirectional:
        assert torch.equal(h[1], parts[0][1][0][1])


@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["whole", "ragged"])
@pytest.mark.parametrize("given", [False, True])
def test_learned_state_with_resets(lengths: np.ndarray | None, given: bool) -> None:
    """Values and all gradients against a loop over rows and parts."""
    module = Recurrent(
        "lstm", I, 4, 2, bidirectional=True, initial_state="learned", return_all=True, dtype=torch.float64
    )
    fill(module, "learned")
    single = [
        Recurrent("lstm", I if layer == 0 else 8, 4, bidirectional=True, initial_state="learned", dtype=torch.float64)
        for layer in range(2)
    ]
    for layer, one in enumerate(single):
        one._parameters.update({n: module._parameters[n.replace("_l0", f"_l{layer}")] for n in one._parameters})
    x = numbers(T, B, I).requires_grad_()
    state = tuple(numbers(4, B, 4, key=k).requires_grad_() for k in "hc") if given else None
    reset = mask()
    ends = None if lengths is None else torch.from_numpy(lengths)
    output, final, steps = module(x, state, lengths=ends, reset=reset)

    wanted, lasts = by_parts(single, x, state, reset, lengths)
    torch.testing.assert_close(output, wanted)
    finals = [
        torch.cat([torch.stack([lasts[b][layer][k] for b in range(B)], 1) for layer in range(2)]) for k in range(2)
    ]
    torch.testing.assert_close(list(final), finals)
    torch.testing.assert_close(torch.cat([steps[2].states["h"], steps[3].states["h"]], -1), output)
    leaves = [x, *module.parameters(), *(state or ())]
    seeds = [numbers(*t.shape, key=("seed", i)) for i, t in enumerate((output, *final))]
    got = torch.autograd.grad([output, *final], leaves, seeds, allow_unused=True)
    right = torch.autograd.grad([wanted, *finals], leaves, seeds, allow_unused=True)
    for a, b in zip(got, right, strict=True):
        torch.testing.assert_close(torch.zeros(1) if a is None else a, torch.zeros(1) if b is None else b)


def by_parts(
    layers: list[Recurrent], x: Tensor, state: Any, reset: Tensor, lengths: np.ndarray | None
) -> tuple[Tensor, list[list[list[Tensor]]]]:
    """The outputs of a stack, row by row and part by part, and of each row and layer the last states."""
    rows, lasts = [], []
    for b in range(B):
        end = T if lengths is None else int(lengths[b])
        row, last = x[:end, b], []
        for layer, one in enumerate(layers):
            begins = [t for t in range(1, end) if reset[t, b]]
            parts = row.tensor_split(begins)
            begin = [s.clone() for s in one_state(one, state, layer, b)]
            outputs = []
            fresh = one_state(one, None, layer, b)
            for k, part in enumerate(parts):
                first = k == 0 and not (end and reset[0, b])
                now = [
                    torch.stack([(s if first else f)[0], (s if k == len(parts) - 1 else f)[1]])
                    for s, f in zip(begin, fresh, strict=True)
                ]
                if not len(part):
                    done, after = torch.zeros(0, 8, dtype=x.dtype), now
                else:
                    done, after = one(part, tuple(now))
                outputs.append((done, after))
            row = torch.cat([o[0] for o in outputs])
            last.append([torch.stack([outputs[-1][1][k][0], outputs[0][1][k][1]]) for k in range(2)])
        rows.append(torch.cat([row, row.new_zeros(T - end, 8)]))
        lasts.append(last)
    return torch.stack(rows, 1), lasts


def one_state(one: Recurrent, state: Any, layer: int, b: int) -> list[Tensor]:
    """What both directions of a layer begin with, [2, H]."""
    if state is not None:
        return [s[2 * layer : 2 * layer + 2, b] for s in state]
    return [torch.stack([getattr(one, f"initial_{s}_l0"), getattr(one, f"initial_{s}_l0_reverse")]) for s in "hc"]


def test_learned_state_learns() -> None:
    module = Recurrent("gru", I, 7, initial_state="learned")
    assert not module.initial_h_l0.any()
    module(numbers(T, B, I, dtype=torch.float32))[0].sum().backward()
    assert module.initial_h_l0.grad.all()
    fill(module, "learned")
    x = numbers(T, B, I, dtype=torch.float32)
    assert torch.equal(module(x)[0], module(x, module.initial_h_l0.expand(1, B, 7))[0])


def test_all_states_and_gates() -> None:
    module = Recurrent(
        user_cells.adaptive, I, 7, 2, bidirectional=True, batch_first=True, return_all=True, dtype=torch.float64
    )
    fill(module, "all")
    x = numbers(B, T, I)
    output, _, steps = module(x, lengths=torch.from_numpy(RAGGED))
    wanted = compose(module, x.transpose(0, 1).numpy(), lengths=RAGGED)
    assert len(steps) == 4
    for place, step in enumerate(steps):
        run = wanted.runs[place // 2][place % 2][2]
        assert tuple(step.states) == ("h", "a")
        assert tuple(step.gates) == module.cell.gates
        for k, name in enumerate(step.states):
            np.testing.assert_allclose(step.states[name].transpose(0, 1), run.states[k], atol=1e-12)
            assert not step.states[name].requires_grad
        for name, value in step.gates.items():
            np.testing.assert_allclose(value.transpose(0, 1), run.gates[name], atol=1e-12)
            assert not value.requires_grad
    assert output.requires_grad
    alone = module(x[0])
    assert alone[2][0].gates["f"].shape == (T, 7)


def test_stateful_is_one_long_sequence() -> None:
    module = Recurrent("lstm", I, 7, 2, stateful=True)
    x = numbers(T, B, I, dtype=torch.float32)
    whole = module(x)[0]
    module.reset_state()
    parts = [module(part)[0] for part in x.split([4, 1, 6])]
    assert torch.equal(torch.cat(parts), whole)
    (d,) = torch.autograd.grad(parts[-1].sum(), module.weight_ih_l0, retain_graph=True)
    for detached in (False, True):
        module.reset_state()
        for part in x[:5].split([4, 1]):
            module(part)
        if detached:
            module.detach_state()
        (again,) = torch.autograd.grad(module(x[5:])[0].sum(), module.weight_ih_l0)
        assert torch.allclose(d, again) != detached
    assert "_carried" not in module.state_dict()
    assert all("carried" not in n for n in module.state_dict())
    copied = copy.deepcopy(module)
    assert torch.equal(copied(x)[0], whole)  # copies begin anew
    fresh = module(x[:, :2])[0]  # so does another batch size
    assert torch.equal(fresh, whole[:, :2])
    given = module(x[:, :2], (torch.zeros(2, 2, 7), torch.zeros(2, 2, 7)))[0]
    assert torch.equal(given, whole[:, :2])
