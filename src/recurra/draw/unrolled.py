"""A network folded, with its feedback loops, and unrolled over time: which picture of it can be read.

Beside the folded network stands the unrolled one where both are legible; else below it, an encoder above its decoder;
and where even that is too wide, an ellipsis stands for the steps between the first ones and the last.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from recurra.cells.printing import latex_name
from recurra.draw.blocks import folded_block, names_block, unrolled_block
from recurra.draw.columns import Columns
from recurra.draw.key import network_key
from recurra.draw.scene import LEGIBLE, Label, Scene
from recurra.draw.structure import Network, read
from recurra.errors import DrawError

TASKS = ("many-to-many", "many-to-one", "one-to-many", "encoder-decoder")
MOST_STEPS = 200
_EQUALS, _EQUALS_SIZE = 34.0, 22.0  # points: the room of the sign between the two, and its size
_BETWEEN = 40.0  # from the folded network down to the unrolled one
_NAMES = 14.0  # from what is drawn down to the names of its weights
_MOST_COLUMNS = 10  # more never fit
_FEW = 4  # columns beside the folded network, below which it is better to have more of them below it


def plan(thing: Any, unrolled: int | Sequence[int], task: str) -> tuple[list[Network], list[int]]:
    """The networks to draw side by side (two of an encoder-decoder), and the steps of each.

    Raises:
        DrawError: the task is unknown or does not fit the network, or there are not enough steps.
    """
    if task not in TASKS:
        near = difflib.get_close_matches(str(task), TASKS, 1, 0.4)
        cure = f"did you mean {near[0]!r}?" if near else "choose one of them"
        raise DrawError(f"task is {task!r}, expected one of {', '.join(TASKS)}: {cure}")
    pair = task == "encoder-decoder"
    things = list(thing) if isinstance(thing, tuple) else [thing, thing] if pair else [thing]
    if len(things) != (2 if pair else 1):
        raise DrawError(f"{len(things)} networks are given for {task}: a pair (encoder, decoder) is an encoder-decoder")
    networks = [read(t) for t in things]
    if pair:
        encoder = networks[0]
        if isinstance(thing, tuple) and encoder.last < len(encoder.layers) - 1:
            raise DrawError(
                f"the encoder ends with {encoder.layers[-1].name}, expected a recurrent layer, whose state the decoder "
                "takes: give it without what comes after"
            )
        networks[0] = replace(encoder, layers=encoder.layers[: encoder.last + 1])
    reads_ahead = networks[-1] if task in ("one-to-many", "encoder-decoder") else None
    if reads_ahead is not None and reads_ahead.bidirectional:
        raise DrawError(
            f"{reads_ahead.name} is bidirectional, but {task} makes its outputs one after the other, and the last is "
            "not there when the first is made: use one direction, or many-to-many"
        )
    return networks, _steps(unrolled, task, pair)


def _steps(unrolled: int | Sequence[int], task: str, pair: bool) -> list[int]:
    numbers = list(unrolled) if isinstance(unrolled, Sequence) else [unrolled]
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= MOST_STEPS for n in numbers)
    if not whole or len(numbers) not in ((1, 2) if pair else (1,)) or (pair and numbers == [1]):
        least = "at least 2, or a pair of numbers of at least 1" if pair else "a whole number of at least 1"
        raise DrawError(f"unrolled is {unrolled!r}, expected {least} (and at most {MOST_STEPS}) for {task}")
    if pair and len(numbers) == 1:
        return [numbers[0] - numbers[0] // 2, numbers[0] // 2]
    return numbers


def title_of(networks: Sequence[Network], steps: Sequence[int], task: str) -> str:
    """What is to be seen, in one line."""
    names = " and ".join(dict.fromkeys(n.name for n in networks))
    many = " and ".join(map(str, steps))
    special = "" if task == "many-to-many" else f", {task}"
    return f"{names}{special}, folded, and unrolled over {many} step{'s' if many != '1' else ''}"


def network_scene(
    networks: Sequence[Network], steps: Sequence[int], task: str, wide: bool = False, legend: bool = True
) -> Scene:
    """Draw the folded and the unrolled network: the first arrangement that can be read, or the one that is narrowest.

    With `wide` all steps are in one line, beside the folded network.
    """
    rows = [Columns(n, prime=k == 1) for k, n in enumerate(networks)]
    if wide:
        scene = _beside(folded_block(rows, task), unrolled_block(rows, steps, steps, task), rows)
    else:
        for scene in _arrangements(rows, steps, task):
            if scene.letters() >= LEGIBLE:
                break
    scene.title = title_of(networks, steps, task)
    if legend:
        names = [
            latex_name(s)
            for s in max((layer.cell.states for n in networks for layer in n.layers if layer.cell), key=len)
        ]
        scene.key = network_key(scene, names)
    return scene


def _arrangements(rows: Sequence[Columns], steps: Sequence[int], task: str) -> Iterator[Scene]:
    """All of them, from the one that is preferred to the narrowest."""
    folded, lines = folded_block(rows, task), range(1, len(rows) + 1)
    if max(steps) < _MOST_COLUMNS:
        yield _beside(folded, unrolled_block(rows, steps, steps, task), rows)
    if folded.letters() < LEGIBLE:
        folded = folded_block([Columns(c.network, c.labels.prime, broken=True) for c in rows], task)
    if max(steps) < _MOST_COLUMNS:
        for k in lines:
            yield _above(folded, unrolled_block(rows, steps, steps, task, k), rows)
    for shown in _fewer(steps):
        if min(shown) >= _FEW:
            yield _beside(folded, unrolled_block(rows, steps, shown, task), rows)
    for shown in _fewer(steps):
        for k in lines:
            yield _above(folded, unrolled_block(rows, steps, shown, task, k), rows)


def _fewer(steps: Sequence[int]) -> Iterator[list[int]]:
    """How many columns to draw of each network: ever fewer where there are most, at least the first and the last."""
    shown = [min(count, _MOST_COLUMNS) for count in steps]
    while max(shown) > 2:
        shown[shown.index(max(shown))] -= 1
        yield list(shown)


def _beside(folded: Scene, unrolled: Scene, rows: Sequence[Columns]) -> Scene:
    """Both on one ground line, and below them what the user's program calls the weights."""
    scene = folded.moved(0.0, 0.0)
    right = scene.bounds().right
    first = rows[0].levels[rows[0].network.first]
    scene.labels.append(Label(right + _EQUALS / 2, first.y, "=", _EQUALS_SIZE, "muted"))
    scene.add(unrolled.moved(right + _EQUALS - unrolled.bounds().left, 0.0))
    return _with_names(scene, rows)


