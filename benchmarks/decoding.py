"""How fast a translator writes: `python -m benchmarks.decoding`. One thread; all entrants take turns.

The same network, with the same numbers, writes the most probable symbol at each step: by torch's own modules, a step a
call, one text at a time and 64 at once, and by Recurra's runtime, which also searches with a beam of four. What is
written is compared before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.table import Table
from torch import Tensor, nn

from benchmarks.measure import FULL, QUICK, Spread, in_turns
from benchmarks.report import console
from benchmarks.task import Task
from recurra.cells import get
from recurra.data.text.pairs import BEGIN, END
from recurra.models.sequence_to_sequence import SequenceToSequence, TextReader
from recurra.runtime import Model
from recurra.runtime.beam import Limits
from recurra.runtime.ops import Recurrent
from recurra.runtime.writer import Writer
from recurra.torch import Readout, to_torch

TEXTS, READ, MOST = 64, 8, 8  # texts of so many symbols, and symbols that are written at most


class Greedy(nn.Module):
    """The network in torch's own modules; nn.GRU steps."""

    def __init__(self, of: SequenceToSequence) -> None:
        super().__init__()
        model, reader = of.model(), of.encoder
        self.source = nn.Embedding.from_pretrained(reader.source.weight.detach())  # type: ignore[union-attr, arg-type]
        self.target = nn.Embedding.from_pretrained(of.target.weight.detach())
        layers = [op for name in ("encoder", "decoder") for op in model.program(name).ops if isinstance(op, Recurrent)]
        self.encoder, self.decoder = (to_torch(Model([op]))[0] for op in layers)
        self.of, self.keys = of, of.attend.keys

    @torch.inference_mode()
    def forward(self, source: Tensor) -> list[tuple[int, ...]]:
        """What is written for sources of one length, [n, B]."""
        of, (y, _) = self.of, self.encoder(self.source(source))
        h = of.start(y.mean(0)).tanh()[None]
        keys, values = of.memory(y).split([self.keys, of.attend.values], -1)
        last, written = torch.full((source.shape[1],), BEGIN), list[Tensor]()
        ended = torch.zeros(source.shape[1], dtype=torch.bool)
        for _ in range(MOST):
            out, h = self.decoder(self.target(last)[None], h)
            q = nn.functional.linear(out[0], of.attend.weight, of.attend.bias)
            weights = torch.einsum("bk,nbk->bn", q, keys).softmax(-1)
            found = torch.einsum("bn,nbv->bv", weights, values)
            scores = of.head.outer(of.head.inner(torch.cat([out[0], found], -1)).tanh())
            scores[:, BEGIN] = -torch.inf
            last = scores.argmax(-1)
            written.append(last)
            ended |= last == END
            if bool(ended.all()):
                break
        rows = torch.stack(written).T.tolist()
        return [tuple(row[: row.index(END)] if END in row else row) for row in rows]


def network(hidden: int, symbols: int, size: int, bias: float) -> SequenceToSequence:
    """With numbers of chance that end after some symbols."""
    torch.manual_seed(0)
    reader, head = TextReader(get("gru"), symbols, size, hidden), Readout(2 * hidden, size, symbols)
    made = SequenceToSequence(reader, get("gru"), symbols, size, hidden, head, capacity=16).eval()
    with torch.no_grad():
        head.outer.weight *= 8
        head.outer.bias[END] += bias
    return made


def entrants(hidden: int, symbols: int, size: int, bias: float) -> tuple[dict[str, Callable[[], Any]], float]:
    """Each writes what belongs to TEXTS texts; and how many symbols that is for each."""
    made = network(hidden, symbols, size, bias)
    ours, theirs = Writer(made.model()), Greedy(made)
    texts = np.random.default_rng(0).integers(3, symbols, (TEXTS, READ))
    sources, columns = list(texts.astype(np.float32)), torch.from_numpy(texts.T)
    greedy, beam = Limits(BEGIN, END, beam=1, most=MOST), Limits(BEGIN, END, beam=4, most=MOST)
    calls: dict[str, Callable[[], Any]] = {
        "torch, one at a time": lambda: [theirs(columns[:, b : b + 1])[0] for b in range(TEXTS)],
        "torch, 64 at once": lambda: theirs(columns),
        "Recurra, one at a time": lambda: [ours.write([s], greedy)[0][0].symbols for s in sources],
        "Recurra, 64 at once": lambda: [one[0].symbols for one in ours.write(sources, greedy)],
    }
    written = {name: call() for name, call in calls.items()}
    first, *others = written.values()
    if any(other != first for other in others):
        raise SystemExit(f"decoding: what is written differs: {written}")
    calls["Recurra, 64 at once, a beam of 4"] = partial(ours.write, sources, beam)
    return calls, float(np.mean([len(row) for row in first]))


def main(quick: Annotated[bool, typer.Option(help="A rough answer, soon.")] = False) -> None:
    """Print texts a second of each, and how many times torch's loop of one text at a time."""
    torch.set_num_threads(1)
    for what, sizes in (("letters to sounds", (128, 60, 128, -1.0)), ("words to words", (256, 4000, 192, -1.0))):
        calls, symbols = entrants(*sizes)
        tasks = {name: Task(call, read=lambda result: {}) for name, call in calls.items()}
        found = in_turns(tasks, QUICK if quick else FULL)
        table = Table(title=f"{what}: GRU({sizes[0]}), {sizes[1]} symbols, {READ} read and {symbols:.1f} written")
        for column in ("", "texts a second", "times torch's loop"):
            table.add_column(column, justify="left" if not column else "right")
        middle = {name: Spread.of(seconds).median for name, seconds in found.items()}
        base = next(iter(middle.values()))
        for name, seconds in middle.items():
            table.add_row(name, f"{TEXTS / seconds:,.0f}", f"{base / seconds:.1f}")
        console().print(table)


if __name__ == "__main__":
    typer.run(main)
