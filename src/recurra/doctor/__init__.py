"""The doctor: finds the failure of a recurrent network, names its cause, and tries the remedies.

`examine` measures a network on data: the gradient against the lag, the Jacobian from state to state and its Lyapunov
exponents, saturation, dead units, the memory of inputs, the growth of states, and where a NaN came from. `watch` does
the cheaper part during training. `retrain` tries the remedies by short retraining and keeps the best.

>>> import torch
>>> from recurra import doctor
>>> from recurra.torch import LSTM
>>> layer = LSTM(2, 8)
>>> layer.bias_ih_l0.data[8:16] = -5.0  # the forget gate
>>> findings = doctor.examine(layer, torch.randn(40, 4, 2, generator=torch.Generator().manual_seed(0)))
>>> "forgetting too early" in findings.kinds, findings.layers[0].activity.kept["c"] < 0.02
(True, True)
"""

# ruff: noqa: E402  (what is missing is said before it is imported)

from recurra.errors import need

need("the doctor", "torch", extra="train")

from recurra.doctor.examine import examine
from recurra.doctor.findings import Finding, Findings, Retrained, Retraining
from recurra.doctor.remedies import KINDS, REMEDIES
from recurra.doctor.retrain import retrain
from recurra.doctor.watch import Record, watch

cure = retrain  # its name before

__all__ = [
    "KINDS",
    "REMEDIES",
    "Finding",
    "Findings",
    "Record",
    "Retrained",
    "Retraining",
    "cure",
    "examine",
    "retrain",
    "watch",
]
