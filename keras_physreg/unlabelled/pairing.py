"""Pairs the labelled batches of `fit` with unlabelled ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import GeneratorType
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.input_rows import with_unlabelled
from keras_physreg.unlabelled.row_order import row_order
from keras_physreg.unlabelled.sources import Source
from keras_physreg.unlabelled.steps_done import StepsDone

STEPS_AT_ONCE = 64  # Whose keys are drawn together: a call of Python costs some 50 us.


@dataclass(frozen=True)
class Unlabelled:
    """The unlabelled rows of a training.

    Args:
        source: Where they come from.
        done: How far the training is when an epoch begins.
    """

    source: Source
    done: StepsDone


def paired_arrays(
    data: Any, batch_size: int, seed: int | None, unlabelled: Unlabelled
) -> tf.data.Dataset:
    """Returns endless epochs of arrays in batches, each beside an unlabelled one.

    Args:
        data: Tuple `(x[, y[, sample_weight]])` of tensors, or structures of them, of shape
            `(rows, ...)`.
        batch_size: Labelled rows a step; the last step of an epoch has what is left over.
        seed: Seed of their order in each epoch, or `None`: as they are given.
        unlabelled: The unlabelled rows.
    """
    source, rows = unlabelled.source, arrays.size(data)
    steps = math.ceil(rows / batch_size)

    def draw(first: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.arange(rows) if seed is None else row_order(seed, first, rows)
        return numbers.astype("int64"), source.keys(first, steps)

    def epoch(numbers: Any, keys: Any) -> tf.data.Dataset:
        labelled = _batches(tf.ensure_shape(numbers, [rows]), batch_size)
        return tf.data.Dataset.zip((labelled, tf.data.Dataset.from_tensor_slices(keys)))

    def fetch(numbers: Any, key: Any) -> Any:
        return with_unlabelled(arrays.gather(data, numbers), source.batch(key))

    return _fetched(_in_stretches(unlabelled.done, steps, draw, epoch), fetch, source)


def paired_dataset(labelled: tf.data.Dataset, unlabelled: Unlabelled) -> tf.data.Dataset:
    """Returns a dataset of labelled batches, each beside an unlabelled one."""
    source = unlabelled.source

    def draw(first: int) -> tuple[np.ndarray]:
        return (source.keys(first, STEPS_AT_ONCE),)

    keys = _in_stretches(unlabelled.done, STEPS_AT_ONCE, draw, tf.data.Dataset.from_tensor_slices)

    def fetch(data: Any, key: Any) -> Any:
        return with_unlabelled(data, source.batch(key))

    paired = _fetched(tf.data.Dataset.zip((labelled, keys)), fetch, source)
    batches = labelled.cardinality()
    if batches == tf.data.UNKNOWN_CARDINALITY:
        return paired
    return paired.apply(tf.data.experimental.assert_cardinality(batches))


class PairedSequence(keras.utils.PyDataset):
    """Labelled batches of a `keras.utils.PyDataset`, each beside an unlabelled one.

    Args:
        labelled: The labelled batches.
        unlabelled: The unlabelled rows.
    """

    def __init__(self, labelled: keras.utils.PyDataset, unlabelled: Unlabelled) -> None:
        super().__init__(workers=labelled.workers, max_queue_size=labelled.max_queue_size)
        self._labelled, self._unlabelled = labelled, unlabelled

    @property
    def num_batches(self) -> int | None:
        """The number of labelled batches."""
        return self._labelled.num_batches

    def __getitem__(self, index: int) -> Any:
        # An endless one counts on from epoch to epoch itself.
        first = 0 if self.num_batches is None else self._unlabelled.done.count
        rows = self._unlabelled.source.at(first + index)
        return with_unlabelled(self._labelled[index], rows)

    def on_epoch_begin(self) -> None:
        """Tells the labelled data."""
        self._labelled.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tells the labelled data."""
        self._labelled.on_epoch_end()


def paired_generator(labelled: GeneratorType, unlabelled: Unlabelled) -> Iterator[Any]:
    """Yields labelled batches, each beside an unlabelled one."""
    for step, data in enumerate(labelled, unlabelled.done.count):
        yield with_unlabelled(data, unlabelled.source.at(step))


def over_replicas(dataset: tf.data.Dataset, strategy: Any) -> Any:
    """Splits each batch over the replicas of a strategy, labelled and unlabelled rows alike.

    `tf.distribute` itself splits batches only where all parts have as many rows.
    """
    replicas = strategy.num_replicas_in_sync

    def split(*data: Any) -> tf.data.Dataset:
        def part(number: Any) -> Any:
            return tf.nest.map_structure(lambda t: _part(t, number, replicas), data)

        return tf.data.Dataset.range(replicas).map(part)

    spread = dataset.flat_map(split)
    return strategy.distribute_datasets_from_function(lambda context: spread)


def _part(tensor: Any, number: Any, parts: int) -> Any:
    rows = tf.shape(tensor, tf.int64)[0]
    each = (rows + parts - 1) // parts  # As `tf.distribute` does: the last ones may have fewer.
    return tensor[number * each : (number + 1) * each]


def _batches(numbers: Any, batch_size: int) -> tf.data.Dataset:
    full = numbers.shape[0] // batch_size * batch_size
    batches = tf.data.Dataset.from_tensor_slices(tf.reshape(numbers[:full], [-1, batch_size]))
    if full == numbers.shape[0]:
        return batches
    return batches.concatenate(tf.data.Dataset.from_tensors(numbers[full:]))


def _in_stretches(
    done: StepsDone, steps: int, draw: Callable[[int], tuple], make: Callable[..., tf.data.Dataset]
) -> tf.data.Dataset:
    """Returns an endless dataset that is made stretch by stretch, from what Python draws for each.

    Args:
        done: How far the training is when an iterator begins.
        steps: Steps in a stretch.
        draw: Function from the number of steps taken before a stretch to a tuple of int64 arrays,
            of one shape at every call.
        make: Makes the dataset of a stretch of them.
    """
    begun = [0]

    def numbers(stretch: Any) -> tuple:
        if stretch == 0:
            begun[0] = done.count
        return draw(begun[0] + int(stretch) * steps)

    shapes = [array.shape for array in draw(0)]

    def stretch(number: Any) -> tf.data.Dataset:
        drawn = tf.numpy_function(numbers, [number], [tf.int64] * len(shapes))
        return make(*(tf.ensure_shape(a, shape) for a, shape in zip(drawn, shapes, strict=True)))

    return tf.data.Dataset.counter().flat_map(tf.autograph.experimental.do_not_convert(stretch))


def _fetched(dataset: tf.data.Dataset, fetch: Callable, source: Source) -> tf.data.Dataset:
    options = tf.data.Options()
    # To look for optimizations takes longer than many an epoch.
    options.experimental_optimization.apply_default_optimizations = False
    fetch = tf.autograph.experimental.do_not_convert(fetch)
    if source.runs_ahead:
        dataset = dataset.map(fetch, tf.data.AUTOTUNE, deterministic=True)
        return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
    return dataset.map(fetch).with_options(options)
