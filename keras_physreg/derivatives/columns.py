"""Inputs of a network by name: columns of one tensor, or tensors of a dict.

Columns are taken apart and joined by products with one-hot rows. In a program that XLA compiles for
a batch of unknown size, TensorFlow cannot differentiate slices and concatenations twice.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg.derivatives.jet import Jet
from keras_physreg.derivatives.multi_index import with_lower


def basis(size: int, dtype: str) -> list[Any]:
    """Returns the rows of the identity matrix, each of shape `(1, size)`."""
    rows = np.eye(size, dtype="float64").reshape(size, 1, size)
    return [ops.convert_to_tensor(row, dtype=dtype) for row in rows]


def joined(parts: list[Any]) -> Any:
    """Returns tensors of shape `(rows, 1)` as the columns of one tensor."""
    if len(parts) == 1:
        return parts[0]
    rows = basis(len(parts), parts[0].dtype)
    return sum(part * row for part, row in zip(parts[1:], rows[1:], strict=True)) + (
        parts[0] * rows[0]
    )


def columns_of(inputs: Any, names: Sequence[str]) -> dict[str, Any]:
    """Returns the inputs by name, each of shape `(rows, 1)`.

    Args:
        inputs: Tensor `(rows, len(names))`, or a dict of tensors `(rows, 1)`.
        names: The names of the inputs.
    """
    if isinstance(inputs, dict):
        return {name: inputs[name] for name in names}
    one_hot = basis(len(names), inputs.dtype)
    return {
        name: ops.sum(inputs * row, axis=-1, keepdims=True)
        for name, row in zip(names, one_hot, strict=True)
    }


def with_columns(inputs: Any, columns: dict[str, Any], names: Sequence[str]) -> Any:
    """Returns the inputs with other columns, in the structure of the inputs."""
    if isinstance(inputs, dict):
        return {**inputs, **columns}
    return joined([columns[name] for name in names])


def jets_of(inputs: Any, names: Sequence[str], indices: Sequence[str]) -> Any:
    """Returns the inputs as jets, in their structure.

    Args:
        inputs: As in `columns_of`.
        names: The names of the inputs.
        indices: The multi-indices that are needed.
    """
    needed = frozenset(with_lower(indices))
    if isinstance(inputs, dict):
        return {key: _jet_of_entry(key, value, names, needed) for key, value in inputs.items()}
    one_hot = basis(len(names), inputs.dtype)
    slopes = {n: row for n, row in zip(names, one_hot, strict=True) if n in needed}
    return Jet({"": inputs, **slopes}, needed)


def _jet_of_entry(key: str, value: Any, names: Sequence[str], needed: frozenset[str]) -> Jet:
    slope = {key: ops.ones((1, 1), value.dtype)} if key in names and key in needed else {}
    return Jet({"": value, **slope}, needed)


def check_structure(inputs: Any, names: Sequence[str], layer: str) -> None:
    """Raises unless the inputs are a tensor with a column per name, or a dict with these keys.

    Args:
        inputs: Structure of tensors, symbolic ones too.
        names: The names of the inputs.
        layer: Name of the layer, for messages.
    """
    shapes = keras.tree.map_structure(lambda t: tuple(t.shape), inputs)
    got = f"Received: inputs of shape {shapes}"
    if isinstance(inputs, dict):
        missing = [name for name in names if name not in inputs]
        if missing:
            raise ValueError(
                f"Derivatives layer '{layer}': the dict of inputs has no {missing}, named in "
                f"`inputs`={list(names)}. Received: keys {list(inputs)}"
            )
        for name in names:
            if len(inputs[name].shape) != 2 or inputs[name].shape[-1] != 1:
                raise ValueError(
                    f"Derivatives layer '{layer}': the input '{name}' must have shape "
                    f"(batch, 1). {got}"
                )
        return
    if not hasattr(inputs, "shape"):
        raise ValueError(
            f"Derivatives layer '{layer}': call it with one tensor, or with a dict of tensors by "
            f"name, such as {{{', '.join(f'{n!r}: {n}' for n in names)}}}. {got}"
        )
    if len(inputs.shape) != 2 or inputs.shape[-1] != len(names):
        raise ValueError(
            f"Derivatives layer '{layer}': the tensor must have shape (batch, {len(names)}), a "
            f"column per name in `inputs`={list(names)}. Name all columns, or pass a dict of "
            f"tensors. {got}"
        )
