"""Turns the arguments of `PhysicsModel.fit` into those of `keras.Model.fit`."""

from __future__ import annotations

import math
import random
from types import GeneratorType
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.errors import received
from keras_physreg.unlabelled import arrays, checks, pairing
from keras_physreg.unlabelled.batch_counter import BatchCounter
from keras_physreg.unlabelled.input_rows import check_alike, without_nones
from keras_physreg.unlabelled.joined_source import JoinedSource
from keras_physreg.unlabelled.point_sources import PointSources
from keras_physreg.unlabelled.row_order import lasting_seed
from keras_physreg.unlabelled.sources import ArraySource, DatasetSource, SamplerSource, Source

DEFAULT_BATCH_SIZE = 32  # As in `keras.Model.fit`.


def pair(
    model: keras.Model,
    fit: dict[str, Any],
    unlabelled: Any,
    batch_size: Any = None,
    repeat: Any = None,
    points: PointSources | None = None,
) -> dict[str, Any]:
    """Returns the arguments of `fit` with labelled rows and those beside them paired in `x`.

    Args:
        model: The model to train.
        fit: Arguments of `keras.Model.fit`, by name.
        unlabelled: Arrays, a `tf.data.Dataset` of batches, or a sampler `(step, batch) -> x`.
        batch_size: Unlabelled rows per step, or `None`.
        repeat: Whether a dataset repeats after its end; `None`: it does.
        points: Point sets, or `None`. Then `unlabelled` may be `None`.
    """
    if unlabelled is not None:
        checks.check_label_free_terms(model, () if points is None else points.terms)
    checks.check_batch_size(batch_size)
    if fit.get("x") is None:
        raise ValueError("`unlabelled` rows need labelled ones: give `x`, too. Received: x=None")
    shuffle = fit.get("shuffle", True)
    # From Python's generator, as Keras draws its seeds.
    seed = random.getrandbits(31) if shuffle else None
    seed_of_unlabelled = lasting_seed(model.optimizer) if shuffle else None
    known = fit if is_stream(fit["x"]) else _with_tensors(fit)
    size = batch_size or _labelled_batch_size(known)
    source: Any = None
    if unlabelled is not None:
        source = as_source(unlabelled, batch_size, size, seed_of_unlabelled, repeat)
    if points is not None:
        source = JoinedSource(source, points.streamed)
    rows = pairing.Unlabelled(source, BatchCounter(model))
    known = known | {"callbacks": _with_counter(fit.get("callbacks"), rows.counter, model)}
    if isinstance(fit["x"], (keras.utils.PyDataset, GeneratorType)):
        return known | {"x": _pair_python(model, fit["x"], rows)}
    if isinstance(fit["x"], tf.data.Dataset):
        paired = _pair_dataset(model, known, rows)
    else:
        paired = _pair_arrays(model, known, rows, seed)
    return paired | {"x": _over_replicas(model, paired["x"], source, paired)}


def points_alone(model: keras.Model, fit: dict[str, Any], points: PointSources) -> dict[str, Any]:
    """Returns the arguments of `fit` for steps that have no rows but those of point sets.

    Args:
        model: The model to train.
        fit: Arguments of `keras.Model.fit`, by name.
        points: The point sets.
    """
    rows = pairing.Unlabelled(JoinedSource(None, points.streamed), BatchCounter(model))
    return fit | {
        "x": pairing.without_labels(rows),
        "shuffle": False,
        "callbacks": _with_counter(fit.get("callbacks"), rows.counter, model),
    }


