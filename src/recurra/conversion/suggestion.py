"""What tensors say of their network by names and sizes: its layers, and their order where only one fits.

Nothing in a file of weights has the order in which layers run: safetensors sorts names, and a state_dict has the order
in which a module's constructor made its parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from recurra.conversion.described import Array
from recurra.conversion.state_dict import BY_AXES

_RECURRENT = re.compile(r"(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)_l\d+(_reverse)?")
_BY_GATES = {1: "rnn", 3: "gru", 4: "lstm"}
_MOST_TRIED, _MOST_LISTED = 20_000, 8


class Part(NamedTuple):
    """A layer that tensors may be; `takes` is None for whole numbers, and `gives` equals `takes` where it is free."""

    kind: str
    name: str
    takes: int | None
    gives: int

    @property
    def described(self) -> dict[str, str]:
        """As a description has it, with what tensors cannot show."""
        default = {"nonlinearity": "tanh"} if self.kind == "rnn" else {}
        return {"kind": self.kind, "name": self.name, **default}

    def __str__(self) -> str:
        taken = "whole numbers" if self.takes is None else self.takes
        return f"{json.dumps(self.described)} ({taken} to {self.gives})"


def suggestion(tensors: Mapping[str, Array]) -> str:
    """What may be told to someone who has to write the description of these tensors."""
    readings = [_readings(name, own) for name, own in _modules(tensors).items()]
    known = [some[0] for some in readings if some]
    if not known:
        return "None of its tensors has a name of torch.nn's layers."
    if len(known) == len(readings):
        found = _orders(readings)
        if found is not None and len(found) == 1:
            text = json.dumps({"layers": [part.described for part in found[0]]})
            return (
                "Their sizes fit in one order: if these are torch.nn's layers and nothing else runs between them, it "
                f"would be this: {text[:2000]}"
            )
    listed = ", ".join(map(str, known[:_MOST_LISTED]))
    more = f" and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    return f"Which order is right cannot be told. Its layers by name: {listed}{more}"


def _modules(tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Tensors by the path of their module."""
    found: dict[str, dict[str, Array]] = {}
    for name, array in tensors.items():
        path, _, last = name.rpartition(".")
        found.setdefault(path, {})[last] = array
    return found


def _readings(name: str, own: Mapping[str, Array]) -> list[Part]:
    """What a module with these tensors may be; nothing where no layer has them."""
    if "weight_ih_l0" in own:
        return _recurrent(name, own)
    weight = own.get("weight")
    if weight is None or not set(own) <= {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}:
        return []
    if weight.ndim not in BY_AXES:
        return []
    kind = "batch_norm" if "running_var" in own else BY_AXES[weight.ndim]
    found = [Part(kind, name, weight.shape[weight.ndim > 1], len(weight))]
    if weight.ndim == 2 and "bias" not in own:
        found.append(Part("embedding", name, None, weight.shape[1]))
    return found


def _recurrent(name: str, own: Mapping[str, Array]) -> list[Part]:
    """One of torch.nn's recurrent layers; nothing where a cell of another kind has such names."""
    W, U, R = own["weight_ih_l0"], own.get("weight_hh_l0"), own.get("weight_hr_l0")
    if U is None or W.ndim != 2 or U.ndim != 2 or len(W) != len(U) or not all(map(_RECURRENT.fullmatch, own)):
        return []
    H = U.shape[1] if R is None else R.shape[-1]
    kind = _BY_GATES.get(len(W) // H if H and len(W) % H == 0 else 0)
    directions = 2 if "weight_ih_l0_reverse" in own else 1
    return [Part(kind, name, W.shape[1], directions * U.shape[1])] if kind else []


def _orders(readings: Sequence[Sequence[Part]]) -> list[list[Part]] | None:
    """Orders in which each layer takes what the one before it gives, two at most; None: too many to try."""
    tried = 0

    def extend(chain: list[Part], left: Sequence[int]) -> Iterator[list[Part] | None]:
        nonlocal tried
        tried += 1
        if tried > _MOST_TRIED:
            yield None
        elif not left:
            yield chain
        else:
            for i in left:
                for part in readings[i]:
                    if not chain or part.takes == chain[-1].gives:
                        yield from extend([*chain, part], [j for j in left if j != i])

    found: list[list[Part]] = []
    for chain in extend([], range(len(readings))):
        if chain is None:
            return None
        found.append(chain)
        if len(found) == 2:
            break
    return found
