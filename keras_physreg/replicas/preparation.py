"""Checks of model and data, and building of the model, before a training of replicas."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.errors import received, whole_number
from keras_physreg._utils.variables import unchanged
from keras_physreg.diagnosis.probe_rows import labels_misfit
from keras_physreg.layers.step import Evaluation, open_step
from keras_physreg.models.auto_scale import resolve_scales
from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.first_points import FirstPoints
from keras_physreg.replicas.hidden_state import hidden_variables
from keras_physreg.replicas.replica_step import labelled
from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.fit_arguments import replicas_of

NO_POINTS = FirstPoints()


def check_model(model: Any) -> None:
    """Raises unless the model is a compiled Keras model."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model. {received('model', model)}")
    if not model.compiled or model.optimizer is None:
        raise ValueError(
            f"Model '{model.name}' is not compiled: call `model.compile(optimizer, loss)` first."
        )
    if (devices := replicas_of(model)) > 1:
        raise ValueError(
            f"Model '{model.name}' was built in the scope of a `tf.distribute` strategy, for "
            f"{devices} devices. Build it outside of the scope: `ReplicaTrainer` and "
            "`sanity_sweep` place its copies on the devices."
        )


def as_batches(name: str, data: Any, batch_size: Any) -> Batches:
    """Converts `(x, y, sample_weight)` to batches; raises unless they are arrays of one length.

    Args:
        name: Name of the data in messages.
        data: Tuple `(x,)`, `(x, y)` or `(x, y, sample_weight)` of arrays or structures of them.
        batch_size: Rows per batch; `None` for 32.
    """
    if not isinstance(data, (tuple, list)) or not 1 <= len(data) <= 3:
        raise ValueError(
            f"`{name}` must be a tuple (x, y) or (x, y, sample_weight) of arrays: replicas are "
            f"trained on data in memory. Received: {name} of type {type(data)}"
        )
    _check_in_memory(name, data)
    tensors = arrays.as_tensors(tuple(data) + (None,) * (3 - len(data)), name, device=None)
    return Batches(tensors, whole_number("batch_size", batch_size, optional=True) or 32)


def _check_in_memory(name: str, data: Any) -> None:
    for leaf in keras.tree.flatten(tuple(data)):
        if leaf is None or getattr(leaf, "shape", None):
            continue
        advice = (
            "To Keras, a Python list of numbers is a structure of scalars: give `numpy.array(...)`."
            if np.isscalar(leaf)
            else "Join the rows of a dataset or a generator with `numpy.concatenate`."
        )
        raise ValueError(
            f"`{name}` must be arrays in memory, or structures of them, of shape (rows, ...). "
            f"{advice} Received: an entry of type {type(leaf)}"
        )


def build(
    model: keras.Model,
    data: Batches,
    verbose: str | int = 0,
    points: FirstPoints = NO_POINTS,
) -> None:
    """Calls the model once, which creates its variables, loss and metrics.

    Terms of `scale="auto"` first get their scales, from all rows.

    Args:
        model: A compiled model.
        data: All labelled rows; any points, if there are none.
        verbose: Whether to say what these scales are; 0 for silence.
        points: The points of a first step.
    """
    x, y, _ = data.data
    resolve_scales(model, x, y, verbose)
    x, y, sample_weight = data.take(np.arange(min(data.size, data.batch_size)))
    if y is None and model.loss is not None:
        raise ValueError(
            f"Model '{model.name}' was compiled with loss={model.loss!r}, which needs labels: give "
            "`y`, or compile it with `loss=None` to train on the physics alone. "
            f"{received('y', y)}"
        )
    hidden = [variable for _, variable in hidden_variables(model)]
    try:
        x, more = points.of_step(model, x)
        with unchanged([*model.variables, *hidden]), labelled(model, **more):
            y_pred = model(x)
            with _labels_to_blame(model, y):
                model.compute_loss(x, y, y_pred, sample_weight, training=False)
                model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
    finally:
        model.reset_metrics()


