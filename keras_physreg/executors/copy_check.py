"""Whether a copy of a model computes what the model computes."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.owners import with_sublayers
from keras_physreg._utils.variables import unchanged, values_of
from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.first_points import FirstPoints
from keras_physreg.replicas.hidden_state import hidden_variables
from keras_physreg.replicas.optimizer_copy import IMMUTABLE, internal_names
from keras_physreg.replicas.preparation import NO_POINTS
from keras_physreg.replicas.replica_step import Variables, labelled

TOLERANCE = 1e-5  # relative, between the losses of a model and of its copy on the same rows


def difference_of(
    model: keras.Model, copy: keras.Model, data: Batches, points: FirstPoints = NO_POINTS
) -> str | None:
    """Returns how a copy differs from a model; `None` if it does not.

    Args:
        model: A built model.
        copy: Its copy.
        data: Labelled data, of which the first batch is evaluated.
        points: The points of a first step, which are evaluated, too.
    """
    own, others = (Variables.of(each).weights for each in (model, copy))
    if [(v.name, tuple(v.shape)) for v in own] != [(v.name, tuple(v.shape)) for v in others]:
        return f"it has the variables {_named(others)}, the model has {_named(own)}"
    for variable, value, other in zip(own, values_of(own), values_of(others), strict=True):
        if not np.array_equal(value, other, equal_nan=value.dtype.kind in "fc"):
            return f"its variable `{variable.path}` has another value"
    if type(model.optimizer) is not type(copy.optimizer):
        return f"its optimizer is of {type(copy.optimizer)}, the model's of {type(model.optimizer)}"
    if settings := _different_settings(model.optimizer, copy.optimizer):
        return f"its optimizer has other settings: {', '.join(settings)}"
    logs, of_copy = (_evaluated(each, data, points) for each in (model, copy))
    if logs.keys() != of_copy.keys():
        return (
            f"it logs {sorted(of_copy)}, the model logs {sorted(logs)} (Keras numbers layers: give "
            "the output layers a `name`)"
        )
    for name, value in logs.items():
        if not np.allclose(value, of_copy[name], rtol=TOLERANCE, atol=1e-30, equal_nan=True):
            return f"its `{name}` on the same rows is {of_copy[name]}, the model's is {value}"
    return None


def _named(variables: list[keras.Variable]) -> str:
    return ", ".join(f"{variable.path} {tuple(variable.shape)}" for variable in variables)


def different_setting(model: keras.Model, copy: keras.Model) -> str | None:
    """Returns in which setting the layers of two models that a function built differ, or `None`.

    Some, as the rate of a dropout, count in training alone. Whole numbers and words are not
    compared: they may count calls, or hold a name.
    """
    own, others = (with_sublayers(each) for each in (model, copy))
    if [type(layer) for layer in own] != [type(layer) for layer in others]:
        return None  # What the model computes is compared anyway.
    for layer, other in zip(own, others, strict=True):
        first, second = _real_numbers(layer), _real_numbers(other)
        for key in first.keys() & second.keys():
            if first[key] != second[key]:
                kind = type(layer).__name__
                return f"its {kind} has {key}={second[key]}, that of the model {key}={first[key]}"
    return None


def _real_numbers(layer: keras.layers.Layer) -> dict[str, float]:
    """Returns the settings of a layer that are real numbers, as far as it tells them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lambdas are not saved here.
            config = layer.get_config()
    except Exception:  # It cannot tell, as many layers of users.
        return {}
    return {k: float(v) for k, v in config.items() if isinstance(v, float | np.floating)}


def _different_settings(optimizer: keras.Optimizer, other: keras.Optimizer) -> list[str]:
    """Returns the names of settings in which two optimizers differ."""
    first: dict[str, Any]
    second: dict[str, Any]
    first, second = (
        {k: v for k, v in vars(each).items() if k not in internal_names()}
        for each in (optimizer, other)
    )
    names = [
        name
        for name, value in first.items()
        if name != "name"  # Keras counts optimizers.
        and isinstance(value, IMMUTABLE)
        and not callable(value)
        and not _equal(value, second.get(name))
    ]
    rates = [float(keras.ops.convert_to_numpy(each.learning_rate)) for each in (optimizer, other)]
    return names + (["learning_rate"] if rates[0] != rates[1] else [])


def _equal(value: Any, other: Any) -> bool:
    return bool(np.array_equal(value, other, equal_nan=isinstance(value, float)))


def _evaluated(model: keras.Model, data: Batches, points: FirstPoints) -> dict[str, Any]:
    """Returns the logs of one batch, without changing the model."""
    x, y, sample_weight = data.take(np.arange(min(data.size, data.batch_size)))
    hidden = [variable for _, variable in hidden_variables(model)]
    try:
        x, more = points.of_step(model, x)
        with unchanged([*model.variables, *hidden]), labelled(model, **more):
            y_pred = model(x)
            loss = model.compute_loss(x, y, y_pred, sample_weight, training=False)
            logs = model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
            values = {**logs, "loss": loss}
            return {name: keras.ops.convert_to_numpy(value) for name, value in values.items()}
    finally:
        model.reset_metrics()
