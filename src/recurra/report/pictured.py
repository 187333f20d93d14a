"""Pictures with what a network said of them, and where it looked as it said each word, drawn over the picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recurra.report.page import Part, Pictures, Shown, Text

FAINT = 0.15  # what is left of a place that was not looked at
LARGE = 128  # pixels of a side
MOST_WORDS = 12  # of a caption of which it is shown where each looked


def pictured(one: Mapping[str, Any]) -> list[Part]:
    """Examples chosen by chance, and others that have an error."""
    chosen, wrong = one["chosen"], one["wrong"]
    right = sum(_right(e) for e in chosen)
    found: list[Part] = [
        Text(
            f"Chosen by chance from the test part; {right} of these {len(chosen)} captions have no error. Below the "
            "others stands what was wanted. The small pictures show where each word looked: what is not faded."
        ),
        Pictures([_shown(e, one["grid"]) for e in chosen]),
    ]
    if wrong:
        found += [
            Text("Others with an error, chosen by chance, too:"),
            Pictures([_shown(e, one["grid"]) for e in wrong]),
        ]
    return found


def _right(example: Mapping[str, Any]) -> bool:
    return list(example["written"]) in [list(c) for c in example["wanted"]]


def _shown(example: Mapping[str, Any], grid: Sequence[int]) -> Shown:
    """An example as its picture and one for each word."""
    wanted = [] if _right(example) else [" ".join(c) for c in example["wanted"]]
    written = list(example["written"])
    if not example["picture"]:
        return Shown(example["name"], "", " ".join(written), wanted)
    picture = _decoded(example["picture"])
    looked = example["looked"][:MOST_WORDS]
    words = [(word, _png(_lit(picture, row, grid))) for word, row in zip(written, looked, strict=False)]
    return Shown(example["name"], _png(picture), " ".join(written), wanted, words)


def _decoded(content: str) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(content)), formats=("PNG",)) as image:
        return image.convert("RGB").resize((LARGE, LARGE), Image.Resampling.NEAREST)


def _lit(picture: Any, shares: Sequence[float], grid: Sequence[int]) -> Any:
    """A picture that is faded where the shares are small."""
    from PIL import Image

    place = np.zeros(grid[0] * grid[1])
    place[: len(shares)] = shares
    light = np.float32(place.reshape(grid) / max(place.max(), 1e-9))
    smooth = np.asarray(Image.fromarray(light).resize(picture.size, Image.Resampling.BICUBIC))
    left = (FAINT + (1 - FAINT) * np.clip(smooth, 0, 1))[..., None]
    return Image.fromarray(np.uint8(np.rint(np.asarray(picture) * left + 255 * (1 - left))))


def _png(picture: Any) -> str:
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()
