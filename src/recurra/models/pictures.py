"""`PictureReader` and `FeatureReader`: what a decoder that writes captions looks at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recurra.runtime.ops import Op
from recurra.torch import FlatConv2d
from recurra.torch.bridge import layers_of


class PictureReader(nn.Module):
    """A picture as a grid of places, by convolutions of 3 x 3 with batch normalization, each of which halves its size
    and is followed by one that does not.

    Args:
        size: pixels of a side.
        channels: of each halving.
        dropout: the share dropped in training.

    Attributes:
        width: the features of a place.
        grid: rows and columns of places.
    """

    def __init__(self, size: int, channels: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        places, before = (size, size), 3
        for k, width in enumerate(channels):
            for hop in (2, 1) if k else (2,):
                made = FlatConv2d(places, (before, width), 3, hop, 1, bias=False, normalized=True)
                layers += [made, nn.ReLU()]
                places, before = made.places, width
        self.layers, self.drop = nn.Sequential(*layers), nn.Dropout(dropout)
        self.width, self.grid = before, places

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features [M, B, width] of pictures [1, B, S * S * 3], and M for each."""
        y = self.layers(source[0]).unflatten(-1, (-1, self.width)).transpose(0, 1).contiguous()
        return self.drop(y), torch.full_like(lengths, len(y))

    def model_layers(self) -> list[Op]:
        """What it is in a model file: places side by side in a step."""
        return layers_of(self.layers)


class FeatureReader(nn.Module):
    """Features of somebody else's making, [M, C], brought to a width.

    Args:
        channels: C.
        width: features of each row.
        dropout: the share dropped in training.
    """

    def __init__(self, channels: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.width, self.drop = width, nn.Dropout(dropout)
        self.layers = nn.Sequential(nn.Linear(channels, width), nn.ReLU())

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features [M, B, width] of rows [M, B, C], and how many there are of each."""
        return self.drop(self.layers(self.drop(source))), lengths

    def model_layers(self) -> list[Op]:
        """What it is in a model file."""
        return layers_of(self.layers)


@torch.no_grad()
def picture_features(network: nn.Module, pictures: Tensor, together: int = 32) -> list[Tensor]:
    """What a network of somebody else's, such as one of torchvision's without its last layers, makes of pictures.

    Args:
        network: from [B, 3, S, S] to [B, C] or [B, C, h, w].
        pictures: [N, 3, S, S], normalized as the network wants them.
        together: B.

    Returns:
        Float32 [C], or [h * w, C], of each: what `recurra.Captioner` takes, and `numpy.save` writes.

    >>> network = nn.Conv2d(3, 5, 3, 2)
    >>> [tuple(x.shape) for x in picture_features(network, torch.zeros(2, 3, 9, 9))]
    [(16, 5), (16, 5)]
    """
    training = network.training
    made = [network.eval()(pictures[at : at + together]) for at in range(0, len(pictures), together)]
    network.train(training)
    return [x.flatten(1).T.contiguous() if x.dim() == 3 else x for batch in made for x in batch]
