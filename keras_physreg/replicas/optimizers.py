"""One optimizer for stacked variables, with per-replica code for what is not elementwise."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.variables import values_of
from keras_physreg.replicas.optimizer_copy import CannotCopyError, copied


def stacked_optimizer(optimizer: keras.Optimizer, variables: list[keras.Variable]) -> Any:
    """Returns an optimizer of the same settings, built on variables of shape `(replicas, ...)`.

    It neither clips by norm, which would mix the replicas, nor unscales the loss: `own_gradients`
    does both per replica.
    """
    stacked = copied(optimizer, variables)
    stacked.clipnorm = stacked.global_clipnorm = stacked.loss_scale_factor = None
    return stacked


def own_gradients(optimizer: keras.Optimizer, gradients: list[Any]) -> list[Any]:
    """Returns one replica's gradients unscaled and clipped by norm, as its optimizer does it."""
    scale = optimizer.loss_scale_factor
    if scale is not None:
        gradients = [None if g is None else g / scale for g in gradients]
    if optimizer.clipnorm:
        return [
            None if g is None else _scaled(g, _norm([g]), optimizer.clipnorm) for g in gradients
        ]
    if optimizer.global_clipnorm:
        norm = _norm([g for g in gradients if g is not None])
        limit = optimizer.global_clipnorm
        return [None if g is None else _scaled(g, norm, limit) for g in gradients]
    return gradients


def _norm(gradients: list[Any]) -> Any:
    return ops.sqrt(sum(ops.sum(ops.square(ops.convert_to_tensor(g))) for g in gradients))


def _scaled(gradient: Any, norm: Any, limit: float) -> Any:
    return gradient * ops.cast(limit / ops.maximum(norm, limit), gradient.dtype)


def without_reduction(call: Callable[[], Any]) -> Any:
    """Calls a function that updates variables by an optimizer, on one device.

    An optimizer sums gradients over devices, by a `tf.custom_gradient`: TensorFlow keeps each one
    for ever, with the graph in which it is traced. Where devices are merged already, it does not.
    """
    context = tf.distribute.get_replica_context()
    return call() if context is None else context.merge_call(lambda strategy: call())


def constrain(originals: list[Any], stacked: list[Any], mapper: Any) -> None:
    """Applies the model's constraints to each replica alone, as they may mix axes."""
    for original, variable in zip(originals, stacked, strict=True):
        if original.constraint is not None:
            variable.assign(mapper(original.constraint, ops.convert_to_tensor(variable)))


def why_never_stacked(optimizer: keras.Optimizer) -> str | None:
    """Returns why an optimizer mixes the replicas; `None` if only a probe can show it."""
    name = type(optimizer).__name__
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return f"{name} scales all replicas by one factor"
    if optimizer.gradient_accumulation_steps and (optimizer.clipnorm or optimizer.global_clipnorm):
        return f"{name} clips accumulated gradients"
    return None


def stacked_values(optimizer: keras.Optimizer, stacked: keras.Optimizer) -> list[np.ndarray]:
    """Returns the optimizer's present state in the shapes of the stacked optimizer."""
    return stack_values(values_of(optimizer.variables), stacked)


def stack_values(values: list[np.ndarray], stacked: keras.Optimizer) -> list[np.ndarray]:
    """Returns an optimizer's state in the shapes of a stacked one, equal for all replicas."""
    return [
        np.broadcast_to(one if one.ndim == len(many.shape) else one[np.newaxis], many.shape)
        for one, many in zip(values, stacked.variables, strict=True)
    ]


def batch_count(optimizer: keras.Optimizer) -> keras.Variable:
    """Returns the variable that counts batches, as `iterations` may count updates only."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return next(v for v in inner.variables if v.name == "iteration")


def batches_seen(optimizer: keras.Optimizer) -> int:
    """Returns the number of batches that an optimizer has seen."""
    return int(ops.convert_to_numpy(batch_count(optimizer)))


def start_values(
    optimizer: keras.Optimizer, variables: list[keras.Variable], fresh: bool
) -> list[np.ndarray]:
    """Returns the optimizer state from which replicas start: the present or a new one.

    Args:
        optimizer: The model's optimizer; it is built if it is not yet.
        variables: The variables that it trains.
        fresh: Whether to start with the state of a new optimizer.
    """
    if not optimizer.built:
        optimizer.build(variables)
    if not fresh or not batches_seen(optimizer):
        return values_of(optimizer.variables)
    try:
        return values_of(copied(optimizer, variables).variables)
    except CannotCopyError as error:
        raise ValueError(
            f"The optimizer '{optimizer.name}' (of type {type(optimizer).__name__}) has trained "
            f"already, and cannot be reset: {error}. Compile the model with a new optimizer, or "
            "give `seeds=None` to continue from its state."
        ) from error
