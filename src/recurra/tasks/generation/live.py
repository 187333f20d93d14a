"""`LiveText`: a text that goes on, fed by others or by the model itself; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.text.corpus import LiveNext, NextSymbol
from recurra.errors import DataError, SettingError
from recurra.runtime.model import Model
from recurra.runtime.ops.affine import Affine
from recurra.runtime.ops.softmax import Softmax
from recurra.runtime.program import Program
from recurra.tasks.generation.constraint import Constraint, constraint_of
from recurra.tasks.live.base import Remembered
from recurra.tasks.live.stepwise import Steps, Stepwise, alone

if TYPE_CHECKING:
    from recurra.tasks.base import Task

F32 = NDArray[np.float32]
TEMPERATURES = (1e-3, 1e3)
MOST = 5  # probabilities in an answer
LONGEST = 4096  # symbols that an observation may have written
HOW = ("temperature", "top_k", "top_p", "seed")
UNIT = 2.0**-53


class LiveText(Stepwise):
    """A text that a model goes on with.

    `feed` takes what others write, in pieces cut anywhere; `generate` goes on by itself. `fork` gives another text
    with the same beginning, so that eight bars can be tried and taken back; `snapshot` and `restore` do so across
    processes. Where a name is given, there are as many texts as names.

    Chance is a counter through Philox (Salmon et al. 2011), probabilities are the runtime's softmax, and they are
    summed in one order; so a seed gives the same text on every machine.

    Args:
        model, task, transform: of a `recurra.Generator`.
    """

    answer = "next"

    def __init__(self, model: Model, task: Task, transform: NextSymbol) -> None:
        super().__init__(model, transform, [], ["text"])
        self.task, self.transform = task, transform
        self._V = len(transform.vocabulary)

    def _begun(self, name: str) -> Remembered:
        one = super()._begun(name)
        one.rows.output = one.session.step(np.zeros(1, np.float32))
        return one

    def _one(self, name: str) -> Remembered:
        if name not in self._series:
            self._series[name] = self._begun(name)
        return self._series[name]

    def _taken(self, one: Remembered, tokens: Sequence[str]) -> Steps[None]:
        for token in tokens:
            one.rows.output = yield one.session, one.rows.push(token)
            one.rows.drawn = (one.rows.drawn[0], -1)

    def feed(self, text: str | bytes | Sequence[str], series: str = "") -> None:
        """Take a piece of a text, or tokens.

        Raises:
            DataError: bytes are no UTF-8, or the text begins with unknown symbols only; nothing has changed.
        """
        alone(self._fed(text, series))

    def _fed(self, text: str | bytes | Sequence[str], series: str) -> Steps[None]:
        one, begins = self._series.get(series), series not in self._series
        one = one or self._begun(series)
        rows: LiveNext = one.rows
        waiting = rows.tokens.state()
        if isinstance(text, (str, bytes)):
            tokens = rows.tokens.push(text)
            all_tokens = [*tokens, *rows.tokens.pending()]
        else:
            all_tokens = tokens = self.transform.tokenizer.given(text)
        known = self.transform.vocabulary.numbers
        if begins and all_tokens and not any(token in known for token in all_tokens):
            rows.tokens.restore(waiting)
            raise DataError(
                f"prompt: none of its {len(all_tokens)} tokens is known to the model ({str(all_tokens[0])[:20]!r} and "
                "so on), expected some that were in training"
            )
        self._series[series] = one
        yield from self._taken(one, tokens)

    def probabilities(self, series: str = "") -> dict[str, float]:
        """The probability of each symbol to come next, if the text so far is whole; nothing changes."""
        return alone(self._likely(series))

    def _likely(self, series: str) -> Steps[dict[str, float]]:
        output = yield from self._output(series)
        shares = self.task.decode(output[None], self.transform, series)[0]
        return dict(zip(self.transform.vocabulary.symbols, shares.tolist(), strict=True))

    def _output(self, series: str) -> Steps[F32]:
        one = self._series.get(series) or self._begun(series)
        waits = one.rows.tokens.pending()
        if not waits:
            output: F32 = one.rows.output
            return output
        session, output = one.session.fork(), one.rows.output
        for token in waits:
            output = yield session, one.rows.push(token)
        return output

    def steps(self, observation: Any, series: str = "") -> Steps[dict[str, Any]]:
        """Take a piece of text: the most probable symbols to come next.

        Args:
            observation: a text, or a mapping with `text`, and where the model is to go on `write`, how many symbols, as
                `temperature`, `top_k`, `top_p` and `seed` say: see `stream`. The answer then has what it wrote, `text`.
                Symbol for symbol or at once, a seed gives what `generate` does.
            series: the name of the text.

        Raises:
            DataError, SettingError: it is no text, or a number is out of range; nothing has changed.
        """
        said: Mapping[str, Any] = observation if isinstance(observation, Mapping) else {"text": observation}
        count = said.get("write", 0)
        text = said.get("text", "" if "write" in said else None)
        if not isinstance(text, (str, bytes)):
            raise DataError(f"a step: {str(text)[:40]!r}, expected a text")
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= LONGEST:
            raise DataError(f"`write` is {str(count)[:40]!r}, expected how many symbols to write, {LONGEST} at most")
        written = {}
        if count:
            chance = Chance(self._V, **{name: said[name] for name in HOW if name in said})
            yield from self._fed(text, series)
            written = {"text": (yield from self._written(count, chance, series))}
        else:
            yield from self._fed(text, series)
        found = sorted((yield from self._likely(series)).items(), key=lambda pair: -pair[1])[:MOST]
        return {**written, "next": found[0][0], "probabilities": dict(found)}

    def _written(self, count: int, chance: Chance, series: str) -> Steps[str]:
        """Go on by symbols, where it had gone on before."""
        one, symbols, join = self._one(series), self.transform.vocabulary.symbols, self.transform.tokenizer.join
        yield from self._taken(one, one.rows.tokens.end())
        drawn, last = one.rows.drawn
        before = [] if last < 0 else [symbols[last]]
        chance.skip(drawn)
        new: list[str] = []
        for _ in range(count):
            chance.see(one.rows.output)
            k = chance.draw()
            if k is None:
                break
            one.rows.output = yield one.session, np.array([k], np.float32)
            new.append(symbols[k])
            one.rows.drawn = (drawn + len(new), k)
        return str(join([*before, *new])[len(join(before)) :])

    @property
    def fields(self) -> list[str]:
        """The symbol and its probability."""
        return ["next", "probability"]

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """See `Live`."""
        return [answer["next"], repr(answer["probabilities"][answer["next"]])]

    def to_dict(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as it is."""
        return dict(answer)

    def fork(self) -> LiveText:
        """Another live session with the same texts, which go their own way."""
        other = LiveText(self.model, self.task, self.transform)
        other.restore(self.snapshot())
        return other

    def generate(self, n: int = 200, *, series: str = "", **how: Any) -> str:
        """Go on by `n` symbols; see `stream` for how."""
        return "".join(self.stream(n, series=series, **how))

    def stream(
        self,
        n: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        constraint: Any = None,
        series: str = "",
    ) -> Iterator[str]:
        """Go on by `n` symbols, and give the text piece by piece.

        Args:
            n: symbols, at most.
            temperature: 1: as learned; less: more probable symbols yet more often.
            top_k: only so many of the most probable symbols.
            top_p: only the most probable symbols whose sum reaches this.
            seed: of all chance.
            stop: a text, or some, after which it ends.
            constraint: what the whole generated text must be: a regular expression, a set of texts, or a
                `recurra.tasks.generation.constraint.Constraint`. It ends where nothing can follow.
            series: the name of the text.

        Raises:
            SettingError: a number is out of range.
            DataError: no symbol of the model can follow under the constraint.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
            raise SettingError(f"generate: n={n!r}, expected a whole number of symbols")
        chance = Chance(self._V, temperature, top_k, top_p, seed)
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        return self._streamed(int(n), chance, tuple(s for s in stops if s), constraint_of(constraint), series)

    def _streamed(
        self, n: int, chance: Chance, stops: tuple[str, ...], allowed: Constraint | None, series: str
    ) -> Iterator[str]:
        one, join = self._one(series), self.transform.tokenizer.join
        symbols = self.transform.vocabulary.symbols
        alone(self._taken(one, one.rows.tokens.end()))
        written, text, row = list[str](), "", np.zeros(1, np.float32)
        characters = self.transform.tokenizer.kind == "characters"
        for _ in range(n):
            chance.see(one.rows.output)
            while True:
                k = chance.draw()
                if k is None:
                    if allowed is not None and allowed.allows(text):
                        return
                    raise DataError(f"generate: after {text[-40:]!r} no symbol of the model fits the constraint")
                longer = text + symbols[k] if characters else join([*written, symbols[k]])
                if allowed is None or allowed.begins(longer):
                    break
                chance.refuse(k)
            row[0] = k
            one.rows.output = one.session.step(row)
            written.append(symbols[k])
            piece, text = longer[len(text) :], longer
            yield piece
            if stops and text.endswith(stops):
                return


class Chance:
    """Symbols drawn by their probabilities; the same on every machine."""

    def __init__(
        self, V: int, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None, seed: int = 0
    ) -> None:
        low, high = TEMPERATURES
        number = isinstance(temperature, (int, float, np.floating)) and not isinstance(temperature, bool)
        if not (number and low <= temperature <= high):
            raise SettingError(
                f"generate: temperature={temperature!r}, expected a number from {low:g} to {high:g}: top_k=1 takes the "
                "most probable symbol"
            )
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or top_k < 1):
            raise SettingError(f"generate: top_k={top_k!r}, expected a whole number from 1, or None")
        if top_p is not None and not (isinstance(top_p, (int, float, np.floating)) and 0 < top_p <= 1):
            raise SettingError(f"generate: top_p={top_p!r}, expected a number above 0 and up to 1, or None")
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 1 << 64:
            raise SettingError(f"generate: seed={seed!r}, expected a whole number from 0 below 2^64")
        self.top_k, self.top_p, self.seed = top_k, top_p, int(seed)
        self.skip(0)
        scale = np.full(V, np.float32(1) / np.float32(temperature))
        self.program = Program([Affine(scale, np.zeros(V, np.float32)), Softmax()])
        self.softmax = self.program.session()
        self.shares, self.left = np.zeros(V), V

    def skip(self, drawn: int) -> None:
        """Go on where as many symbols have been drawn."""
        self.random = np.random.Philox(key=self.seed, counter=drawn // 4)  # which gives four numbers for each count
        self.random.random_raw(drawn % 4)

    def see(self, output: F32) -> None:
        """The network's output, for the symbol that is drawn next."""
        self.shares = p = self.softmax.step(output).astype(np.float64)
        p[0] = 0.0  # the unknown symbol
        if self.top_k is None and self.top_p is None:
            return
        order = np.argsort(-p, kind="stable")
        keep = len(p) if self.top_k is None else min(int(self.top_k), len(p))
        if self.top_p is not None:
            sums = np.cumsum(p[order])
            keep = min(keep, int(np.searchsorted(sums, self.top_p * sums[-1])) + 1)
        p[order[keep:]] = 0.0

    def draw(self) -> int | None:
        """A symbol's number; None where none is left."""
        sums = np.cumsum(self.shares)
        if not sums[-1] > 0:
            return None
        u = (int(self.random.random_raw()) >> 11) * UNIT
        k = int(np.searchsorted(sums, u * sums[-1], "right"))
        return min(k, int(np.flatnonzero(self.shares)[-1])) if k >= len(sums) else k

    def refuse(self, k: int) -> None:
        """Not this one."""
        self.shares[k] = 0.0
