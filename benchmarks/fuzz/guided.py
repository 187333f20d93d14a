"""`python -m benchmarks.fuzz.guided DOOR --minutes 10`: inputs that lead where none has led, by atheris (libFuzzer).

`make fuzz` runs it on a native module with sanitizers: a read out of bounds ends the process with the place. What ends
otherwise than it should is kept in a folder. The doors are those of `benchmarks.fuzz`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer


def main(
    name: Annotated[str, typer.Argument(metavar="DOOR", help="Its name, or how that begins.")] = "model file",
    minutes: float = 5,
    package: Annotated[Path | None, typer.Option(help="Where another build of recurra is.")] = None,
    keep: Path = Path("build/fuzz/kept"),
) -> None:
    """Enter by a door until the time is over, or until something is found."""
    if package is not None:  # before the build that stands in this folder
        sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "ScikitBuildRedirectingFinder"]
        sys.path.insert(0, str(package))
    if importlib.util.find_spec("atheris") is None:
        raise typer.BadParameter("atheris is not installed, expected it: make fuzz, or pip install atheris")
    import atheris

    with atheris.instrument_imports(include=["recurra"]):
        from benchmarks.fuzz.doors import doors
        from recurra.errors import RecurraError
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        door = next((one for one in doors(Path(folder)) if one.name.startswith(name)), None)
        if door is None:
            names = ", ".join(one.name for one in doors(Path(folder)))
            raise typer.BadParameter(f"there is no door {name!r}, expected one of {names}")
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for k, seed in enumerate(door.seeds):
            (corpus / str(k)).write_bytes(seed)

        def enter(content: bytes) -> None:
            with contextlib.suppress(RecurraError):
                door.enter(content)

        size = 2 * max(map(len, door.seeds))
        said = [f"-max_total_time={round(60 * minutes)}", f"-artifact_prefix={keep}/", f"-max_len={size}"]
        atheris.Setup([sys.argv[0], *said, "-timeout=20", str(corpus)], enter)
        atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    typer.run(main)
