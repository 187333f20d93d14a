"""What the drop-ins do besides running a cell, which the table of cases in `conformance` holds against torch.nn."""

from __future__ import annotations

import pytest
import torch

from recurra.torch import GRU, LSTM, RNN


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_dropout_acts_between_layers_in_training(kind: type[torch.nn.Module]) -> None:
    torch.manual_seed(3)
    x = torch.randn(9, 4, 3)
    module = kind(3, 16, num_layers=2, dropout=0.5)
    plain = kind(3, 16, num_layers=2)
    plain.load_state_dict(module.state_dict())
    torch.manual_seed(5)
    first = module(x)[0]
    torch.manual_seed(5)
    assert torch.equal(first, module(x)[0])
    assert not torch.equal(first, module(x)[0])
    assert first.all()  # nothing is dropped after the last layer
    assert not torch.equal(first, plain(x)[0])
    assert torch.equal(module.eval()(x)[0], plain(x)[0])
