"""Generated characters a second: `python -m benchmarks.generation`. One thread, a GRU of 512 with a head of 65.

Ours is a live session of a model file, with sampling; beside it a loop of torch's GRUCell and Linear in inference mode,
with torch.multinomial; and ours without sampling: the network's step alone. Below it, what a session remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from benchmarks.measure import FULL, QUICK, Effort, Spread, in_turns
from benchmarks.report import console
from benchmarks.task import Task

HIDDEN, SYMBOLS, EMBEDDING, AT_ONCE = 512, 65, 32, 100


def entrants() -> tuple[dict[str, Callable[[], object]], str]:
    """Each generates AT_ONCE symbols a call, from the same weights; and what a session of ours remembers, in words."""
    import torch
    from torch import nn

    from recurra.data.text import Characters, Vocabulary
    from recurra.data.text.corpus import NextSymbol
    from recurra.tasks.generation.live import LiveText
    from recurra.tasks.generation.task import Generate
    from recurra.torch import GRU, Embedding, Stack
    from recurra.torch.export import to_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    table, layer, head = Embedding([SYMBOLS], EMBEDDING), GRU(EMBEDDING, HIDDEN), nn.Linear(HIDDEN, SYMBOLS)
    model = to_model(Stack(table, layer, head))
    vocabulary = Vocabulary.from_dict({"symbols": [chr(48 + k) for k in range(SYMBOLS - 1)]})
    live = LiveText(model, Generate(), NextSymbol(Characters(), vocabulary))
    session, row = model.session(), np.ones(1, np.float32)
    cell = nn.GRUCell(EMBEDDING, HIDDEN)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    h: Any = torch.zeros(1, HIDDEN)

    def ours() -> object:
        return live.generate(AT_ONCE)

    def steps() -> object:
        for _ in range(AT_ONCE):
            session.step(row)
        return None

    def theirs() -> object:
        nonlocal h
        symbol = torch.ones(1, dtype=torch.int64)
        with torch.inference_mode():
            for _ in range(AT_ONCE):
                h = cell(table.weight[symbol], h)
                symbol = torch.multinomial(torch.softmax(head(h), -1)[0], 1)
        return symbol

    live.feed("0")
    state = sum(array.nbytes for array in live.states().values())
    said = f"A session: {state:,} bytes of state; {len(live.snapshot()):,} as a snapshot, with the last output."
    return {"recurra, with sampling": ours, "recurra, its step alone": steps, "torch, with sampling": theirs}, said


def main(quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter rounds.")] = False) -> None:
    """Print characters a second."""
    effort: Effort = QUICK if quick else FULL
    running, said = entrants()
    tasks = {name: Task(run, read=lambda result: {}) for name, run in running.items()}
    table = Table(title=f"GRU({EMBEDDING}, {HIDDEN}) + Linear({HIDDEN}, {SYMBOLS}), one thread")
    for column in ("", "characters a second (quartiles)"):
        table.add_column(column)
    for name, seconds in in_turns(tasks, effort).items():
        rate = Spread.of(AT_ONCE / seconds)
        table.add_row(name, f"{rate.median:,.0f} ({rate.low:,.0f}-{rate.high:,.0f})")
    console().print(table)
    console().print(said)


if __name__ == "__main__":
    typer.run(main)
