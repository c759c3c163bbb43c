"""Makes arguments of `keras.Model.fit` from those of `PhysicsModel.fit`."""

from __future__ import annotations

import math
import random
from types import GeneratorType
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.unlabelled import arrays, checks, pairing
from keras_physreg.unlabelled.input_rows import check_alike, without_nones
from keras_physreg.unlabelled.row_order import lasting_seed
from keras_physreg.unlabelled.sources import ArraySource, DatasetSource, SamplerSource, Source
from keras_physreg.unlabelled.steps_done import StepsDone

BATCH_SIZE = 32  # That of `keras.Model.fit`.


def pair(
    model: keras.Model,
    fit: dict[str, Any],
    unlabelled: Any,
    batch_size: Any = None,
    repeat: Any = None,
) -> dict[str, Any]:
    """Returns the arguments of `fit` with unlabelled rows in its data.

    Args:
        model: The model to train.
        fit: Arguments of `keras.Model.fit`, by name.
        unlabelled: Arrays, a `tf.data.Dataset` of batches, or a sampler `(step, batch) -> x`.
        batch_size: Unlabelled rows per step, or `None`.
        repeat: Whether a dataset begins again where it ends, or `None`.
    """
    checks.check_usable(model)
    checks.check_batch_size(batch_size)
    if fit.get("x") is None:
        raise ValueError("`unlabelled` rows join labelled ones: give `x`, too. Received: x=None")
    shuffle = fit.get("shuffle", True)
    # As Keras draws its seeds: from Python's generator.
    seed = random.getrandbits(31) if shuffle else None
    seed_of_unlabelled = lasting_seed(model.optimizer) if shuffle else None
    known = fit if _is_stream(fit["x"]) else _with_tensors(fit)
    size = batch_size or _labelled_batch_size(known)
    source = as_source(unlabelled, batch_size, size, seed_of_unlabelled, repeat)
    rows = pairing.Unlabelled(source, StepsDone(model))
    known = known | {"callbacks": _with_counter(fit.get("callbacks"), rows.done, model)}
    if isinstance(fit["x"], (keras.utils.PyDataset, GeneratorType)):
        return known | {"x": _pair_python(model, fit["x"], rows)}
    if isinstance(fit["x"], tf.data.Dataset):
        paired = _pair_dataset(model, known, rows)
    else:
        paired = _pair_arrays(model, known, rows, seed)
    return paired | {"x": _over_replicas(model, paired["x"], source, paired)}


def as_source(unlabelled: Any, given: Any, size: int, seed: int | None, repeat: Any) -> Source:
    """Returns the source of what `fit` is given as `unlabelled`.

    Args:
        unlabelled: As in `fit`.
        given: The batch size that was asked for, or `None`.
        size: Rows per step, where the data do not say it themselves.
        seed: Seed of the rows' order, or `None`.
        repeat: Whether a dataset begins again where it ends; `None`: it does.
    """
    is_dataset = isinstance(unlabelled, tf.data.Dataset)
    if repeat is not None and not is_dataset:
        raise ValueError(
            "`unlabelled_repeat` is for a `tf.data.Dataset`; arrays always repeat, and samplers "
            f"never end. Received: unlabelled of type {type(unlabelled)}"
        )
    if is_dataset:
        if given is not None:
            raise ValueError(
                "A `tf.data.Dataset` given as `unlabelled` brings its own batches: leave "
                f"`unlabelled_batch_size` out. Received: unlabelled_batch_size={given}"
            )
        return DatasetSource(unlabelled, repeat is None or bool(repeat))
    if _is_stream(unlabelled):
        raise TypeError(
            "`unlabelled` must be arrays, a `tf.data.Dataset` of batches, or a sampler "
            f"`(step, batch) -> inputs`. Received: an object of type {type(unlabelled)}"
        )
    if callable(unlabelled):
        return SamplerSource(unlabelled, size)
    tensors = arrays.as_tensors(unlabelled, "unlabelled")
    return ArraySource(tensors, min(size, arrays.size(tensors)), seed)


def _is_stream(data: Any) -> bool:
    """Returns whether data bring their own batches."""
    return isinstance(data, (tf.data.Dataset, keras.utils.PyDataset, GeneratorType))


def _with_tensors(fit: dict[str, Any]) -> dict[str, Any]:
    """Converts the labelled arrays, and splits the validation rows off them, as Keras does."""
    x, y, sample_weight = (fit.get(name) for name in ("x", "y", "sample_weight"))
    if fit.get("shuffle") == "batch":
        raise ValueError("With `unlabelled`, `shuffle` must be True or False. Received: 'batch'")
    y = keras.tree.lists_to_tuples(y)
    if keras.tree.is_nested(y) and not keras.tree.is_nested(sample_weight):
        sample_weight = keras.tree.map_structure(lambda _: sample_weight, y)
    tensors = arrays.as_tensors((x, y, sample_weight), "x, y, sample_weight")
    rows = arrays.size(tensors)
    taken = dict(zip(("x", "y", "sample_weight"), tensors, strict=True))
    batch_size = fit.get("batch_size")
    if not batch_size:
        steps = fit.get("steps_per_epoch")
        batch_size = math.ceil(rows / steps) if steps else BATCH_SIZE
    more = {"batch_size": batch_size}
    if fit.get("validation_batch_size") is None:
        more["validation_batch_size"] = fit.get("batch_size")
    split = fit.get("validation_split", 0.0)
    if split and fit.get("validation_data") is None:
        trained = _rows_to_train(rows, split)
        held_out = arrays.gather(tensors, np.arange(trained, rows))
        taken = {name: arrays.gather(part, np.arange(trained)) for name, part in taken.items()}
        more |= {"validation_data": without_nones(held_out), "validation_split": 0.0}
    return fit | taken | more


