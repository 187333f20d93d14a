"""The ops that programs are made of, one file each; importing them is what makes them known to model files."""

from recurra.runtime.ops.activation import Activation
from recurra.runtime.ops.affine import Affine
from recurra.runtime.ops.attend import Attend
from recurra.runtime.ops.branches import Branches
from recurra.runtime.ops.convolution import Convolution
from recurra.runtime.ops.convolution_2d import Convolution2d
from recurra.runtime.ops.dropout import Dropout
from recurra.runtime.ops.embedding import Embedding
from recurra.runtime.ops.fields import Fields
from recurra.runtime.ops.forecast import Forecast
from recurra.runtime.ops.join import Join
from recurra.runtime.ops.layer_norm import LayerNorm
from recurra.runtime.ops.linear import Linear
from recurra.runtime.ops.ngrams import NGrams
from recurra.runtime.ops.op import Op
from recurra.runtime.ops.pool import Pool
from recurra.runtime.ops.readout import Readout
from recurra.runtime.ops.recurrent import Recurrent
from recurra.runtime.ops.softmax import Softmax

__all__ = [
    "Activation",
    "Affine",
    "Attend",
    "Branches",
    "Convolution",
    "Convolution2d",
    "Dropout",
    "Embedding",
    "Fields",
    "Forecast",
    "Join",
    "LayerNorm",
    "Linear",
    "NGrams",
    "Op",
    "Pool",
    "Readout",
    "Recurrent",
    "Softmax",
]
