"""What the checks on each backend share: the same random weights and inputs for Keras' layers and ours."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

BACKEND = keras.backend.backend()
TOLERANCE = 5e-6  # relative to the largest number where that is above 1, values and gradients in float32


def randomize(model: Any, rng: np.random.Generator) -> Any:
    """The same model with distinct weights, away from zero and from saturation."""
    for variable in model.trainable_variables:
        variable.assign(0.6 * rng.normal(size=variable.shape))
    return model


def values_and_gradients(layer: Any, x: np.ndarray, **options: Any) -> list[np.ndarray]:
    """Every output, the gradient of each weight, and that of x, for a loss in which every output counts differently."""
    if BACKEND == "torch":
        import torch

        given = torch.tensor(x, requires_grad=True)
        layer.zero_grad()
        outputs = _listed(layer(given, **options))
        sum(_loss(o, torch.linspace(-1, 2, o.numel()).reshape(o.shape)) for o in outputs).backward()
        gradients = [v.value.grad for v in layer.trainable_variables] + [given.grad]
        return [t.detach().numpy().copy() for t in [*outputs, *gradients]]
    import jax
    import jax.numpy as jnp

    fixed = [v.value for v in layer.non_trainable_variables]

    def loss(weights: Any, x: Any) -> Any:
        outputs, after = layer.stateless_call(weights, fixed, x, **options)
        outputs = _listed(outputs)
        total = sum(_loss(o, jnp.linspace(-1, 2, o.size).reshape(o.shape)) for o in outputs)
        return total, (outputs, after)

    weights = [v.value for v in layer.trainable_variables]
    (_, (outputs, after)), (dw, dx) = jax.value_and_grad(loss, (0, 1), has_aux=True)(weights, jnp.asarray(x))
    for variable, value in zip(layer.non_trainable_variables, after, strict=True):
        variable.assign(value)
    return [np.asarray(a) for a in [*outputs, *dw, dx]]


def assert_same(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    """Within rounding of float32."""
    assert [a.shape for a in ours] == [a.shape for a in theirs]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * max(1.0, float(np.abs(b).max())))


def _loss(output: Any, weights: Any) -> Any:
    return (output * weights + (output * weights) ** 2).sum()


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
