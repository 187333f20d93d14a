"""Networks that read both ways, over long sequences: part by part, and in little memory."""

from __future__ import annotations

import numpy as np

from helpers import generator, printed
from recurra import cells
from recurra.runtime import Convolution, Model, Program
from runtime.networks import F, forecast_head, layer_norm, linear, recurrent, same, sample


def convolution(O: int, K: int, I: int, **how: int) -> Convolution:
    return Convolution(generator("convolution", O, K, I).normal(size=(O, K, I)).astype(F), **how)


def test_parts_of_a_network_are_the_whole() -> None:
    """What streams before and behind two directions goes in parts, whose bits are those of each part by itself."""
    before = [linear(6, 4), convolution(5, 3, 6, stride=2), recurrent(cells.lstm, 5, 7)]
    ways = [recurrent(cells.gru, 7, 9, directions=2)]
    behind = [recurrent(cells.gru, 18, 8), convolution(4, 2, 8, dilation=3, stride=3), layer_norm(4)]
    model = Model([*before, *ways, *behind])
    for T, B in ((1, 1), (997, 3)):  # more than two parts
        x = sample(model, T, B)
        got = model.run(x)
        assert len(got) == -(-T // 6)
        assert same(got, Model(behind).run(Model(ways).run(Model(before).run(x))))


def test_what_stands_beside_the_flow_is_read_at_its_step() -> None:
    front = [convolution(3, 2, 4, stride=3), recurrent(cells.gru, 3, 5, directions=2), recurrent(cells.lstm, 10, 5)]
    head = forecast_head(5)
    program = Program([*front, head])
    x = sample(Model(programs={"main": program}), 800, 2)
    flow = Model(front).run(np.ascontiguousarray(x[..., :4]))
    beside = np.concatenate([flow, x[::3, :, 4:]], axis=-1)
    assert same(program.run(x), Model([head]).run(beside))


def test_two_directions_first_read_only_what_flows() -> None:
    ways, head = recurrent(cells.lstm, 4, 5, directions=2), forecast_head(10)
    x = sample(Model([ways, head]), 300, 3)
    flow = Model([ways]).run(np.ascontiguousarray(x[..., :4]))
    assert same(Model([ways, head]).run(x), Model([head]).run(np.concatenate([flow, x[..., 4:]], axis=-1)))


WIDE = """
import numpy as np
from helpers import generator, peak_mib
from recurra import cells
from recurra.runtime import Linear, Model
from runtime.networks import F, recurrent

rng = generator("wide")
up, down = (rng.normal(size=s).astype(F) for s in ((300_000, 1), (3, 300_000)))
model = Model([Linear(up), Linear(down), recurrent(cells.gru, 3, 4, directions=2)])
x = rng.normal(size=(400, 1)).astype(F)
model.run(x[:2])
before = peak_mib()
y = model.run(x)
print(peak_mib() - before, y.any())
"""


def test_wide_layers_beside_two_directions_need_little_scratch_memory() -> None:
    """400 steps of 300,000 numbers, twice, would be 900 MiB."""
    grown, made = printed(WIDE).split()
    assert made == "True"
    assert float(grown) < 150