def _above(folded: Scene, unrolled: Scene, rows: Sequence[Columns]) -> Scene:
    """One over the other, in the middle; the names of the weights beside the folded one where there is room."""
    room, top, below = max(folded.bounds().width, unrolled.bounds().width), folded.bounds(), unrolled.bounds()
    names = names_block(rows, room - top.width - _EQUALS)
    beside = names is not None and names.bounds().width <= room - top.width - _EQUALS
    scene = folded.moved(-top.left, 0.0)
    if names and beside:
        scene.add(names.moved(top.width + _EQUALS, (top.top - names.bounds().bottom) / 2))
    middle, down = scene.bounds().width / 2, top.bottom + _BETWEEN
    scene.labels.append(Label(top.width / 2, down - _BETWEEN / 2, "=", _EQUALS_SIZE, "muted"))
    scene.add(unrolled.moved(middle - (below.left + below.right) / 2, down - below.top))
    return scene if beside else _with_names(scene, rows)


def _with_names(scene: Scene, rows: Sequence[Columns]) -> Scene:
    """The names of the weights below all else."""
    bounds = scene.bounds()
    names = names_block(rows, bounds.width)
    if names:
        scene.add(names.moved((bounds.left + bounds.right - names.bounds().width) / 2, bounds.bottom + _NAMES))
    return scene
