"""The pictures are as they were when somebody last looked at them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from golden_pictures import FOLDER, NAMES, described, pictures, thumbnail
from PIL import Image

_NEAR = 6  # points: fonts may change a little from release to release


def test_all_are_there() -> None:
    assert set(NAMES) == set(pictures())


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_in_its_place(name: str) -> None:
    golden = json.loads((FOLDER / f"{name}.json").read_text())
    now = described(pictures()[name])
    assert list(now) == list(golden)
    for kind, rows in golden.items():
        for old, new in zip(rows, now[kind], strict=True):
            for a, b in zip(old, new, strict=True):
                assert abs(a - b) <= _NEAR if isinstance(a, int) and not isinstance(a, bool) else a == b, (old, new)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest mean difference in a tile of 8 by 8 pixels."""
    rows, columns = (min(m, n) // 8 * 8 for m, n in zip(a.shape, b.shape, strict=True))
    apart = np.abs(a[:rows, :columns].astype(float) - b[:rows, :columns])
    return float(apart.reshape(rows // 8, 8, columns // 8, 8).mean((1, 3)).max())


@pytest.mark.parametrize("name", NAMES)
def test_it_looks_as_it_did(name: str) -> None:
    with Image.open(FOLDER / f"{name}.png") as image:
        golden = np.asarray(image)
    now = thumbnail(pictures()[name])
    assert abs(now.shape[0] - golden.shape[0]) <= 2
    assert difference(golden, now) < 12


def test_a_lost_box_is_seen() -> None:
    now = thumbnail(pictures()["inside_lstm"])
    changed = now.copy()
    changed[40:56, 40:56] = 255
    assert difference(now, changed) > 12
