"""One optimizer for stacked variables; what does not work elementwise is taken apart or found."""

from typing import Any

import keras
import numpy as np
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


def constrain(originals: list[Any], stacked: list[Any], mapper: Any) -> None:
    """Applies the model's constraints, which may mix axes, to each replica alone."""
    for original, variable in zip(originals, stacked, strict=True):
        if original.constraint is not None:
            variable.assign(mapper(original.constraint, ops.convert_to_tensor(variable)))


def why_not_stacked(model: keras.Model, variables: list[keras.Variable]) -> str | None:
    """Returns why a model's optimizer cannot train stacked variables; `None` where it can.

    A probe tells: three replicas, one of them with NaN gradients, take two steps stacked, and
    the other two also alone, with the model's own optimizer. Both must agree.

    Args:
        model: A built and compiled model; its variables and optimizer are put back.
        variables: Its trainable variables.
    """
    optimizer = model.optimizer
    name = type(optimizer).__name__
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return f"{name} scales all replicas by one factor"
    if optimizer.gradient_accumulation_steps and (optimizer.clipnorm or optimizer.global_clipnorm):
        return f"{name} clips accumulated gradients"
    if not optimizer.built:
        optimizer.build(variables)
    kept = [(v, ops.convert_to_numpy(v)) for v in [*variables, *optimizer.variables]]
    try:
        return None if _agree(optimizer, variables) else f"{name} does not work elementwise"
    except Exception as error:
        return f"{name} cannot be stacked: {error}"
    finally:
        for variable, value in kept:
            variable.assign(value)


def stacked_values(optimizer: keras.Optimizer, stacked: keras.Optimizer) -> list[np.ndarray]:
    """Returns the optimizer's present variables in the shapes of the stacked one's."""
    values = []
    for one, many in zip(optimizer.variables, stacked.variables, strict=True):
        value = ops.convert_to_numpy(one)
        value = value if len(one.shape) == len(many.shape) else value[np.newaxis]
        values.append(np.broadcast_to(value, many.shape))
    return values


def _agree(optimizer: keras.Optimizer, variables: list[keras.Variable]) -> bool:
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=(3, *v.shape)).astype("float32") for v in variables]
    gradients = [rng.normal(size=(2, 3, *v.shape)).astype("float32") for v in variables]
    for gradient in gradients:
        gradient[:, 2] = np.nan
    begin = [ops.convert_to_numpy(variable) for variable in optimizer.variables]
    together = _step_stacked(optimizer, variables, starts, gradients)
    for replica in range(2):
        for variable, value in zip(optimizer.variables, begin, strict=True):
            variable.assign(value)
        alone = _step_alone(optimizer, variables, replica, starts, gradients)
        pairs = zip(together, alone, strict=True)
        if not all(np.allclose(t[replica], a, rtol=1e-4, atol=1e-6) for t, a in pairs):
            return False
    return True


def _step_stacked(optimizer: Any, variables: Any, starts: Any, gradients: Any) -> list[np.ndarray]:
    stacked = [keras.Variable(s, dtype=v.dtype) for s, v in zip(starts, variables, strict=True)]
    copy = stacked_optimizer(optimizer, stacked)
    for variable, value in zip(copy.variables, stacked_values(optimizer, copy), strict=True):
        variable.assign(value)
    for step in range(2):
        clipped = [clip_gradients(optimizer, [g[step, r] for g in gradients]) for r in range(3)]
        copy.apply([ops.stack(replicas) for replicas in zip(*clipped, strict=True)], stacked)
        constrain(variables, stacked, lambda f, t: ops.stack([f(t[r]) for r in range(3)]))
    return [ops.convert_to_numpy(variable) for variable in stacked]


def _step_alone(
    optimizer: Any, variables: Any, replica: int, starts: Any, gradients: Any
) -> list[np.ndarray]:
    for variable, start in zip(variables, starts, strict=True):
        variable.assign(start[replica])
    for step in range(2):
        optimizer.apply([ops.convert_to_tensor(g[step, replica]) for g in gradients], variables)
    return [ops.convert_to_numpy(variable) for variable in variables]
