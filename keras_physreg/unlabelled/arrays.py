"""Converts arrays in memory to tensors, as `keras.Model.fit` does."""

from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf


def as_tensors(arrays: Any, name: str, device: str | None = "CPU:0") -> Any:
    """Converts arrays to tensors: floating ones in Keras' float type, lists of arrays to tuples.

    Args:
        arrays: Array, or dict, list or tuple of arrays, of shape `(rows, ...)`; `None` is kept.
        name: Name of the argument, for messages.
        device: Device of the tensors; `tf.data` gathers rows on the CPU. `None`: TensorFlow's
            default.

    Raises:
        TypeError: If an element is not a dense array.
        ValueError: If the arrays differ in the number of rows, or have none.
    """

    def convert(array: Any) -> Any:
        return None if array is None else _as_tensor(array, name, device)

    tensors = keras.tree.map_structure(convert, keras.tree.lists_to_tuples(arrays))
    _check_rows(tensors, name)
    return tensors


def gather(tensors: Any, rows: Any) -> Any:
    """Returns some rows of tensors of shape `(rows, ...)`, by their numbers."""

    def take(tensor: Any) -> Any:
        return None if tensor is None else tf.gather(tensor, rows)

    return keras.tree.map_structure(take, tensors)


def specs(tensors: Any, rows: int) -> Any:
    """Returns the specs of some rows of tensors of shape `(rows, ...)`.

    Args:
        tensors: Tensors, in any structure.
        rows: Number of rows.
    """

    def one(tensor: Any) -> Any:
        return None if tensor is None else tf.TensorSpec((rows, *tensor.shape[1:]), tensor.dtype)

    return keras.tree.map_structure(one, tensors)


def size(tensors: Any) -> int:
    """Returns the number of rows."""
    return int(keras.tree.flatten(tensors)[0].shape[0])


def _as_tensor(array: Any, name: str, device: str | None) -> Any:
    if isinstance(array, tf.RaggedTensor | tf.SparseTensor):
        raise TypeError(
            f"`{name}` must be dense arrays. Convert it with `to_tensor()` (ragged) or "
            f"`tf.sparse.to_dense` (sparse). Received: a {type(array).__name__} of shape "
            f"{tuple(array.shape)}"
        )
    if hasattr(array, "to_frame"):  # A pandas Series is a column, as in `keras.Model.fit`.
        array = array.to_frame()
    if not tf.is_tensor(array):
        array = keras.ops.convert_to_numpy(array) if keras.ops.is_tensor(array) else array
        array = np.asarray(array)
    floating = np.issubdtype(getattr(array.dtype, "as_numpy_dtype", array.dtype), np.floating)
    if not tf.is_tensor(array) and array.dtype == np.dtype(object):
        raise TypeError(
            f"`{name}` must be an array of numbers, or a dict, list or tuple of such arrays. "
            f"Received: an array of shape {array.shape} and dtype {array.dtype}"
        )
    with tf.device(device):
        tensor = tf.convert_to_tensor(array)
        return tf.cast(tensor, keras.config.floatx()) if floating else tensor


def _check_rows(tensors: Any, name: str) -> None:
    shapes = [tuple(t.shape) for t in keras.tree.flatten(tensors) if t is not None]
    counts = {shape[0] for shape in shapes if shape}
    if () in shapes:
        raise ValueError(
            f"`{name}` must be arrays of shape (rows, ...). Keras takes Python lists of numbers "
            "for structures of scalars: use `numpy.array(...)`, with the same number of values in "
            f"every row. Received shapes: {shapes}."
        )
    if len(counts) != 1 or counts == {0}:
        raise ValueError(
            f"All arrays of `{name}` must have the same number of rows, at least 1. "
            f"Received shapes: {shapes}."
        )
