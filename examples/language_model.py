"""A character-level language model with carried state: truncated back-propagation through a long text.

The text is the help that ships with Python. Each row of a batch reads its own part of it, and the last state of a
window is the first of the next. Run: python examples/language_model.py
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn

from recurra.torch import Recurrent


@dataclass
class Result:
    """Perplexity per character on text that was not trained on.

    Attributes:
        unigram: of a model that only knows how often each character is used.
        before: of the network before training.
        after: of the network after it.
    """

    unigram: float
    before: float
    after: float


class Model(nn.Module):
    """Characters [T, B] to scores [T, B, characters]."""

    def __init__(self, characters: int, cell: str, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, 32)
        self.recurrent = Recurrent(cell, 32, hidden_size, stateful=True)
        self.head = nn.Linear(hidden_size, characters)

    def forward(self, text: Tensor) -> Tensor:
        """The scores of each next character."""
        return self.head(self.recurrent(self.embedding(text))[0])


def perplexity(model: Model, text: Tensor) -> float:
    """On one row, from a fresh state: a copy of a stateful layer begins anew."""
    with torch.no_grad():
        scores = copy.deepcopy(model)(text[:-1, None])
    return float(nn.functional.cross_entropy(scores[:, 0], text[1:]).exp())


def main(steps: int = 600, cell: str = "gru", hidden_size: int = 128, window: int = 32, batch: int = 16) -> Result:
    """Train, and print perplexity against the unigram model."""
    torch.manual_seed(0)
    text = "".join(topics.values())[:100_000]
    alphabet = sorted(set(text))
    codes = torch.tensor([alphabet.index(c) for c in text])
    split = len(codes) * 9 // 10
    training, held_out = codes[:split], codes[split:]

    counts = torch.bincount(training, minlength=len(alphabet)) + 1.0
    unigram = float((counts / counts.sum()).log()[held_out].mean().neg().exp())
    model = Model(len(alphabet), cell, hidden_size)
    before = after = perplexity(model, held_out)
    print(
        f"{len(text)} characters, {len(alphabet)} different; unigram perplexity {unigram:.1f}, untrained {before:.1f}"
    )

    rows = training[: len(training) // batch * batch].view(batch, -1).T  # [length, batch]: each column reads on
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    start = 0
    for step in range(1, steps + 1):
        if start + window + 1 > len(rows):
            start = 0
            model.recurrent.reset_state()
        x, target = rows[start : start + window], rows[start + 1 : start + window + 1]
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.recurrent.detach_state()  # the state goes on, its graph ends here
        start += window
        if step % max(1, steps // 6) == 0:
            after = perplexity(model, held_out)
            print(f"step {step:4}: perplexity {loss.detach().exp():5.1f} in training, {after:5.1f} held out")
    return Result(unigram, before, after)


if __name__ == "__main__":
    main()
