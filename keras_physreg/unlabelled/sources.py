"""Where the unlabelled rows of a step come from: arrays, a dataset or a sampler."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.row_order import RowStream, unlabelled_order

PEEKED = 2  # Batches of a `PyDataset` that Keras looks at before it trains.


class Source(Protocol):
    """Gives each step its unlabelled rows.

    A source is asked twice, so that what is costly may run ahead and in parallel: `keys` names
    what each step gets, and `batch` fetches it.
    """

    spec: Any
    runs_ahead: bool

    def keys(self, first: int, steps: int) -> np.ndarray:
        """Returns what `batch` takes in some steps: int64 of shape `(steps, ...)`.

        Args:
            first: Number of steps taken before.
            steps: Number of steps.
        """

    def batch(self, key: Any) -> Any:
        """Returns a batch of inputs, inside of `tf.data`."""

    def at(self, step: int) -> Any:
        """Returns the batch of inputs of a step, outside of it."""


class ArraySource:
    """Rows of arrays in memory, shuffled and repeated.

    Args:
        tensors: Tensors of shape `(rows, ...)`, in any structure.
        batch_size: Rows a step.
        seed: Seed of their order, or `None`: as they are given.
    """

    runs_ahead = True

    def __init__(self, tensors: Any, batch_size: int, seed: int | None) -> None:
        self.tensors, self.batch_size, rows = tensors, batch_size, arrays.size(tensors)
        order = None if seed is None else lambda n: unlabelled_order(seed, n, rows)
        self.stream = RowStream(rows, order)
        self.spec = keras.tree.map_structure(
            lambda t: tf.TensorSpec((batch_size, *t.shape[1:]), t.dtype), tensors
        )

    def keys(self, first: int, steps: int) -> np.ndarray:
        """Returns the row numbers of the steps."""
        rows = self.stream.take(first * self.batch_size, steps * self.batch_size)
        return rows.reshape(steps, self.batch_size)

    def batch(self, key: Any) -> Any:
        """Returns the rows of these numbers."""
        return arrays.gather(self.tensors, key)

    def at(self, step: int) -> Any:
        """Returns the rows of a step."""
        return self.batch(self.stream.take(step * self.batch_size, self.batch_size))


class SamplerSource:
    """Rows that a function draws.

    Args:
        sampler: Function `(step, batch) -> inputs`.
        batch_size: Rows a step.
    """

    runs_ahead = False  # The function need not serve two threads at once.

    def __init__(self, sampler: Callable[[int, int], Any], batch_size: int) -> None:
        self.sampler, self.batch_size = sampler, batch_size
        drawn = self._draw(0)
        self.spec = keras.tree.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), drawn)

    def keys(self, first: int, steps: int) -> np.ndarray:
        """Returns the numbers of the steps."""
        return np.arange(first, first + steps)

    def batch(self, key: Any) -> Any:
        """Returns what the sampler draws."""
        specs = keras.tree.flatten(self.spec)
        drawn = tf.numpy_function(self._flat, [key], [spec.dtype for spec in specs])
        shaped = [tf.ensure_shape(a, s.shape) for a, s in zip(drawn, specs, strict=True)]
        return keras.tree.pack_sequence_as(self.spec, shaped)

    def at(self, step: int) -> Any:
        """Returns what the sampler draws for a step."""
        drawn = self._flat(step)
        return keras.tree.pack_sequence_as(self.spec, [tf.convert_to_tensor(a) for a in drawn])

    def _flat(self, step: Any) -> list[np.ndarray]:
        drawn, wanted = keras.tree.flatten(self._draw(step)), keras.tree.flatten(self.spec)
        got = [(a.shape, a.dtype) for a in drawn]
        if got != [(tuple(spec.shape), spec.dtype.as_numpy_dtype) for spec in wanted]:
            raise ValueError(
                "The sampler given as `unlabelled` must return arrays of one shape and dtype at "
                f"every step. At step 0: {wanted}. At step {int(step)}: {got}."
            )
        return drawn

    def _draw(self, step: Any) -> Any:
        drawn = self.sampler(int(step), self.batch_size)
        tensors = arrays.as_tensors(drawn, "unlabelled(step, batch)")
        if arrays.size(tensors) != self.batch_size:
            raise ValueError(
                f"The sampler given as `unlabelled` was asked for batch={self.batch_size} rows. "
                f"Received: {arrays.size(tensors)} rows."
            )
        return keras.tree.map_structure(keras.ops.convert_to_numpy, tensors)


class DatasetSource:
    """Batches of a `tf.data.Dataset`, which goes on from one epoch to the next.

    Args:
        dataset: Yields batches of inputs.
        repeat: Whether it begins again where it ends; else its end is an error.
    """

    runs_ahead = False  # The batches come from one iterator, in its order.

    def __init__(self, dataset: tf.data.Dataset, repeat: bool) -> None:
        if next(iter(dataset.take(1)), None) is None:
            raise ValueError("The dataset given as `unlabelled` is empty.")
        self.spec = dataset.element_spec
        self._iterator = iter(dataset.repeat() if repeat else dataset.concatenate(_end(dataset)))
        self._peeked: dict[int, Any] = {}
        self._asked = 0
        self._lock = threading.Lock()

    def keys(self, first: int, steps: int) -> np.ndarray:
        """Returns numbers, which the dataset, with a place of its own, does not need."""
        return np.arange(first, first + steps)

    def batch(self, key: Any) -> Any:
        """Returns the next batch."""
        return self._iterator.get_next()

    def at(self, step: int) -> Any:
        """Returns the next batch; for a step that Keras has peeked at, the same once more."""
        with self._lock:
            if step in self._peeked:
                return self._peeked.pop(step)
            batch = self._iterator.get_next()
            if self._asked < PEEKED:
                self._peeked[step] = batch
            self._asked += 1
            return batch


def _end(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a dataset of the same elements that raises where the first one is asked for."""
    message = (
        "The dataset given as `unlabelled` has ended, and `unlabelled_repeat=False`. Let it "
        "repeat, or give it as many batches as there are training steps."
    )

    @tf.autograph.experimental.do_not_convert
    def fail(*element: Any) -> Any:
        with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
            return tf.nest.map_structure(tf.identity, element if len(element) > 1 else element[0])

    return dataset.take(1).repeat().map(fail)
