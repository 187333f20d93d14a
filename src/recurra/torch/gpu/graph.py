"""Many launches as one: a run whose sizes come again is recorded as a CUDA graph, and replayed from then on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST = 8  # graphs that are kept, each with memory of its own: those used last

Run = Callable[..., list[Tensor]]


@dataclass
class Recorded:
    """A graph, the tensors that it reads and those that it writes."""

    graph: Any
    given: list[Tensor | None]
    results: list[Tensor]

    @classmethod
    def of(cls, run: Run, tensors: Sequence[Tensor | None]) -> Recorded:
        """Record a run; its kernels are compiled before."""
        given = [None if t is None else t.clone(memory_format=torch.contiguous_format) for t in tensors]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            run(*given)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = run(*given)
        return cls(graph, given, results)

    def replay(self, tensors: Sequence[Tensor | None]) -> list[Tensor]:
        """The same run on other numbers."""
        for own, t in zip(self.given, tensors, strict=True):
            if own is not None and t is not None:
                own.copy_(t)
        self.graph.replay()
        return [r.clone() for r in self.results]


_recorded: OrderedDict[Any, Recorded | None] = OrderedDict()


def replayed(key: Any, run: Run, tensors: Sequence[Tensor | None]) -> list[Tensor]:
    """`run(*tensors)`, by a graph from the second time with these sizes: those that never come again cost nothing."""
    key = (key, *[None if t is None else (t.shape, t.dtype, t.device) for t in tensors])
    if torch.cuda.is_current_stream_capturing():
        return run(*tensors)
    if key not in _recorded:
        _recorded[key] = None
        _forget()
        return run(*tensors)
    graph = _recorded[key]
    if graph is None:
        graph = _recorded[key] = Recorded.of(run, tensors)
    _recorded.move_to_end(key)
    return graph.replay(tensors)


def _forget() -> None:
    """Keep the graphs that were used last."""
    while len(_recorded) > MOST:
        _recorded.popitem(last=False)
