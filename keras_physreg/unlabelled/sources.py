"""Sources of unlabelled rows: arrays, a dataset or a sampler."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.errors import received
from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.row_order import RowStream, unlabelled_order

MAX_PEEKED_BATCHES = 2  # Batches of a `PyDataset` that Keras reads before training.


class Source(Protocol):
    """Provides the unlabelled rows of each step.

    It works in two stages: `keys` determines the batch of each step, and `batch` fetches it. The
    second, costly stage may run ahead and in parallel.

    Attributes:
        spec: Structure of `tf.TensorSpec` of a batch.
        runs_ahead: Whether `batch` may run ahead and in parallel.
    """

    spec: Any
    runs_ahead: bool

    def keys(self, first: int, steps: int) -> np.ndarray:
        """Returns the arguments of `batch` for some steps: int64 of shape `(steps, ...)`.

        Args:
            first: Number of steps taken before.
            steps: Number of steps.
        """

    def batch(self, key: Any) -> Any:
        """Returns a batch of inputs, inside a `tf.data` pipeline."""

    def at(self, step: int) -> Any:
        """Returns the batch of inputs of a step, outside a `tf.data` pipeline."""


class ArraySource:
    """Rows of arrays in memory, shuffled and repeated.

    Args:
        tensors: Tensors of shape `(rows, ...)`, in any structure.
        batch_size: Rows per step.
        seed: Seed of the order of the rows; `None`: the given order.
    """

    runs_ahead = True

    def __init__(self, tensors: Any, batch_size: int, seed: int | None) -> None:
        self.tensors, self.batch_size, rows = tensors, batch_size, arrays.size(tensors)
        order = None if seed is None else lambda n: unlabelled_order(seed, n, rows)
        self.stream = RowStream(rows, order)
        self.spec = arrays.specs(tensors, batch_size)

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
        batch_size: Rows per step.
        name: The argument that it was given as.
    """

    runs_ahead = False  # The function may not be thread-safe.

    def __init__(
        self, sampler: Callable[[int, int], Any], batch_size: int, name: str = "unlabelled"
    ) -> None:
        self.sampler, self.batch_size, self._name = sampler, batch_size, name
        drawn = self._draw(0)
        self.spec = keras.tree.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), drawn)

    def keys(self, first: int, steps: int) -> np.ndarray:
        """Returns the numbers of the steps."""
        return np.arange(first, first + steps)

    def batch(self, key: Any) -> Any:
        """Returns the batch that the sampler draws."""
        specs = keras.tree.flatten(self.spec)
        drawn = tf.numpy_function(self._flat, [key], [spec.dtype for spec in specs])
        shaped = [tf.ensure_shape(a, s.shape) for a, s in zip(drawn, specs, strict=True)]
        return keras.tree.pack_sequence_as(self.spec, shaped)

    def at(self, step: int) -> Any:
        """Returns the batch that the sampler draws for a step."""
        return keras.tree.map_structure(tf.convert_to_tensor, self.drawn(step))

    def drawn(self, step: int) -> Any:
        """Returns the same as NumPy arrays."""
        return keras.tree.pack_sequence_as(self.spec, self._flat(step))

    def _flat(self, step: Any) -> list[np.ndarray]:
        drawn, wanted = keras.tree.flatten(self._draw(step)), keras.tree.flatten(self.spec)
        got = [(a.shape, a.dtype) for a in drawn]
        if got != [(tuple(spec.shape), spec.dtype.as_numpy_dtype) for spec in wanted]:
            raise ValueError(
                f"The sampler given as `{self._name}` must return the same shapes and dtypes at "
                f"every step. Received: {wanted} at step 0, {got} at step {int(step)}."
            )
        return drawn

    def _draw(self, step: Any) -> Any:
        drawn = self.sampler(int(step), self.batch_size)
        tensors = arrays.as_tensors(drawn, f"{self._name}(step, batch)")
        if arrays.size(tensors) != self.batch_size:
            raise ValueError(
                f"The sampler given as `{self._name}` must return batch={self.batch_size} rows. "
                f"Received: {arrays.size(tensors)} rows."
            )
        return keras.tree.map_structure(keras.ops.convert_to_numpy, tensors)


class DatasetSource:
    """Batches of a `tf.data.Dataset`, which continues from one epoch to the next.

    Args:
        dataset: Dataset of batches of inputs.
        repeat: Whether it repeats after its end; otherwise its end is an error.
        name: The argument that it was given as.
    """

    runs_ahead = False  # All batches come from one iterator, in its order.

    def __init__(self, dataset: tf.data.Dataset, repeat: bool, name: str = "unlabelled") -> None:
        if next(iter(dataset.take(1)), None) is None:
            raise ValueError(
                f"The dataset given as `{name}` must have at least one batch. "
                + received(name, dataset)
            )
        self.spec = dataset.element_spec
        self._iterator = iter(dataset.repeat() if repeat else dataset.concatenate(_end(dataset)))
        self._peeked: dict[int, Any] = {}
        self._asked = 0
        self._lock = threading.Lock()

    def keys(self, first: int, steps: int) -> np.ndarray:
        """Returns the numbers of the steps, which `batch` ignores."""
        return np.arange(first, first + steps)

    def batch(self, key: Any) -> Any:
        """Returns the next batch."""
        return self._iterator.get_next()

    def at(self, step: int) -> Any:
        """Returns the next batch; for a step that Keras has peeked at, the same batch again."""
        with self._lock:
            if step in self._peeked:
                return self._peeked.pop(step)
            batch = self._iterator.get_next()
            if self._asked < MAX_PEEKED_BATCHES:
                self._peeked[step] = batch
            self._asked += 1
            return batch


def _end(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a dataset with elements of the same spec that raises at its first element."""
    message = (
        "The dataset given as `unlabelled` has ended, and `unlabelled_repeat=False`. Use "
        "`unlabelled_repeat=True`, or a dataset with as many batches as there are training steps."
    )

    @tf.autograph.experimental.do_not_convert
    def fail(*element: Any) -> Any:
        with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
            return tf.nest.map_structure(tf.identity, element if len(element) > 1 else element[0])

    return dataset.take(1).repeat().map(fail)
