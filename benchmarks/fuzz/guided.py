"""`make atheris`: mutations at the doors whose readers are native, guided by what of the native module they reach.

The first byte of an input is its door. Half of the mutations are libFuzzer's, half are those that a door has itself,
which go on past checksums. The first finding ends the process, and its input is kept.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import warnings
from pathlib import Path
from typing import Annotated

import typer

DOORS = ("model file", "manifest", "snapshot", "journal", "cell text", "safetensors")  # parts of their names


def main(
    native: Annotated[Path, typer.Option(help="The folder of a native module with Clang's coverage and sanitizers.")],
    minutes: float = 5,
    door: str = "",
    keep: Path = Path("build/fuzz/guided"),
) -> None:
    """Mutate until the time is over."""
    from benchmarks.fuzz.native import load

    load(native)
    import atheris
    import numpy as np

    from benchmarks.fuzz.doors import doors
    from recurra.errors import RecurraError

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        known = [one for one in doors(Path(folder)) if door in one.name and any(part in one.name for part in DOORS)]
        corpus = keep / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for k, one in enumerate(known):
            for i, seed in enumerate(one.seeds):
                (corpus / f"seed-{k}-{i}").write_bytes(bytes([k]) + seed)

        def enter(content: bytes) -> None:
            if content:
                with contextlib.suppress(RecurraError):
                    known[content[0] % len(known)].enter(content[1:])

        def mutated(content: bytes, most: int, seed: int) -> bytes:
            if not content or seed % 2:
                return bytes(atheris.Mutate(content, most))
            changed = known[content[0] % len(known)].mutate(content[1:], np.random.default_rng(seed))
            return (content[:1] + changed)[:most]

        print(f"doors: {', '.join(one.name for one in known)}", flush=True)
        options = [f"-max_total_time={60 * minutes:.0f}", f"-seed={random.randrange(1, 1 << 31)}", "-timeout=20"]
        options += [f"-artifact_prefix={keep}/", "-rss_limit_mb=8000", "-max_len=65536", str(corpus)]
        atheris.Setup(["guided", *options], enter, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    typer.run(main)