@contextlib.contextmanager
def _labels_to_blame(model: keras.Model, y: Any) -> Iterator[None]:
    """Says so where an error comes with labels of another shape than the outputs."""
    try:
        yield
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        if misfit := labels_misfit(model, y):
            raise ValueError(f"`y` {misfit} {error}") from error
        raise


def check_repeatable(model: keras.Model, data: Batches, points: FirstPoints = NO_POINTS) -> None:
    """Raises if model or physics give other values when they are called again."""
    x, y, _ = data.take(np.arange(min(data.size, data.batch_size)))
    x, more = points.of_step(model, x)
    for (first, terms), (second, again) in zip(
        _evaluations(model, x, y, more), _evaluations(model, x, y, more), strict=True
    ):
        names = ", ".join(f"'{name}'" for name in first.layer.term_names)
        if not _equal((first.inputs, first.prediction), (second.inputs, second.prediction)):
            raise ValueError(
                f"Model '{model.name}' gives the physics of the terms {names} another prediction "
                "when it is called again with the same input: a layer is random, or keeps state "
                "outside of variables, so replicas cannot be compared. Draw random numbers from a "
                "`keras.random.SeedGenerator` of the layer, which each replica then has for "
                "itself, and only where `training` is true."
            )
        for name in terms:
            one, other = terms[name], again[name]
            chosen = f"Term '{name}' counts other rows"
            _check_same(chosen, one.where.get(name), other.where.get(name))
            given = f"The physics of term '{name}' gives other values"
            _check_same(given, one.outputs[name], other.outputs[name])


def choose_monitor(monitor: str | None, logs: list[str]) -> str:
    """Returns the log by which best epochs are found; raises if there is no log of that name."""
    if monitor is None:
        preferred = ("val_data_loss", "val_loss", "data_loss", "loss")
        return next(key for key in preferred if key in logs)
    if monitor not in logs:
        # The term has points in training, and the validation none for it.
        skipped = monitor.removeprefix("val_") in logs and any(n.startswith("val_") for n in logs)
        raise ValueError(
            f"There is no log named {monitor!r} to monitor. The logs are: {sorted(logs)}."
            + (" Give `validation_points` of its term, which has `points`." if skipped else "")
            + (
                " `data_loss` is logged by a `keras_physreg.PhysicsModel`; for a plain "
                "`keras.Model` compile an unweighted metric, such as `metrics=['mse']`, and "
                "monitor `val_mse`."
                if monitor.endswith("data_loss")
                else ""
            )
        )
    return monitor


def log_names(model: keras.Model, validation: bool) -> list[str]:
    """Returns the keys that `fit` logs for a built model."""
    names = list(model.get_metrics_result())
    return names + [f"val_{name}" for name in names] if validation else names


def _evaluations(
    model: keras.Model, x: Any, y: Any, more: dict[str, Any]
) -> list[tuple[Evaluation, dict[str, Evaluation]]]:
    """Returns what the physics layers compute in a call, without changing the model.

    For each layer its evaluation, and the evaluations of its terms by name; `more` are further
    fields of the `Step`.
    """
    hidden = [variable for _, variable in hidden_variables(model)]
    with unchanged([*model.variables, *hidden]), open_step(model, "labelled", **more) as step:
        model(x)
        return [(each, each.layer.evaluations(each, y)) for each in step.evaluations]


def _check_same(what: str, one: Any, other: Any) -> None:
    if not _equal(one, other):
        raise ValueError(
            f"{what} when it is called again with the same input: it is random, or keeps state "
            "outside of variables, so replicas cannot be compared. Pass random numbers as an "
            "input, or draw them in a physics `keras.layers.Layer` from a "
            "`keras.random.SeedGenerator`; hold state in variables of that layer. Each replica "
            "then has its own."
        )


def _equal(value: Any, other: Any) -> bool:
    pairs = zip(keras.tree.flatten(value), keras.tree.flatten(other), strict=True)
    arrays = [(convert_to_numpy(a), convert_to_numpy(b)) for a, b in pairs if a is not None]
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc") for a, b in arrays)