def _rows_to_train(rows: int, split: float) -> int:
    trained = math.floor(rows * (1.0 - split))
    if not 0 < trained < rows:
        raise ValueError(
            f"`validation_split` leaves no row to train or to validate on. Received: "
            f"validation_split={split} for {rows} rows."
        )
    return trained


def _labelled_batch_size(fit: dict[str, Any]) -> int:
    """Returns the rows of a labelled batch, or Keras' default where they are unknown."""
    if not _is_stream(fit["x"]):
        return fit["batch_size"]
    if isinstance(fit["x"], tf.data.Dataset):
        first = keras.tree.flatten(fit["x"].element_spec)[0]
        return (first.shape[0] if first.shape.rank else None) or BATCH_SIZE
    return BATCH_SIZE


def _pair_dataset(
    model: keras.Model, fit: dict[str, Any], rows: pairing.Unlabelled
) -> dict[str, Any]:
    x, steps = fit["x"], fit.get("steps_per_epoch")
    check_alike(keras.utils.unpack_x_y_sample_weight(x.element_spec)[0], rows.source.spec)
    if _replicas(model) > 1 and steps is None:
        # `tf.distribute` would take a step more, on no rows, to see that an epoch has ended.
        steps = int(x.cardinality())
        if steps < 0:
            raise ValueError(
                "With `unlabelled` under a `tf.distribute` strategy, a dataset must know how many "
                f"batches it has: give `steps_per_epoch`. Received: x={x}"
            )
        x = x.repeat()
    return fit | {"x": pairing.paired_dataset(x, rows), "steps_per_epoch": steps}


def _pair_arrays(
    model: keras.Model, fit: dict[str, Any], rows: pairing.Unlabelled, seed: int | None
) -> dict[str, Any]:
    x, batch_size = fit["x"], fit["batch_size"]
    check_alike(x, rows.source.spec)
    data = without_nones((x, fit["y"], fit["sample_weight"]))
    dataset = pairing.paired_arrays(data, batch_size, seed, rows)
    steps = math.ceil(arrays.size(x) / batch_size)
    taken = {"y": None, "sample_weight": None, "batch_size": None, "shuffle": False}
    asked, alone = fit.get("steps_per_epoch"), _replicas(model) == 1
    if not alone or not (asked or steps % model.steps_per_execution):
        # One iterator for all epochs: to begin one takes as long as many steps.
        return fit | taken | {"x": dataset, "steps_per_epoch": asked or steps}
    # Where steps are asked for, it may end within an epoch, as in `keras.Model.fit`.
    epoch = dataset.take(steps).apply(tf.data.experimental.assert_cardinality(steps))
    return fit | taken | {"x": epoch}


def _pair_python(model: keras.Model, x: Any, rows: pairing.Unlabelled) -> Any:
    if _replicas(model) > 1:
        raise ValueError(
            "With `unlabelled` under a `tf.distribute` strategy, give `x` as arrays or as a "
            f"`tf.data.Dataset`. Received: x of type {type(x)}"
        )
    if isinstance(x, GeneratorType):
        return pairing.paired_generator(x, rows)
    if x.use_multiprocessing:
        raise ValueError(
            "`unlabelled` rows cannot join a `PyDataset` that runs in other processes: use "
            "`use_multiprocessing=False`; several `workers` (threads) are fine."
        )
    return pairing.PairedSequence(x, rows)


def _over_replicas(
    model: keras.Model, dataset: tf.data.Dataset, source: Source, fit: dict[str, Any]
) -> Any:
    replicas = _replicas(model)
    if replicas == 1:
        return dataset
    sizes = {spec.shape[0] for spec in keras.tree.flatten(source.spec)}
    if bad := [size for size in sizes if size is not None and size % replicas]:
        raise ValueError(
            f"The unlabelled rows of a step must split evenly over the {replicas} replicas of the "
            f"`tf.distribute` strategy. Received: {bad[0]} rows."
        )
    if fit.get("class_weight") is not None:
        raise ValueError(
            "With `unlabelled` under a `tf.distribute` strategy `class_weight` is not supported: "
            "give each row its `sample_weight`."
        )
    if (fit["steps_per_epoch"] or 1) % model.steps_per_execution:
        raise ValueError(
            "With `unlabelled` under a `tf.distribute` strategy, `steps_per_execution` must divide "
            f"the steps of an epoch. Received: steps_per_execution={model.steps_per_execution} "
            f"for {fit['steps_per_epoch']} steps."
        )
    return pairing.over_replicas(dataset, model.distribute_strategy)


def _replicas(model: keras.Model) -> int:
    strategy = getattr(model, "distribute_strategy", None)
    return 1 if strategy is None else strategy.num_replicas_in_sync


def _with_counter(callbacks: Any, done: StepsDone, model: keras.Model) -> Any:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return keras.callbacks.CallbackList([done, callbacks], model=model)
    return [*(callbacks or []), done]
