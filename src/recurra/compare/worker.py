"""A worker process: trials in as JSON lines on standard input, outcomes out as JSON lines. It ends with its parent.

Run as `python -m recurra.compare.worker TUNE FINAL`, with the two files of the data.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

# One thread each: the cores are shared among workers. Set before any library reads it.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")


def one_thread() -> None:
    """Keep this process to one thread."""
    import torch

    from recurra.engine import set_num_threads

    torch.set_num_threads(1)
    set_num_threads(1)


def main(tune: str, final: str) -> None:
    """Run trials until standard input ends."""
    from recurra.compare.run_trial import run_trial
    from recurra.compare.store import encode
    from recurra.compare.trial import Trial
    from recurra.tasks.bench import Bench

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no outcome
    one_thread()
    paths, benches = {"tune": tune, "final": final}, dict[str, Any]()
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    while True:
        trial = Trial(**json.loads(lines.get()))
        if trial.stage not in benches:
            benches[trial.stage] = Bench.from_bytes(Path(paths[trial.stage]).read_bytes())
        print(json.dumps(encode(run_trial(trial, benches[trial.stage]))), file=out, flush=True)


def _read(lines: SimpleQueue[str]) -> None:
    """Pass lines on; when there are no more, the parent is gone, whatever is being trained."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:3])