def as_source(unlabelled: Any, given: Any, size: int, seed: int | None, repeat: Any) -> Source:
    """Returns the source of the rows that `fit` received as `unlabelled`.

    Args:
        unlabelled: As in `fit`.
        given: `unlabelled_batch_size` as received, or `None`.
        size: Rows per step for arrays and samplers.
        seed: Seed of the order of the rows; `None`: the given order.
        repeat: Whether a dataset repeats after its end; `None`: it does.
    """
    is_dataset = isinstance(unlabelled, tf.data.Dataset)
    if repeat is not None and not is_dataset:
        raise ValueError(
            "`unlabelled_repeat` applies to a `tf.data.Dataset` only: arrays always repeat, and "
            "samplers have no end. Leave it out. Received: unlabelled of type "
            f"{type(unlabelled)}"
        )
    if is_dataset:
        if given is not None:
            raise ValueError(
                "A `tf.data.Dataset` given as `unlabelled` has its own batches: leave "
                f"`unlabelled_batch_size` out. {received('unlabelled_batch_size', given)}"
            )
        return DatasetSource(unlabelled, repeat is None or bool(repeat))
    if is_stream(unlabelled):
        raise TypeError(
            "`unlabelled` must be arrays, a `tf.data.Dataset` of batches, or a sampler "
            f"`(step, batch) -> inputs`. {received('unlabelled', unlabelled)}"
        )
    if callable(unlabelled):
        return SamplerSource(unlabelled, size)
    tensors = arrays.as_tensors(unlabelled, "unlabelled")
    return ArraySource(tensors, min(size, arrays.size(tensors)), seed)


def _check_alike(x: Any, source: Any) -> None:
    if isinstance(source, JoinedSource):
        source.check(x)
    else:
        check_alike(x, source.spec)


def is_stream(data: Any) -> bool:
    """Returns whether data come in batches of their own."""
    return isinstance(data, (tf.data.Dataset, keras.utils.PyDataset, GeneratorType))


