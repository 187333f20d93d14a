"""A task of one's own: count the peaks of a sequence."""

from __future__ import annotations

import numpy as np

from recurra.tasks.base import Task
from recurra.tasks.baselines import MeanOfTraining
from recurra.tasks.estimator import Estimator
from recurra.tasks.metrics import MeanAbsoluteError


class CountPeaks(Task):
    """How many steps are larger than both of their neighbours."""

    name = "count-peaks"
    metrics = (MeanAbsoluteError(),)
    baselines = (MeanOfTraining,)

    def targets(self, found):
        return [np.asarray(float(((s[1:-1] > s[:-2]) & (s[1:-1] > s[2:])).sum())) for s in (x[:, 0] for x in found.x)]

    def head(self, width, transform, dropout):
        from torch import nn

        return nn.Linear(width, 1)

    def link(self):
        from torch import nn

        return nn.Softplus()

    def loss(self, output, targets):
        from torch.nn import functional

        return functional.poisson_nll_loss(functional.softplus(output[..., 0]), targets, log_input=False)

    def decode(self, output, transform, name):
        return output[:, 0]

    def answer(self, numbers):
        return {"peaks": round(float(numbers))}


class PeakCounter(Estimator):
    """Counts peaks."""

    task = CountPeaks
