"""`python -m benchmarks.fuzz --minutes 10`: mutations at all doors, while there is time; each finding is a line.

`make fuzz` runs it on a native module with sanitizers.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.fuzz.native import load


def main(
    minutes: float = 5,
    seed: int = -1,
    door: str = "",
    keep: Path = Path("build/fuzz/found"),
    native: Annotated[Path | None, typer.Option(help="The folder of another build of the native module.")] = None,
) -> None:
    """Mutate until the time is over; what is found is kept in a folder, and the status is then 1."""
    if native is not None:
        load(native)
    from benchmarks.fuzz.doors import doors
    from benchmarks.fuzz.enter import Finding, enter

    seed = random.randrange(1 << 31) if seed < 0 else seed
    found: dict[str, Finding] = {}
    count: dict[str, int] = {}
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        open_doors = [one for one in doors(Path(folder)) if door in one.name]
        end, turn = time.monotonic() + 60 * minutes, 0
        while time.monotonic() < end:
            for one in open_doors:
                for finding in enter(one, max(1, one.share // 5), seed + turn):
                    if finding.kind not in found:
                        found[finding.kind] = finding
                        keep.mkdir(parents=True, exist_ok=True)
                        (keep / f"{len(found):03}-{one.name.replace(' ', '-')}").write_bytes(finding.content)
                        print(f"{len(found):3} {finding.kind}: {finding.says!r}", flush=True)
                count[one.name] = count.get(one.name, 0) + max(1, one.share // 5)
            turn += 1
    print(f"{sum(count.values())} mutations at {len(count)} doors, {len(found)} findings")
    raise typer.Exit(bool(found))


typer.run(main)