def _with_tensors(fit: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments with labelled arrays as tensors, without their validation rows."""
    x, y, sample_weight = (fit.get(name) for name in ("x", "y", "sample_weight"))
    if fit.get("shuffle") == "batch":
        raise ValueError(
            f"With `unlabelled`, `shuffle` must be True or False. {received('shuffle', 'batch')}"
        )
    y = keras.tree.lists_to_tuples(y)
    if keras.tree.is_nested(y) and not keras.tree.is_nested(sample_weight):
        sample_weight = keras.tree.map_structure(lambda _: sample_weight, y)
    tensors = arrays.as_tensors((x, y, sample_weight), "x, y, sample_weight")
    rows = arrays.size(tensors)
    taken = dict(zip(("x", "y", "sample_weight"), tensors, strict=True))
    batch_size = fit.get("batch_size")
    if not batch_size:
        steps = fit.get("steps_per_epoch")
        batch_size = math.ceil(rows / steps) if steps else DEFAULT_BATCH_SIZE
    more = {"batch_size": batch_size}
    if fit.get("validation_batch_size") is None:
        more["validation_batch_size"] = fit.get("batch_size")
    split = fit.get("validation_split", 0.0)
    if split and fit.get("validation_data") is None:
        trained = _training_rows(rows, split)
        held_out = arrays.gather(tensors, np.arange(trained, rows))
        taken = {name: arrays.gather(part, np.arange(trained)) for name, part in taken.items()}
        more |= {"validation_data": without_nones(held_out), "validation_split": 0.0}
    return fit | taken | more


def _training_rows(rows: int, split: float) -> int:
    trained = math.floor(rows * (1.0 - split))
    if not 0 < trained < rows:
        raise ValueError(
            "`validation_split` must leave at least one row to train and one to validate on. "
            f"Received: validation_split={split} for {rows} rows."
        )
    return trained


def _labelled_batch_size(fit: dict[str, Any]) -> int:
    """Returns the number of rows in a labelled batch, or Keras' default if it is unknown."""
    if not is_stream(fit["x"]):
        return fit["batch_size"]
    if isinstance(fit["x"], tf.data.Dataset):
        first = keras.tree.flatten(fit["x"].element_spec)[0]
        return (first.shape[0] if first.shape.rank else None) or DEFAULT_BATCH_SIZE
    return DEFAULT_BATCH_SIZE


def _pair_dataset(
    model: keras.Model, fit: dict[str, Any], rows: pairing.Unlabelled
) -> dict[str, Any]:
    x, steps = fit["x"], fit.get("steps_per_epoch")
    _check_alike(keras.utils.unpack_x_y_sample_weight(x.element_spec)[0], rows.source)
    if replicas_of(model) > 1 and steps is None:
        # `tf.distribute` would run one more step, without rows, to find the end of an epoch.
        steps = int(x.cardinality())
        if steps < 0:
            raise ValueError(
                "With `unlabelled` under a `tf.distribute` strategy, `x` must be a dataset of a "
                f"known number of batches, or give `steps_per_epoch`. {received('x', x)}"
            )
        x = x.repeat()
    return fit | {"x": pairing.paired_dataset(x, rows), "steps_per_epoch": steps}


def _pair_arrays(
    model: keras.Model, fit: dict[str, Any], rows: pairing.Unlabelled, seed: int | None
) -> dict[str, Any]:
    x, batch_size = fit["x"], fit["batch_size"]
    _check_alike(x, rows.source)
    data = without_nones((x, fit["y"], fit["sample_weight"]))
    steps = math.ceil(arrays.size(x) / batch_size)
    taken = {"y": None, "sample_weight": None, "batch_size": None, "shuffle": False}
    given, alone = fit.get("steps_per_epoch"), replicas_of(model) == 1
    repeats = bool(given) and isinstance(rows.source, JoinedSource)
    dataset = pairing.paired_arrays(data, batch_size, seed, rows, continues=repeats)
    if repeats:  # Beside points an epoch has the steps that are asked for.
        steps, taken["steps_per_epoch"] = given, None
    if not alone or not ((given and not repeats) or steps % model.steps_per_execution):
        # One iterator for all epochs: a new iterator costs as much time as many steps.
        return fit | taken | {"x": dataset, "steps_per_epoch": given or steps}
    # With `steps_per_epoch` the data may end within an epoch, as in `keras.Model.fit`.
    epoch = dataset.take(steps).apply(tf.data.experimental.assert_cardinality(steps))
    return fit | taken | {"x": epoch}


def _pair_python(model: keras.Model, x: Any, rows: pairing.Unlabelled) -> Any:
    if replicas_of(model) > 1:
        raise ValueError(
            "With `unlabelled` under a `tf.distribute` strategy, `x` must be arrays or a "
            f"`tf.data.Dataset`. {received('x', x)}"
        )
    if isinstance(x, GeneratorType):
        return pairing.paired_generator(x, rows)
    if x.use_multiprocessing:
        raise ValueError(
            "`unlabelled` does not support a `PyDataset` with `use_multiprocessing=True`. Use "
            "`use_multiprocessing=False`; several `workers` (threads) are supported."
        )
    return pairing.PairedSequence(x, rows)


def _over_replicas(
    model: keras.Model, dataset: tf.data.Dataset, source: Source, fit: dict[str, Any]
) -> Any:
    replicas = replicas_of(model)
    if replicas == 1:
        return dataset
    sizes = {spec.shape[0] for spec in keras.tree.flatten(source.spec)}
    if bad := [size for size in sizes if size is not None and size % replicas]:
        raise ValueError(
            "`unlabelled_batch_size` must be a multiple of the number of replicas of the "
            f"`tf.distribute` strategy, {replicas}. Received: {bad[0]} rows per step."
        )
    if fit.get("class_weight") is not None:
        raise ValueError(
            "With `unlabelled` under a `tf.distribute` strategy, `class_weight` is not supported. "
            "Use `sample_weight`."
        )
    if (fit["steps_per_epoch"] or 1) % model.steps_per_execution:
        raise ValueError(
            "With `unlabelled` under a `tf.distribute` strategy, `steps_per_execution` must divide "
            "the number of steps per epoch. Received: "
            f"steps_per_execution={model.steps_per_execution} for {fit['steps_per_epoch']} steps."
        )
    return pairing.over_replicas(dataset, model.distribute_strategy)


def replicas_of(model: keras.Model) -> int:
    """Returns the number of replicas of the strategy that a model was created under."""
    strategy = getattr(model, "distribute_strategy", None)
    return 1 if strategy is None else strategy.num_replicas_in_sync


def _with_counter(callbacks: Any, counter: BatchCounter, model: keras.Model) -> Any:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return keras.callbacks.CallbackList([counter, callbacks], model=model)
    return [*(callbacks or []), counter]
