"""Networks for tasks, as torch modules: encoders, heads and losses.

>>> import torch
>>> from recurra.models import ForecastNetwork
>>> network = ForecastNetwork("gru", 3, 8, horizon=4, known=2, seasons=1)
>>> output, state = network(torch.zeros(10, 2, network.input_size))
>>> output.shape  # steps, rows, horizons times quantiles
torch.Size([10, 2, 12])
"""

from recurra.models.forecast import ForecastNetwork
from recurra.models.losses import pinball
from recurra.models.network import Network
from recurra.torch.forecast import ForecastHead

__all__ = ["ForecastHead", "ForecastNetwork", "Network", "pinball"]
