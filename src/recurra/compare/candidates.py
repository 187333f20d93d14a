"""The candidates by name: what each is, what it can do live, and what is tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from recurra.cells import Cell, get, names
from recurra.cells.script import load_cell
from recurra.errors import CompareError
from recurra.tasks.base import BUILT_IN, Task
from recurra.tasks.baselines import Baseline

NEURAL = ("feedforward", "cnn", "transformer", "recurrent")


@dataclass(frozen=True)
class Candidate:
    """One way to do the task.

    Attributes:
        name: in tables and on the command line.
        kind: "naive", "linear", "statistical", "trees", "feedforward", "cnn", "transformer" or "recurrent".
        words: what it is, for a reader.
        task: the only one that it can do; "" where it can do any.
        cell: the equations of a recurrent one, as text.
        bidirectional: whether it also reads from the end.
    """

    name: str
    kind: str
    words: str
    task: str = ""
    cell: str = ""
    bidirectional: bool = False

    @property
    def neural(self) -> bool:
        """Whether it is trained by gradients, in several seeds."""
        return self.kind in NEURAL

    @property
    def tuned(self) -> bool:
        """Whether it has anything to tune."""
        return self.kind not in ("naive", "statistical", "trees")

    @property
    def windowed(self) -> bool:
        """Whether it sees a window of fixed length, which a live step computes again."""
        return self.kind in ("linear", "feedforward", "cnn", "transformer")

    @property
    def refusal(self) -> str:
        """Why it cannot run live; empty where it can."""
        if self.bidirectional:
            return "it reads each sequence from its end too, and a live sequence has no end yet"
        return ""


def _recurrent(name: str, words: str, bidirectional: bool = False) -> Candidate:
    return Candidate(name, "recurrent", words, cell=get(name.removeprefix("bi")).text, bidirectional=bidirectional)


def _of_baseline(task: type[Task], baseline: type[Baseline]) -> Candidate:
    return Candidate(baseline.key, baseline.kind, baseline.words, task.name)


NETWORKS = (
    Candidate("feedforward", "feedforward", "feedforward layers on a flattened window"),
    Candidate("cnn", "cnn", "dilated causal convolutions (TCN)"),
    Candidate("transformer", "transformer", "causal Transformer encoder with positional encoding"),
    _recurrent("rnn", "vanilla recurrent network (tanh)"),
    _recurrent("lstm", "LSTM"),
    _recurrent("gru", "GRU"),
    _recurrent("mingru", "minGRU"),
    _recurrent("bilstm", "bidirectional LSTM", True),
    _recurrent("bigru", "bidirectional GRU", True),
)
BASELINES = tuple(_of_baseline(task, b) for task in map(Task.named, BUILT_IN) for b in (*task.baselines, *task.rivals))
CANDIDATES: dict[str, Candidate] = {c.name: c for c in (*BASELINES, *NETWORKS)}


def candidates_of(task: type[Task]) -> dict[str, Candidate]:
    """All candidates for a task: its baselines, the naive ones first, and the networks."""
    return {c.name: c for c in (*(_of_baseline(task, b) for b in (*task.baselines, *task.rivals)), *NETWORKS)}


def choose(task: type[Task], wanted: Sequence[str | Cell] | None) -> tuple[list[Candidate], dict[str, str]]:
    """The candidates for a task, naive ones first and always there, and those that are refused, with the reason.

    Args:
        task: what is to be done.
        wanted: names, `my_cells.py:my_cell`, or cells; None: all that suit the task.

    Raises:
        CompareError, CellError: a name is unknown, appears twice or does not suit the task; a cell cannot be loaded.

    >>> [c.name for c in choose(Task.named("classify"), ["gru", "cnn"])[0]]
    ['majority', 'gru', 'cnn']
    """
    suit = candidates_of(task)
    found = [_resolve(one, suit) for one in (suit if wanted is None else wanted)]
    twice = next((c.name for i, c in enumerate(found) if c.name in [d.name for d in found[:i]]), None)
    if twice is not None:
        raise CompareError(f"candidates: {twice} appears twice, expected each once")
    foreign = next((c for c in found if c.task not in ("", task.name)), None)
    if foreign is not None:
        raise CompareError(
            f"candidates: {foreign.name} does not {task.name}, expected some of: {', '.join(suit)}; or a cell"
        )
    refused = {r.key: why for r in task.rivals if (why := _lacking(r)) and any(c.name == r.key for c in found)}
    if not task.whole:
        why = "it reads each sequence from its end too, and what follows the moment of an answer is not known then"
        refused |= {c.name: why for c in found if c.bidirectional}
    naive = [c for c in suit.values() if c.kind == "naive"]
    rest = [c for c in found if c.name not in refused and c.kind != "naive"]
    if not rest:
        reasons = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise CompareError(f"candidates: none is left to compare ({reasons or 'only naive ones'}); name others")
    return naive + rest, refused


def _lacking(rival: type[Baseline]) -> str:
    """What is not installed of what a rival needs."""
    missing = [name for name in rival.packages if find_spec(name) is None]
    return f"{missing[0]} is not installed: pip install 'recurra[rivals]'" if missing else ""


def _resolve(one: str | Cell, suit: dict[str, Candidate]) -> Candidate:
    if isinstance(one, Cell):
        return Candidate(one.name, "recurrent", f"the cell {one.name}", cell=one.text)
    name = str(one).strip()
    if name in suit or name in CANDIDATES:
        return suit.get(name) or CANDIDATES[name]
    if name in names():
        cell = get(name)
        if cell.projection is not None:
            raise CompareError(f"candidates: {name} projects its state, whose size would be one more thing to match")
        return Candidate(name, "recurrent", f"the cell {name}", cell=cell.text)
    if ":" in name:
        cell = load_cell(name)
        return Candidate(cell.name, "recurrent", f"the cell {cell.name} of {name.rpartition(':')[0]}", cell=cell.text)
    known = ", ".join([*suit, *(n for n in names() if n not in suit and n != "lstm_projected")])
    raise CompareError(f"candidates: {name!r} is unknown, expected some of: {known}; or my_cells.py:my_cell")
