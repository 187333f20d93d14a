"""`Network`: an encoder and a task's head on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.errors import SettingError
from recurra.models.encoders import Encoder
from recurra.runtime import Affine, Branches, Model, Op
from recurra.torch.bridge import layers_of, stack_of


class Network(nn.Module):
    """An encoder over the first I numbers of each row, and a head on its features.

    Letters: T steps, B rows, R numbers of a row, of which the encoder sees the first I, H features, O numbers out. The
    others, what is known of the time to come, go to the head beside the features.

    Args:
        encoder: I to H.
        head: H (and R - I) to O.
        link: what a model file's network does after the head, such as a softmax; the loss is of what comes before it.
        whole: whether it is trained on whole sequences, with `lengths`.
        every: whether it answers every step of them, and not only the last.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        link: nn.Module | None = None,
        whole: bool = False,
        every: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.head, self.link, self.whole, self.every = encoder, head, link, whole, every

    @property
    def members(self) -> Sequence[Network]:
        """The networks whose outputs are averaged: this one."""
        return [self]

    def forward(
        self,
        rows: Tensor,
        state: Any = None,
        *,
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
        lead: int = 0,
        at: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Outputs [T, B, O] of every step, without the link, or of whole sequences [B, O]; and the encoder's state.

        Args:
            rows: [T, B, R].
            state: of the encoder, from an earlier call.
            lengths: the steps of each row [B].
            reset: [T, B], bool: before which steps a row's state is zero.
            lead: steps at the beginning that are looked back to and have no output.
            at: the only steps after these that are to have an output; None: all.
        """
        x, future = rows.split([self.encoder.input_size, rows.shape[-1] - self.encoder.input_size], -1)
        if self.whole and not self.every and lengths is not None:
            output: Tensor = self.head(self.encoder.summary(x, lengths))
            return output, None
        h, state = self.encoder(x, state, lengths=lengths, reset=reset)
        h, future = h[lead:], future[lead:]
        if at is not None:
            h, future = h[at], future[at]
        output = self.head(h, future) if future.shape[-1] else self.head(h)
        return output.flatten(2), state

    def linked(self, output: Tensor, rows: Tensor | None = None) -> Tensor:
        """Outputs as a model file's network gives them; a link that goes by the symbols that come in needs the rows."""
        if self.link is None:
            return output
        by_ids = rows is not None and getattr(self.link, "goes_by_ids", False)
        result: Tensor = self.link(output, rows[..., 0]) if by_ids else self.link(output)  # type: ignore[index]
        return result

    def model_layers(self) -> list[Op]:
        """What it is in a model file; `recurra.torch.export` asks.

        Raises:
            ExportError: its encoder is not recurrent.
        """
        return [*self.body(), *([] if self.link is None else layers_of(self.link))]

    def body(self) -> list[Op]:
        """What it has in a model file before the link."""
        return [op for part in (*self.encoder.exported(), self.head) for op in layers_of(part)]


class Mean(Network):
    """The mean of what several networks say, before the link; each has weights and a state of its own.

    In a model file they are branches that are added up, and a scale.

    Args:
        members: of one task, alike in shape.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        first = members[0]
        super().__init__(first.encoder, first.head, first.link, first.whole, first.every)
        self.averaged = nn.ModuleList(members)

    @property
    def members(self) -> Sequence[Network]:
        """As they were given."""
        return list(self.averaged)  # type: ignore[arg-type]

    def forward(self, rows: Tensor, state: Any = None, **how: Any) -> tuple[Tensor, Any]:
        """As `Network.forward`; the state is a tuple of those of the members."""
        states = state or [None] * len(self.averaged)
        said = [one(rows, own, **how) for one, own in zip(self.averaged, states, strict=True)]
        return torch.stack([output for output, _ in said]).mean(0), tuple(own for _, own in said)

    def body(self) -> list[Op]:
        """Branches, and their number as a divisor."""
        chains = [one.body() for one in self.members]
        added = Branches(chains, "add")
        size = chains[0][-1].output_size
        assert size is not None
        scale = np.full(size, 1 / len(chains), np.float32)
        return [added, Affine(scale, np.zeros(size, np.float32))]


def begin_from(network: Network, model: Model) -> None:
    """Give a recurrent network the weights of a model that was exported from one like it.

    Raises:
        SettingError: the model's layers have other shapes, or are others.
    """
    found: dict[str, Tensor] = {}
    layer = 0
    for module in stack_of(model).children():
        weights = module.state_dict()
        if "weight_hh_l0" in weights:
            found |= {f"encoder.layers.{name.replace('_l0', f'_l{layer}')}": w for name, w in weights.items()}
            layer += 1
        else:
            found |= {f"head.{name}": w for name, w in weights.items()}
    own = network.state_dict()
    odd = next((n for n in {**own, **found} if n not in own or n not in found or own[n].shape != found[n].shape), None)
    if odd is not None:
        sizes = " and ".join(str(tuple(some[odd].shape)) if odd in some else "none" for some in (found, own))
        raise SettingError(
            f"init_model: its {odd} and that of the network to train have the shapes {sizes}, expected the same: give "
            "the same cell, hidden, layers, horizon and quantiles"
        )
    network.load_state_dict(found)


class Exported(nn.Module):
    """A network as a model file has it: rows in, outputs of every step after the link."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor) -> Tensor:
        """[T, B, R] to [T, B, O]."""
        return self.network.linked(self.network(rows)[0], rows)

    def model_layers(self) -> list[Op]:
        """Those of the network."""
        return self.network.model_layers()
