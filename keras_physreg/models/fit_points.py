"""Prepares a model for a `fit` with point sets, and leaves it afterwards as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from keras_physreg._utils.errors import received
from keras_physreg.models.functional import Functional
from keras_physreg.models.step_counts import steps_per_epoch, steps_per_execution
from keras_physreg.unlabelled.fit_arguments import is_stream, pair, points_alone, replicas_of
from keras_physreg.unlabelled.pairing import one_step
from keras_physreg.unlabelled.point_sources import (
    PointSources,
    check_rows_for_all,
    point_arrays,
    point_sources,
)
from keras_physreg.unlabelled.row_order import lasting_seed

# Arguments of `fit` that say something about labelled rows.
OF_LABELLED_ROWS = ("y", "batch_size", "validation_split", "class_weight", "sample_weight")


@dataclass(frozen=True)
class GivenRows:
    """The rows beside the labelled ones, as `fit` received them.

    Args:
        points: Points by term, or `None`.
        points_batch_size: Points per step.
        validation_points: Points of the validation by term, or `None`.
        unlabelled: Inputs without labels, or `None`.
        unlabelled_batch_size: Unlabelled rows per step.
        unlabelled_repeat: Whether a dataset of unlabelled rows repeats.
    """

    points: Any = None
    points_batch_size: Any = None
    validation_points: Any = None
    unlabelled: Any = None
    unlabelled_batch_size: Any = None
    unlabelled_repeat: Any = None


@contextlib.contextmanager
def fitting_points(model: Any, fit: dict[str, Any], given: GivenRows) -> Iterator[dict[str, Any]]:
    """Gives a model its point sets for one `fit`; the value is the arguments of `keras.Model.fit`.

    Args:
        model: The model to train.
        fit: Arguments of `keras.Model.fit`, by name.
        given: The rows beside the labelled ones.
    """
    if replicas_of(model) > 1:
        raise NotImplementedError(
            "`fit(points=...)` does not support a `tf.distribute` strategy of several replicas: "
            "train on one device."
        )
    held, executed = model._points, model.steps_per_execution
    try:
        yield _prepared(model, fit, given)
    finally:
        model.test_function, held.are_active = None, False
        model.steps_per_execution = executed


def _prepared(model: Any, fit: dict[str, Any], given: GivenRows) -> dict[str, Any]:
    """Gives a model its point sets, and returns the arguments of `keras.Model.fit`."""
    held, like = model._points, input_specs(model)
    sources, held_out = PointSources(), PointSources()
    if given.validation_points is not None:
        name = "validation_points"
        held_out = point_arrays(model, given.validation_points, name, like)
    if given.points is not None:
        seed = lasting_seed(model.optimizer) if fit["shuffle"] else None
        sources = point_sources(model, given.points, given.points_batch_size, seed, like)
    if given.points is not None and fit["x"] is None and given.unlabelled is None:
        check_no_labels({name: fit[name] for name in OF_LABELLED_ROWS})
        check_rows_for_all(model, sources.terms)
        fit = fit | {"steps_per_epoch": fit["steps_per_epoch"] or steps_per_epoch(model)}
        _choose_steps_per_execution(model, fit)
        fit = points_alone(model, fit, sources)
    elif given.points is not None or given.unlabelled is not None:
        of_unlabelled = (given.unlabelled, given.unlabelled_batch_size, given.unlabelled_repeat)
        points = None if given.points is None else sources
        if points and fit["steps_per_epoch"] and not is_stream(fit["x"]):
            _choose_steps_per_execution(model, fit)
        fit = pair(model, fit, *of_unlabelled, points=points)
    has_validation = fit["validation_data"] is not None or fit["validation_split"]
    if given.validation_points is not None and not has_validation:
        fit = fit | {"validation_data": one_step(), "validation_steps": None}
    held.set(sources, held_out)
    if held.must_trace_again(model.steps_per_execution) and model.train_function is not None:
        model.make_train_function(force=True)
    # The steps of validation depend on the points, and their data do not tell which.
    model.test_function, held.are_active = None, True
    return fit


def _choose_steps_per_execution(model: Any, fit: dict[str, Any]) -> None:
    chosen = steps_per_execution(model, fit["steps_per_epoch"], fit["callbacks"])
    model.steps_per_execution = chosen


def input_specs(model: keras.Model) -> Any:
    """Returns the specs of a functional model's inputs, floats in Keras' float type, or `None`."""
    if not isinstance(model, Functional):
        return None

    def spec(tensor: Any) -> Any:
        is_float = keras.backend.is_float_dtype(tensor.dtype)
        dtype = keras.config.floatx() if is_float else tensor.dtype
        return keras.KerasTensor(tensor.shape, dtype=dtype)

    return keras.tree.map_structure(spec, model.input)


def check_no_labels(given: dict[str, Any]) -> None:
    """Raises if an argument about labelled rows is given where there are none.

    Args:
        given: These arguments, by name.
    """
    for name, value in given.items():
        if value is not None and not (name == "validation_split" and not value):
            raise ValueError(
                f"`{name}` is for labelled rows, but `x` is None. Give `x`, or leave it out"
                + (": points per step are `points_batch_size`" if name == "batch_size" else "")
                + f". {received(name, value)}"
            )
