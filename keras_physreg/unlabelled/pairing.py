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
from keras_physreg.unlabelled.batch_counter import BatchCounter
from keras_physreg.unlabelled.input_rows import MoreRows, NoRows, with_unlabelled
from keras_physreg.unlabelled.row_order import row_order
from keras_physreg.unlabelled.sources import Source

STEPS_PER_DRAW = 64  # Steps whose keys are drawn together: a call of Python costs about 50 us.


@dataclass(frozen=True)
class Unlabelled:
    """The unlabelled rows of a training.

    Args:
        source: Source of the rows.
        counter: Counts the batches before the present epoch.
    """

    source: Source
    counter: BatchCounter


def paired_arrays(
    data: Any,
    batch_size: int,
    seed: int | None,
    unlabelled: Unlabelled,
    continues: bool = False,
) -> tf.data.Dataset:
    """Returns an endless dataset of epochs: batches of arrays, each paired with an unlabelled one.

    Args:
        data: Tuple `(x[, y[, sample_weight]])` of tensors, or structures of them, of shape
            `(rows, ...)`.
        batch_size: Labelled rows per step; the last step of an epoch has the remaining rows.
        seed: Seed of the order of the rows in each epoch; `None`: the given order.
        unlabelled: The unlabelled rows.
        continues: Whether an epoch of `fit` may begin within a pass through the rows.
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

    return _fetched(_in_blocks(unlabelled.counter, steps, draw, epoch, continues), fetch, source)


def paired_dataset(labelled: tf.data.Dataset, unlabelled: Unlabelled) -> tf.data.Dataset:
    """Returns a dataset of labelled batches, each paired with an unlabelled one."""
    source = unlabelled.source

    def draw(first: int) -> tuple[np.ndarray]:
        return (source.keys(first, STEPS_PER_DRAW),)

    make = tf.data.Dataset.from_tensor_slices
    keys = _in_blocks(unlabelled.counter, STEPS_PER_DRAW, draw, make)

    def fetch(data: Any, key: Any) -> Any:
        return with_unlabelled(data, source.batch(key))

    paired = _fetched(tf.data.Dataset.zip((labelled, keys)), fetch, source)
    batches = labelled.cardinality()
    if batches == tf.data.UNKNOWN_CARDINALITY:
        return paired
    return paired.apply(tf.data.experimental.assert_cardinality(batches))


def without_labels(points: Unlabelled) -> tf.data.Dataset:
    """Returns an endless dataset of steps that have no labelled rows.

    Args:
        points: The rows of the steps, as `MoreRows`.
    """
    source, filler = points.source, NoRows(tf.zeros((), tf.int64))

    def draw(first: int) -> tuple[np.ndarray]:
        return (source.keys(first, STEPS_PER_DRAW),)

    def fetch(key: Any) -> Any:
        return with_unlabelled((filler,), source.batch(key))

    if not source.keys(0, 1).size:
        step = with_unlabelled((filler,), source.at(0))
        return tf.data.Dataset.from_tensors(step).repeat()
    keys = _in_blocks(points.counter, STEPS_PER_DRAW, draw, tf.data.Dataset.from_tensor_slices)
    return _fetched(keys, fetch, source)


def one_step() -> tf.data.Dataset:
    """Returns a dataset of one step without any rows."""
    filler = NoRows(tf.zeros((), tf.int64))
    return tf.data.Dataset.from_tensors(with_unlabelled((filler,), MoreRows((), {})))


class PairedSequence(keras.utils.PyDataset):
    """Labelled batches of a `keras.utils.PyDataset`, each paired with an unlabelled one.

    Args:
        labelled: The labelled batches.
        unlabelled: The unlabelled rows.
    """

    def __init__(self, labelled: keras.utils.PyDataset, unlabelled: Unlabelled) -> None:
        super().__init__(workers=labelled.workers, max_queue_size=labelled.max_queue_size)
        self._labelled, self._unlabelled = labelled, unlabelled

    @property
    def num_batches(self) -> int | None:
        """Number of labelled batches."""
        return self._labelled.num_batches

    def __getitem__(self, index: int) -> Any:
        # The index of an endless dataset continues from epoch to epoch.
        first = 0 if self.num_batches is None else self._unlabelled.counter.count
        rows = self._unlabelled.source.at(first + index)
        return with_unlabelled(self._labelled[index], rows)

    def on_epoch_begin(self) -> None:
        """Calls `on_epoch_begin` of the labelled data."""
        self._labelled.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Calls `on_epoch_end` of the labelled data."""
        self._labelled.on_epoch_end()


def paired_generator(labelled: GeneratorType, unlabelled: Unlabelled) -> Iterator[Any]:
    """Yields labelled batches, each paired with an unlabelled one."""
    for step, data in enumerate(labelled, unlabelled.counter.count):
        yield with_unlabelled(data, unlabelled.source.at(step))


def over_replicas(dataset: tf.data.Dataset, strategy: Any) -> Any:
    """Splits each batch over the replicas of a strategy, labelled and unlabelled rows alike.

    `tf.distribute` itself splits batches only into parts of the same number of rows.
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
    each = (rows + parts - 1) // parts  # As in `tf.distribute`: the last part may have fewer.
    return tensor[number * each : (number + 1) * each]


def _batches(numbers: Any, batch_size: int) -> tf.data.Dataset:
    full = numbers.shape[0] // batch_size * batch_size
    batches = tf.data.Dataset.from_tensor_slices(tf.reshape(numbers[:full], [-1, batch_size]))
    if full == numbers.shape[0]:
        return batches
    return batches.concatenate(tf.data.Dataset.from_tensors(numbers[full:]))


def _in_blocks(
    counter: BatchCounter,
    steps: int,
    draw: Callable[[int], tuple],
    make: Callable[..., tf.data.Dataset],
    continues: bool = False,
) -> tf.data.Dataset:
    """Returns an endless dataset of blocks of steps, each made from arrays drawn by Python.

    Args:
        counter: Counts the steps taken before; read when an iterator begins.
        steps: Number of steps per block.
        draw: Function from the number of steps taken before a block to a tuple of int64 arrays,
            with the same shapes in every call.
        make: Function from these arrays to the dataset of a block.
        continues: Whether an iterator may begin within a block, after the steps taken before.
    """
    first = [0]

    def draw_block(number: Any) -> tuple:
        if number == 0:
            first[0] = counter.count
        taken = first[0] % steps if continues else 0
        drawn = draw(first[0] - taken + int(number) * steps)
        return *drawn, np.int64(taken if number == 0 else 0)

    shapes = [array.shape for array in draw(0)]

    def block(number: Any) -> tf.data.Dataset:
        *drawn, taken = tf.numpy_function(draw_block, [number], [tf.int64] * (len(shapes) + 1))
        known = (tf.ensure_shape(a, shape) for a, shape in zip(drawn, shapes, strict=True))
        made = make(*known)
        return made.skip(tf.ensure_shape(taken, [])) if continues else made

    return tf.data.Dataset.counter().flat_map(tf.autograph.experimental.do_not_convert(block))


def _fetched(dataset: tf.data.Dataset, fetch: Callable, source: Source) -> tf.data.Dataset:
    options = tf.data.Options()
    # The search for optimizations takes longer than a short epoch.
    options.experimental_optimization.apply_default_optimizations = False
    fetch = tf.autograph.experimental.do_not_convert(fetch)
    if source.runs_ahead:
        dataset = dataset.map(fetch, tf.data.AUTOTUNE, deterministic=True)
        return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
    return dataset.map(fetch).with_options(options)
