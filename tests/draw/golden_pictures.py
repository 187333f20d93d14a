"""The golden pictures: what is drawn where, and a thumbnail of it. `python golden_pictures.py` draws them anew.

Look at them before they are committed: they say what is meant, not only what is.
"""

from __future__ import annotations

import io
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recurra import draw
from recurra.cells import cell, sigmoid, tanh
from recurra.draw.inside import inside_scene

FOLDER = Path(__file__).parent / "golden"
WIDTH = 160  # pixels of a thumbnail
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


inside_of = cache(inside_scene)  # the tests of a process look at one picture of each cell


@cell(source="golden: three states")
def three_states(x, h, c, m, *, p):
    f = sigmoid(x.f + h.f + p.f * m)
    c = f * c + (1 - f) * tanh(x.g + c.g)
    m = 0.9 * m + 0.1 * c
    return tanh(c) + m, c, m


@cache
def pictures() -> dict[str, draw.Picture]:
    """All of them, by name; what has data is made with seeded weights."""
    import torch
    from torch import nn

    from recurra.torch import GRU, LSTM, Stack

    torch.manual_seed(0)
    both = Stack(nn.Embedding(9, 4), GRU(4, 6, 2, bidirectional=True), nn.Linear(12, 3))
    decoder = Stack(LSTM(3, 8), nn.Linear(8, 3))
    wave = torch.sin(torch.arange(24.0) / 3)[:, None, None]
    return {
        "rnn": draw.network("rnn", 4),
        "lstm_three_layers": draw.network(Stack(LSTM(2, 8, 3), nn.Linear(8, 1)), 3, "many-to-one"),
        "both_directions": draw.network(both, 3, theme="dark"),
        "both_to_one": draw.network(both, 3, "many-to-one"),
        "encoder_decoder": draw.network((LSTM(2, 8), decoder), (2, 2), "encoder-decoder"),
        "two_lines": draw.network((GRU(2, 6, 2, bidirectional=True), decoder), (3, 4), "encoder-decoder"),
        "many_steps": draw.network(decoder, 40, theme="dark"),
        "wide": draw.network((LSTM(2, 8), decoder), (4, 4), "encoder-decoder", wide=True),
        "inside_lstm": draw.cell("lstm"),
        "inside_gru": draw.cell("gru", theme="dark"),
        "inside_minlstm": draw.cell("minlstm"),
        "inside_three_states": draw.cell(three_states),
        "at_work": draw.states(Stack(LSTM(1, 6), nn.Linear(6, 1)), wave),
    }


def described(picture: draw.Picture) -> dict[str, list[Any]]:
    """A scene as plain data, in points."""
    if picture.scene is None:
        return {}
    scene = picture.scene
    return {
        "boxes": [[b.role, b.shape, *map(round, (b.x, b.y, b.width, b.height))] for b in scene.boxes],
        "arrows": [[a.role, a.head, *(round(v) for p in a.points for v in p)] for a in scene.arrows],
        "labels": [[t.role, t.anchor, t.text, round(t.x), round(t.y)] for t in scene.labels],
    }


def thumbnail(picture: draw.Picture) -> np.ndarray:
    """Grey values, from a rendering of four times the size."""
    with Image.open(io.BytesIO(picture.data("png", 4 * WIDTH))) as image:
        small = image.convert("L").resize((WIDTH, round(image.height / 4)), Image.Resampling.BOX)
    return np.asarray(small)


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name, picture in pictures().items():
        lines = [
            f'"{kind}": [\n' + ",\n".join(map(json.dumps, rows)) + "]" for kind, rows in described(picture).items()
        ]
        (FOLDER / f"{name}.json").write_text("{" + ",\n".join(lines) + "}\n")
        Image.fromarray(thumbnail(picture)).save(FOLDER / f"{name}.png", optimize=True)
        print(name, file=sys.stderr)


if __name__ == "__main__":
    main()
