"""`CausalConv1d`, `FlatConv2d` and `BatchNorm1d`: torch.nn's, over [T, B, I] and as a live session computes them."""

from __future__ import annotations

from torch import Tensor, nn

from recurra.errors import ShapeError


class CausalConv1d(nn.Conv1d):
    """A convolution over time that sees no later step, with zeros before the first one.

        y_j = sum_k W_k x[j s - (K - 1 - k) d] + b

    Parameters and initial values are those of torch.nn.Conv1d.

    Letters: T steps, B rows, I and O features in and out, K taps, d dilation, s stride.

    Args:
        input_size: features in, I.
        output_size: features out, O.
        kernel_size: how many taps, K.
        stride: s: there is an output at the steps 0, s, 2s and so on.
        dilation: steps from tap to tap, d.
        bias: whether there is one.
        batch_first: whether x is [B, T, I].

    >>> import torch
    >>> CausalConv1d(3, 5, kernel_size=4, stride=2)(torch.zeros(7, 2, 3)).shape
    torch.Size([4, 2, 5])
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
    ) -> None:
        if min(input_size, output_size, kernel_size, stride, dilation) < 1:
            raise ShapeError(
                f"CausalConv1d: sizes {input_size}, {output_size}, kernel {kernel_size}, stride {stride}, dilation "
                f"{dilation}, expected at least 1 of each"
            )
        super().__init__(input_size, output_size, kernel_size, stride, dilation=dilation, bias=bias)
        self.batch_first = batch_first

    def forward(self, x: Tensor) -> Tensor:
        """[ceil(T / s), B, O] from x [T, B, I]."""
        time = 1 if self.batch_first and x.dim() == 3 else 0
        features_first = x.movedim(time, -1)
        past = (self.kernel_size[0] - 1) * self.dilation[0]
        y: Tensor = super().forward(nn.functional.pad(features_first, (past, 0)))
        return y.movedim(-1, time)

    def lengths(self, lengths: Tensor) -> Tensor:
        """The outputs of rows of so many steps."""
        return (lengths + self.stride[0] - 1) // self.stride[0]


class FlatConv2d(nn.Conv2d):
    """A convolution over pictures of which each is one step: its numbers lie flat, as [rows, columns, channels].

    Parameters and initial values are those of torch.nn.Conv2d. Several in a row turn nothing in memory.

    Letters: C and N channels in and out, K taps in each direction, s hop, p zeros around a picture.

    Args:
        size: rows and columns of a picture that comes in.
        channels: C and N.
        kernel_size: K, or both sizes of the kernel.
        hop: s.
        padding: p.
        bias: whether there is one.
        normalized: whether a batch normalization of the N channels follows; `recurra.torch.export` folds it.

    Attributes:
        places: rows and columns of what comes out.

    Raises:
        ShapeError: a size is below 1, or the kernel is larger than a picture.

    >>> import torch
    >>> layer = FlatConv2d((6, 5), (3, 2), 3, hop=2, padding=1)
    >>> layer(torch.zeros(1, 7, 6 * 5 * 3)).shape, layer.places
    (torch.Size([1, 7, 18]), (3, 3))
    """

    def __init__(
        self,
        size: tuple[int, int],
        channels: tuple[int, int],
        kernel_size: int | tuple[int, int],
        hop: int = 1,
        padding: int = 0,
        *,
        bias: bool = True,
        normalized: bool = False,
    ) -> None:
        taps = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        wide = [n + 2 * padding - k for n, k in zip(size, taps, strict=True)]
        if min(*size, *channels, *taps, hop) < 1 or padding < 0 or min(wide) < 0:
            raise ShapeError(
                f"FlatConv2d: pictures of {size}, channels {channels}, kernel {taps}, hop {hop}, padding {padding}, "
                "expected sizes of at least 1 and a kernel that fits"
            )
        super().__init__(*channels, taps, hop, padding, bias=bias)
        self.size = tuple(size)
        self.places = (wide[0] // hop + 1, wide[1] // hop + 1)
        self.norm = nn.BatchNorm2d(channels[1]) if normalized else None

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, rows * columns * C] to [T, B, places * N], or without T or B."""
        pictures = x.reshape(-1, *self.size, self.in_channels).permute(0, 3, 1, 2)
        y = super().forward(pictures)
        y = y if self.norm is None else self.norm(y)
        return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


class BatchNorm1d(nn.BatchNorm1d):
    """Batch normalization of the features of [..., H], whatever stands before them; `recurra.torch.export` folds it.

    >>> import torch
    >>> BatchNorm1d(3)(torch.randn(7, 2, 3)).shape
    torch.Size([7, 2, 3])
    """

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return super().forward(x.reshape(-1, x.shape[-1])).reshape(x.shape)
