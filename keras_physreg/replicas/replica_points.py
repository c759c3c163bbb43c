"""ReplicaPoints: point sets of replicas, whole in every step or in batches."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import GeneratorType
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.errors import is_whole, received, whole_number
from keras_physreg.inspection import find_terms
from keras_physreg.models.fit_points import input_specs
from keras_physreg.models.physics_model import PhysicsModel
from keras_physreg.models.step_counts import DEFAULT_STEPS_PER_EPOCH
from keras_physreg.replicas.array_rows import ArrayRows
from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.drawn_rows import DrawnRows
from keras_physreg.unlabelled.checks import check_no_options
from keras_physreg.unlabelled.input_rows import NoRows, Rows
from keras_physreg.unlabelled.point_sets import ModelPoints
from keras_physreg.unlabelled.point_sources import (
    PointSources,
    check_rows_for_all,
    point_arrays,
    point_sources,
)
from keras_physreg.unlabelled.sources import ArraySource, SamplerSource


@dataclass(frozen=True)
class ReplicaPoints:
    """The point sets of a training.

    Args:
        held: The point sets, in the form that the steps of a model use.
        streamed: Those that are not the same in every step, by term.
        has_rows: Whether there are labelled rows, too.
        unscored: Logs that the validation lacks, because their terms have points there only in
            training.
    """

    held: ModelPoints
    streamed: dict[str, ArrayRows | DrawnRows]
    has_rows: bool
    unscored: frozenset[str]

    @contextlib.contextmanager
    def in_use(self, model: Any) -> Iterator[None]:
        """Gives the model these point sets; afterwards it has its own again, and its functions."""
        own, functions = model._points, (model.train_function, model.test_function)
        model._points, self.held.are_active = self.held, True
        # They may have been traced for the model's own point sets.
        model.train_function = model.test_function = None
        try:
            yield
        finally:
            model._points, self.held.are_active = own, False
            model.train_function, model.test_function = functions

    def training(self, train: Batches, steps: int) -> Batches:
        """Returns the training data for steps with these points.

        Args:
            train: Labelled data, which are replaced if there are none.
            steps: Steps per epoch without labelled rows.
        """
        if not self.held.training.terms:
            return train
        x, *others = train.data
        if not self.has_rows:
            return Batches((Rows(_no_rows(steps), (), {}), None, None), 1)
        return Batches((Rows(x, (), {}), *others), train.batch_size)

    def validation(self, held_out: Batches | None) -> Batches | None:
        """Returns the held-out data: one step without rows if there are points alone."""
        if held_out is not None or not self.held.validation.terms:
            return held_out
        return Batches((Rows(_no_rows(1), (), {}), None, None), 1)


def rows_to_build_on(x: Any, points: Any, batch_size: Any = None) -> Any:
    """Returns inputs for the first call of a model: labelled rows, or else some points.

    Args:
        x: Labelled inputs, or `None`.
        points: Points by term.
        batch_size: `points_batch_size` of `fit`.
    """
    if x is not None:
        return x
    if not isinstance(points, Mapping) or not points:
        raise ValueError(
            "`fit` needs rows: inputs `x`, or a dict of `points` for every term. "
            f"{received('points', points)}"
        )
    check_in_memory(points)
    term, rows = next(iter(points.items()))
    if not callable(rows):
        return rows
    size: Any = batch_size.get(term) if isinstance(batch_size, Mapping) else batch_size
    return rows(0, size if is_whole(size) and size > 0 else 1)


def check_before_build(model: keras.Model, points: Any, batch_size: Any) -> None:
    """Raises if points do not fit the inputs of a functional model: its first call says less.

    Args:
        model: The model.
        points: Points by term, or `None`.
        batch_size: `points_batch_size` of `fit`.
    """
    like = input_specs(model)
    if points is not None and like is not None:
        point_sources(model, points, batch_size, None, like)


def replica_points(
    model: keras.Model,
    points: Any,
    batch_size: Any,
    validation_points: Any,
    has_rows: bool,
    is_scored: bool,
) -> ReplicaPoints | None:
    """Returns the checked point sets of replicas; `None` if there are none.

    Args:
        model: A built model.
        points: Arrays or samplers by term, or `None`.
        batch_size: Points per step: a number, a dict of numbers by term, or `None`.
        validation_points: Arrays by term for the validation, or `None`.
        has_rows: Whether there are labelled rows.
        is_scored: Whether there are held-out labelled rows.
    """
    if points is None:
        check_no_options("points", points_batch_size=batch_size)
    if points is None and validation_points is None:
        return None
    if not isinstance(model, PhysicsModel):
        raise TypeError(
            "`points` needs a `keras_physreg.PhysicsModel`. Received: a model of type "
            f"{type(model)}"
        )
    like = input_specs(model)
    sources, held_out = PointSources(), PointSources()
    if points is not None:
        check_in_memory(points)
        sources = point_sources(model, points, batch_size, None, like)
    if validation_points is not None:
        held_out = point_arrays(model, validation_points, "validation_points", like)
    held = _held(sources, held_out)
    if not has_rows:
        check_rows_for_all(model, held.training.terms)
    every = held.training.terms if is_scored else tuple(find_terms(model))
    unscored = frozenset(f"{name}_loss" for name in every if name not in held.validation.terms)
    return ReplicaPoints(held, _streamed(sources), has_rows, unscored)


# The point sets that were used last: programs read their variables, and are known by them.
_held_last: deque[ModelPoints] = deque(maxlen=4)


def _held(training: PointSources, validation: PointSources) -> ModelPoints:
    """Returns these point sets; those of an earlier training if they are equal."""
    for known in _held_last:
        if known.holds(training, validation):
            return known
    held = ModelPoints()
    held.set(training, validation)
    _held_last.append(held)
    return held


def check_in_memory(points: Any) -> None:
    """Raises if points are given as a dataset."""
    for term, given in points.items() if isinstance(points, Mapping) else ():
        if isinstance(given, tf.data.Dataset | keras.utils.PyDataset | GeneratorType):
            raise TypeError(
                f"`points[{term!r}]` must be arrays or a sampler `(step, batch) -> inputs`, as "
                "replicas are trained on data in memory. Join the rows of a dataset with "
                f"`numpy.concatenate`. {received(f'points[{term!r}]', given)}"
            )


def _streamed(sources: PointSources) -> dict[str, ArrayRows | DrawnRows]:
    """Returns the points that are not the same in every step, by term."""
    found: dict[str, ArrayRows | DrawnRows] = {}
    for term, source in sources.streamed.items():
        if isinstance(source, ArraySource):
            shift = 1 + sources.terms.index(term)  # As `fit` shifts the seeds of orders.
            found[term] = ArrayRows(source.tensors, source.batch_size, shift)
        elif isinstance(source, SamplerSource):
            found[term] = DrawnRows(source)
    return found


def steps_without_rows(x: Any, steps_per_epoch: int | None) -> int:
    """Returns the steps per epoch of a training without labelled rows."""
    steps = whole_number("steps_per_epoch", steps_per_epoch, optional=True)
    if x is not None and steps is not None:
        raise ValueError(
            "`steps_per_epoch` is for a training on points alone: with `x`, an epoch sees all rows "
            f"once. {received('steps_per_epoch', steps_per_epoch)}"
        )
    return steps or DEFAULT_STEPS_PER_EPOCH


def _no_rows(steps: int) -> NoRows:
    return NoRows(tf.zeros((steps,), tf.int32))
