"""What can be done, by name, and which of it helps against what."""

from __future__ import annotations

REMEDIES: dict[str, str] = {
    "gated_cell": "use a gated cell: GRU or LSTM, whose states are carried on instead of computed anew at each step",
    "forget_bias": "begin with the gate that keeps the state open: a bias of log(u), u uniform up to the lag needed",
    "orthogonal": "begin with orthogonal recurrent weights (the identity for relu), whose products keep their size",
    "clipping": "clip the gradient's norm, at the median of the norms seen",
    "layer_norm": "normalise the layer's output over its features",
    "residual": "add the layer's input to its output, so that depth does not shrink the gradient",
    "learning_rate": "lower the learning rate: divide it by 10",
    "truncation": "carry the gradient back over a limited number of steps",
    "input_scaling": "bring each input feature to mean 0 and deviation 1, with the numbers of the training data",
    "time_reversal": "read the sequence from its end, so that what comes first is nearest to the answer",
    "bidirectional": "read it in both directions; such a network cannot be run live",
}

# In the order in which to try them.
KINDS: dict[str, tuple[str, ...]] = {
    "not finite": ("clipping", "learning_rate", "input_scaling", "orthogonal", "layer_norm"),
    "bad input scale": ("input_scaling", "layer_norm"),
    "learning rate too high": ("learning_rate", "clipping"),
    "exploding": ("clipping", "orthogonal", "gated_cell", "layer_norm", "learning_rate", "truncation"),
    "unstable state": ("orthogonal", "gated_cell", "layer_norm", "clipping", "learning_rate"),
    "vanishing": (
        "gated_cell",
        "forget_bias",
        "orthogonal",
        "layer_norm",
        "residual",
        "time_reversal",
        "bidirectional",
    ),
    "forgetting too early": ("forget_bias", "gated_cell", "orthogonal", "residual", "time_reversal", "bidirectional"),
    "saturated": ("input_scaling", "orthogonal", "layer_norm", "learning_rate"),
    "dead": ("learning_rate", "orthogonal", "input_scaling", "layer_norm"),
    "clipped all the time": ("clipping", "learning_rate", "orthogonal", "truncation"),
    "healthy": (),
}


def remedies_for(kind: str, gated: bool | None = None) -> tuple[str, ...]:
    """Against a finding in a layer whose cell is gated or not; None: not known."""
    useless = {True: {"gated_cell"}, False: {"forget_bias"}, None: set[str]()}[gated]
    return tuple(r for r in KINDS[kind] if r not in useless)
