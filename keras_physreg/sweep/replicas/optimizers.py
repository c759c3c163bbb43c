"""One optimizer for stacked variables; what does not work elementwise is taken apart or found."""

from typing import Any

import keras
from keras import ops


def stacked_optimizer(optimizer: keras.Optimizer, variables: list[keras.Variable]) -> Any:
    """Returns an optimizer of the same settings, built on variables of shape `(replicas, ...)`.

    Clipping by norm would mix the replicas: it is left to `clip_gradients`.
    """
    config = dict(optimizer.get_config())
    config.update({key: None for key in ("clipnorm", "global_clipnorm") if key in config})
    stacked = type(optimizer).from_config(config)
    stacked.build(variables)
    return stacked


def clip_gradients(optimizer: keras.Optimizer, gradients: list[Any]) -> list[Any]:
    """Clips the gradients of one replica by norm, as its optimizer would."""
    if optimizer.clipnorm:
        return [None if g is None else _scaled(g, _norm([g]), optimizer.clipnorm) for g in gradients]
    if optimizer.global_clipnorm:
        norm = _norm([g for g in gradients if g is not None])
        limit = optimizer.global_clipnorm
        return [None if g is None else _scaled(g, norm, limit) for g in gradients]
    return gradients


def _norm(gradients: list[Any]) -> Any:
    return ops.sqrt(sum(ops.sum(ops.square(ops.convert_to_tensor(g))) for g in gradients))


def _scaled(gradient: Any, norm: Any, limit: float) -> Any:
    return gradient * ops.cast(limit / ops.maximum(norm, limit), gradient.dtype)


def constrain(originals: list[Any], stacked: list[Any], mapper: Any) -> None:
    """Applies the model's constraints, which may mix axes, to each replica alone."""
    for original, variable in zip(originals, stacked, strict=True):
        if original.constraint is not None:
            variable.assign(mapper(original.constraint, ops.convert_to_tensor(variable)))
