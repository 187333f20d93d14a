"""The demo of captions: emoji with their names, where Debian's font of them is installed; else drawn shapes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.errors import need
from recurra.terminal import Terminal

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # Debian: fonts-noto-color-emoji
DRAWN = 109  # the size at which the font has its pictures, of 136 x 128 pixels
WIDE, HIGH = 136, 128
SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = ("red", "green", "blue", "yellow", "purple", "black")
SIZES = {"small": 6, "large": 11}
SIDES = ("left of", "right of", "above", "below")
SIZE, COUNT, SHOWN = 64, 1600, 6
EMOJI = "emoji of Debian's fonts-noto-color-emoji, with their names: pictures of a font, and no photographs"
DRAWN_SHAPES = (
    "shapes that are drawn here (with Debian's fonts-noto-color-emoji and the package emoji it would be those)"
)


class Named(NamedTuple):
    """A picture and what it is called."""

    picture: NDArray[np.uint8]
    name: str


def has_emoji() -> bool:
    """Whether emoji can be drawn here: the font, the package `emoji`, and a Pillow that joins signs to one."""
    from importlib.util import find_spec

    from PIL import features

    return FONT.is_file() and find_spec("emoji") is not None and bool(features.check("raqm"))


@cache
def emoji_pictures(size: int) -> tuple[Named, ...]:
    """Each emoji that the font has as one picture, with its English name, in Unicode's order of the names' table."""
    import emoji
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(FONT, DRAWN)
    found = []
    for sign, about in emoji.EMOJI_DATA.items():
        if about["status"] > emoji.STATUS["fully_qualified"]:
            continue
        image = Image.new("RGB", (WIDE, HIGH), "white")
        pen = ImageDraw.Draw(image)
        if pen.textbbox((0, 0), sign, font=font) != (0, 0, WIDE, HIGH):  # none, or several side by side
            continue
        pen.text((0, 0), sign, font=font, embedded_color=True)
        square = Image.new("RGB", (WIDE, WIDE), "white")
        square.paste(image, (0, (WIDE - HIGH) // 2))
        small = np.array(square.resize((size, size), Image.Resampling.LANCZOS))
        found.append(Named(small, about["en"].strip(":").replace("_", " ")))
    return tuple(found)


def run_caption_demo(
    folder: str | os.PathLike[str] = ".", *, seed: int = 0, epochs: int = 24, count: int = COUNT
) -> dict[str, Any]:
    """Learn captions, compare with the nearest picture, write a report, and caption pictures live.

    Args:
        folder: for the model file and the report; made if it is not there.
        seed: of all chance.
        epochs: of training.
        count: pictures, chosen by chance.
    """
    need("the demo", "torch", "matplotlib", "jinja2", "PIL", "sacrebleu", "rapidfuzz", extra="train,draw,images,text")
    from recurra.report import write_report
    from recurra.report.terminal import tell
    from recurra.tasks.captioning.captioner import Captioner

    console, place = Terminal(), Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    known = has_emoji()
    named: Sequence[Named] = emoji_pictures(SIZE) if known else shape_pictures(count, SIZE, seed)
    toned = [one for one in named if "skin tone" in one.name] or named
    chosen = [toned[i] for i in np.random.default_rng(seed).permutation(len(toned))[:count]]
    source = EMOJI if known else DRAWN_SHAPES
    console.print(f"[bold]1[/]  {len(chosen):,} {source}.", highlight=False)
    console.print("   70 % to train, 15 % to watch, 15 % to test, by chance.")
    how: dict[str, Any] = {"batch": 16, "learning_rate": 2e-3, "dropout": 0.1}
    model = Captioner(hidden=128, epochs=epochs, seed=seed, refit=False, **how)
    model.fit([one.picture for one in chosen], [one.name for one in chosen])
    console.print(f"[bold]2[/]  Trained in {model.report_['seconds']['training']:.0f} s.")
    tell(console, model)
    file, page = place / "caption.recurra", place / "report.html"
    model.save(file)
    model.report_["model_file"], model.report_["data"]["source"] = file.name, source
    write_report(model.report_, page, model.model_)
    console.print(f"[bold]3[/]  Written: {file} ({file.stat().st_size / 1024:.0f} KiB) and {page}")
    _caption_live(console, file, model.report_["sections"][0])
    return dict(model.report_)


def _caption_live(console: Terminal, file: Path, section: dict[str, Any]) -> None:
    """Some pictures of the test part, each a frame, word by word."""
    from recurra.tasks.estimator import open_model

    live = open_model(file).live()
    console.print(
        "[bold]4[/]  Live, without PyTorch, a picture in and words out; some by chance, and some with errors:"
    )
    shown = [*section["chosen"][:SHOWN], *section["wrong"][: SHOWN // 2]]
    began = time.perf_counter()
    for one in shown:
        said = " ".join(live.words({"image": one["picture"]}))
        wanted = " ".join(one["wanted"][0])
        mark = "right" if said == wanted else f"wanted: {wanted}"
        console.print(f"   {said}  [dim]({mark})[/]", highlight=False)
    console.print(f"   [dim]{len(shown) / (time.perf_counter() - began):,.0f} pictures a second[/]")


def shape_pictures(count: int, size: int, seed: int = 0) -> list[Named]:
    """Two coloured shapes each, and where the one is from the other: pictures that are drawn, and no photographs.

    >>> shape_pictures(1, 64)[0].name
    'a large yellow square below a small red circle'
    """
    rng = np.random.default_rng(seed)
    return [_two_shapes(size, rng) for _ in range(count)]


def _two_shapes(size: int, rng: np.random.Generator) -> Named:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (64, 64), "white")
    pen, side = ImageDraw.Draw(image), int(rng.integers(4))
    words = []
    for k in range(2):
        name, colour = str(rng.choice(list(SIZES))), str(rng.choice(COLOURS))
        shape = str(rng.choice(SHAPES))
        along, across = (-15, 15)[(k + side) % 2] + int(rng.integers(-4, 5)), int(rng.integers(-14, 15))
        x, y = (along, across) if side < 2 else (across, along)
        _draw(pen, shape, 32 + x, 32 + y, SIZES[name], colour)
        words.append(f"a {name} {colour} {shape}")
    small = np.array(image.resize((size, size), Image.Resampling.LANCZOS))
    return Named(small, f"{words[0]} {SIDES[side]} {words[1]}")


def _draw(pen: Any, shape: str, x: int, y: int, r: int, colour: str) -> None:
    if shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif shape == "square":
        pen.rectangle((x - r, y - r, x + r, y + r), fill=colour)
    elif shape == "triangle":
        pen.polygon([(x - r, y + r), (x + r, y + r), (x, y - r)], fill=colour)
    else:
        pen.rectangle((x - r, y - r // 3, x + r, y + r // 3), fill=colour)
        pen.rectangle((x - r // 3, y - r, x + r // 3, y + r), fill=colour)
