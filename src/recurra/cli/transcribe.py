"""`recurra transcribe`: what is said in a file or on standard input, as it is heard."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer


def transcribe(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file of `recurra fit transcribe`.", show_default=False)
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="A file of sound; - : samples of 16 bits.", show_default=False)
    ],
    rate: Annotated[int, typer.Option(help="Samples a second of standard input.", min=1000, max=768_000)] = 16_000,
    beam: Annotated[int, typer.Option(min=1, max=1000, help="Texts that are kept in the search.")] = 16,
    words: Annotated[
        Path | None, typer.Option(help="A language model of words: an ARPA file.", show_default=False)
    ] = None,
    hot: Annotated[str, typer.Option(help="Words that are likely, with commas between.")] = "",
    srt: Annotated[Path | None, typer.Option(help="Write subtitles here.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option("--json", help="Write segments, words, times and confidence here.", show_default=False),
    ] = None,
) -> None:
    """Write what is said, a line for each stretch between pauses.

    On a terminal the words so far come at once; those that may still change are
    dim. Standard input is raw samples: 16 bits, signed, little-endian, one
    channel. Memory is bounded, however long the sound is.

    \b
    arecord -q -t raw -f S16_LE -r 16000 | recurra transcribe model.recurra -
    """
    from recurra.cli.training import names
    from recurra.data.audio.sound import sound_of
    from recurra.errors import ModelFileError
    from recurra.files import check_writable, write_atomically
    from recurra.tasks.estimator import open_model
    from recurra.terminal import Terminal

    for path in (srt, out):
        if path is not None:
            check_writable(path, model, file)
    estimator = open_model(model)
    if not hasattr(estimator, "listen"):
        raise ModelFileError(f"{model}: the model's task is {estimator.task.name!r}, expected 'transcribe'")
    hearer = estimator.listen(estimator.search(words, names(hot), beam=beam))
    console = Terminal()
    live = sys.stdout.isatty()
    kept: list[Any] = []
    began, worked, slowest = time.perf_counter(), 0.0, 0.0

    def show(ended: list[Any]) -> None:
        for segment in ended:
            if live:
                sys.stdout.write("\r\x1b[K")
            console.print(segment.text, highlight=False, markup=False)
        if srt is not None or out is not None:
            kept.extend(ended)
        if live:
            now = hearer.partial()
            words_ = [word[0] for word in now.words]
            text = " ".join(words_)[-console.width + 1 :]
            settled = min(len(text), len(" ".join(words_[: now.settled])))
            sys.stdout.write(f"\r\x1b[K{text[:settled]}\x1b[2m{text[settled:]}\x1b[0m")
            sys.stdout.flush()

    try:
        for piece, own in sound_of(file, rate, estimator.transform_.bank.rate, block=0.1):
            at = time.perf_counter()
            ended = hearer.push(piece, own)
            spent = time.perf_counter() - at
            worked, slowest = worked + spent, max(slowest, spent)
            show(ended)
    except KeyboardInterrupt:
        pass
    show(hearer.finish())
    if live:
        sys.stdout.write("\r\x1b[K")
    if srt is not None:
        write_atomically(srt, subtitles(kept))
    if out is not None:
        write_atomically(
            out, json.dumps({"segments": [s.to_dict() for s in kept]}, indent=1, ensure_ascii=False) + "\n"
        )
    seconds = hearer.seconds
    if seconds:
        typer.echo(
            f"{seconds:.1f} s of sound, real-time factor {worked / seconds:.4f}, at most {1000 * slowest:.0f} ms "
            "for a piece of 100 ms; "
            f"{time.perf_counter() - began:.1f} s in all",
            err=True,
        )


def subtitles(segments: list[Any]) -> str:
    """Segments as an SRT file."""
    lines = []
    for i, one in enumerate(segments, 1):
        lines.append(f"{i}\n{_clock(one.start)} --> {_clock(one.end)}\n{one.text}\n")
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    ms = round(1000 * seconds)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"
