"""Copy of an optimizer for other variables, with attributes that its config does not hold."""

from __future__ import annotations

import functools
import types
import warnings
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf

RATE = "learning_rate"
Schedule = keras.optimizers.schedules.LearningRateSchedule
IMMUTABLE = (
    *(bool, int, float, complex, str, bytes, type(None), np.generic, np.ndarray),
    *(types.FunctionType, types.BuiltinFunctionType),
)


class CannotCopyError(ValueError):
    """An optimizer has an attribute that cannot be copied."""


def copied(optimizer: keras.Optimizer, variables: list[keras.Variable]) -> Any:
    """Returns a copy of an optimizer that trains other variables.

    Keras rebuilds the copy from the config. Attributes that the config does not hold are copied as
    well, and schedules are shared. The copy is built, with new state.

    Args:
        optimizer: The optimizer.
        variables: The variables of the copy, in the order of the optimizer's variables.

    Raises:
        CannotCopyError: If the config does not rebuild it, or an attribute cannot be copied.
    """
    try:
        with warnings.catch_warnings():
            # Keras warns of lambdas in configs, but nothing is saved here.
            warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
            config = dict(optimizer.get_config())
        rate = scheduled_rate(optimizer)
        copy = type(optimizer).from_config(config | ({} if rate is None else {RATE: 1.0}))
        if rate is not None:
            copy.learning_rate = rate
        copy.build(variables)
    except Exception as error:
        name = type(optimizer).__name__
        raise CannotCopyError(f"{name} cannot be rebuilt from its config: {error}") from error
    _copy_attributes(optimizer, copy)
    return copy


def scheduled_rate(optimizer: Any) -> Any:
    """Returns the schedule or function that gives an optimizer its learning rate, or `None`."""
    values = [value for name, value in vars(optimizer).items() if name in internal_names()]
    return next((v for v in values if isinstance(v, Schedule | types.FunctionType)), None)


def _copy_attributes(optimizer: Any, copy: Any) -> None:
    """Sets the attributes of a copy that its config did not set."""
    state = {id(variable) for variable in optimizer.variables}
    others = vars(copy)
    for name, value in list(vars(optimizer).items()):
        if name in internal_names() or is_state(value, state):
            continue
        elif isinstance(value, Schedule):
            setattr(copy, name, value)
        elif isinstance(value, keras.Optimizer) and isinstance(others.get(name), type(value)):
            _copy_attributes(value, others[name])
        elif name not in others or not _equal(value, others[name]):
            # Private containers tend to be keyed by variables, and the copy has other variables.
            if not _is_portable(value, containers=not name.startswith("_")):
                raise CannotCopyError(
                    f"{type(optimizer).__name__} has an attribute '{name}' (of type "
                    f"{type(value).__name__}) that its config does not hold, and that cannot be "
                    "copied"
                )
            setattr(copy, name, value)


def is_state(value: Any, state: set[int]) -> bool:
    """Returns whether a value consists of the optimizer's own variables, made by `build`."""
    leaves = [leaf for leaf in _leaves(value) if leaf is not None]
    return bool(leaves) and all(id(leaf) in state for leaf in leaves)


def _is_portable(value: Any, containers: bool) -> bool:
    if _is_immutable(value):
        return True
    if isinstance(value, tuple):
        return all(_is_portable(part, containers) for part in value)
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return False
    if isinstance(value, dict | list | set):
        return not value or (containers and all(map(_is_immutable, _leaves(value))))
    return False


def _equal(value: Any, other: Any) -> bool:
    if value is other:
        return True
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return len(value) == len(other) and all(map(_equal, value, other))
    if type(value) is not type(other):
        return False
    if isinstance(value, np.ndarray | np.generic | tf.Tensor):
        return bool(np.array_equal(value, other))
    if isinstance(value, types.FunctionType):  # Constructors may create equal functions anew.
        return value.__code__ is other.__code__
    try:
        if hasattr(value, "get_config"):
            return bool(value.get_config() == other.get_config())
        return bool(value == other) or bool(vars(value) == vars(other))
    except Exception:  # Values that cannot be compared count as different.
        return False


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]


@functools.cache
def internal_names() -> frozenset[str]:
    """Returns the private attributes that Keras sets on every optimizer."""
    variables = [keras.Variable(np.zeros(1), dtype="float32")]
    decaying = keras.optimizers.SGD(0.1, weight_decay=0.1, use_ema=True, ema_overwrite_frequency=2)
    decaying.apply([tf.zeros(1)], variables)
    accumulating = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    accumulating.build(variables)
    names = {*vars(decaying), *vars(accumulating)}
    return frozenset(name for name in names if name.startswith("_") or name == "built")


def _is_immutable(value: Any) -> bool:
    return isinstance(value, (*IMMUTABLE, tf.Tensor, tf.DType))
