"""`recurra fit caption` and `recurra caption`: a model of pictures with captions, and what it says of others."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from recurra.cli.fit import DATA, MODEL, NETWORK, Cell, Epochs, Group, Hidden, Layers, Out, Report, Resume, Seed, fit
from recurra.cli.training import train

STREAM = "-"


@fit.command("caption")
def fit_caption(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="A file of captions beside its images (name.jpg#0, a tab, a caption; or a table), or their folder.",
            show_default=False,
        ),
    ],
    image: Annotated[
        str | None,
        typer.Option(
            help="The column of the images; without: found by its name.", rich_help_panel=DATA, metavar="COLUMN"
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="The column of the captions; without: found by its name.", rich_help_panel=DATA, metavar="COLUMN"
        ),
    ] = None,
    group: Group = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="A folder with a .npy file of features for each image, read in its place.", rich_help_panel=DATA
        ),
    ] = None,
    size: Annotated[int, typer.Option(help="Pixels of a side.", rich_help_panel=NETWORK, min=1, max=512)] = 64,
    flip: Annotated[
        bool, typer.Option("--flip", help="Learn from mirror images, too.", rich_help_panel=NETWORK)
    ] = False,
    min_count: Annotated[
        int, typer.Option(help="A word that is rarer is never written.", rich_help_panel=DATA, min=1)
    ] = 1,
    cell: Cell = "gru",
    hidden: Hidden = 128,
    layers: Layers = 1,
    epochs: Epochs = None,
    seed: Seed = 0,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """A text for each picture: what is to be seen.

    Convolutions look at the picture, and a recurrent network writes, looking at
    some place for each word. An image may have several captions, a line each.

    \b
    recurra fit caption flickr8k/captions.txt --flip --min-count 5 --out photos.recurra --report photos.html
    recurra fit caption parts.csv --image file --target name --out parts.recurra
    """
    from recurra.cells.script import load_cell
    from recurra.tasks.captioning.captioner import Captioner

    reading: dict[str, Any] = {"size": size, "flip": flip, "min_count": min_count}
    reading |= {} if features is None else {"features": str(features)}
    model = Captioner(load_cell(cell), hidden, layers, epochs=epochs, seed=seed, reading=reading)
    train(model, table, out, report, resume, image=image, y=target, groups=group)


def caption(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file of `recurra fit caption`.", show_default=False)
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...|FOLDER|-", help="Images, folders of images; - : JPEG files on standard input (MJPEG)."
        ),
    ],
    beam: Annotated[
        int | None, typer.Option(help="Hypotheses that are kept; 1: the most probable word at every step.", min=1)
    ] = None,
    best: Annotated[int, typer.Option(help="How many captions to write for each image.", min=1)] = 1,
    follow: Annotated[
        bool, typer.Option("--follow", help="Then wait for images that come into the folder, until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object a line: captions, scores, and where each word looked.")
    ] = False,
) -> None:
    """Write what is to be seen in each image, a line each: its name, a tab, the caption.

    On a terminal the words come as soon as they are certain. With --best several
    captions are written for an image, the best first, with tabs between. An image
    that cannot be read is said on standard error, the others are captioned, and
    the status is 2.

    \b
    recurra caption photos.recurra holiday/
    ffmpeg -i /dev/video0 -r 1 -f mjpeg - | recurra caption photos.recurra -
    """
    from recurra.errors import DataError
    from recurra.formatting import printable
    from recurra.tasks.captioning.captioner import Captioner

    captioner = Captioner.load(model)
    word_by_word = best == 1 and not as_json and sys.stdout.isatty()
    bad = 0
    try:
        for name, image in _images(images, follow):
            try:
                if word_by_word:
                    _say(captioner, name, image, beam)
                    continue
                found = captioner.caption([image], n=best, beam=beam)[0]
            except DataError as error:
                bad += 1
                print(f"recurra: {printable(str(error))}", file=sys.stderr)
                continue
            if as_json:
                said = [_described(one) for one in found]
                line = {"image": name, "captions": said, "grid": captioner.grid}
                print(json.dumps(line, ensure_ascii=False), flush=True)
            else:
                print("\t".join([name, *(one.text for one in found)]), flush=True)
    except KeyboardInterrupt:
        pass
    if bad:
        raise typer.Exit(2)


def _images(given: list[str], follow: bool) -> Iterator[tuple[str, Any]]:
    """Names and images, as they come."""
    from recurra.data.images.frames import frames, images_of
    from recurra.errors import DataError

    if follow and (len(given) > 1 or not Path(given[0]).is_dir()):
        raise DataError(f"--follow: got {' '.join(given)[:80]}, expected one folder")
    for one in given:
        if one == STREAM:
            yield from ((f"frame {k}", frame) for k, frame in enumerate(frames(sys.stdin.buffer), 1))
        elif Path(one).is_dir():
            yield from ((str(path), path) for path in images_of(Path(one), follow))
        else:
            yield one, Path(one)


def _say(captioner: Any, name: str, image: Any, beam: int | None) -> None:
    """One word after the other."""
    words = captioner.words(image, beam)
    first = next(words, "")  # an image that cannot be read is said before its name is
    sys.stdout.write(f"{name}\t")
    said: list[str] = []
    text = ""
    for token in chain([first], words):
        said.append(token)
        longer = captioner.transform_.tokenizer.join(said)
        sys.stdout.write(longer[len(text) :])
        sys.stdout.flush()
        text = longer
    print(flush=True)


def _described(one: Any) -> dict[str, Any]:
    attention = None if one.attention is None else one.attention.astype(float).round(4).tolist()
    return {
        "text": one.text,
        "tokens": one.tokens,
        "score": one.score,
        "complete": one.complete,
        "attention": attention,
    }
