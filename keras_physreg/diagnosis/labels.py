"""The labels, in the structure of what a physics layer takes as the prediction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from keras_physreg.layers.evaluation import Evaluation

# Of physics layers, by their `id`: which column of which output each column of the prediction is.
Columns = dict[int, list[list[tuple[int, int]]]]
_columns: ContextVar[Columns] = ContextVar("columns_of_outputs")


@contextlib.contextmanager
def with_columns(columns: Columns) -> Iterator[None]:
    """Sets, for a block of code, which outputs the predictions of physics layers consist of."""
    token = _columns.set(columns)
    try:
        yield
    finally:
        _columns.reset(token)


def labels_as_prediction(evaluation: Evaluation, y: Any, y_pred: Any) -> Any:
    """Returns the labels in the shape of what the physics takes as prediction, or `None`."""
    wanted = keras.tree.flatten(evaluation.prediction)
    if y is not None:
        labels = _matching_labels(wanted, y, y_pred)
        columns = _columns.get({}).get(id(evaluation.layer))
        if columns is not None and any(label is None for label in labels or [None]):
            labels = _labels_by_column(wanted, columns, y, y_pred)
    else:
        labels = keras.tree.flatten(evaluation.targets)
    labels = [None] * len(wanted) if len(labels) != len(wanted) else labels
    labels = [_shaped_like(label, tensor) for label, tensor in zip(labels, wanted, strict=True)]
    if any(label is None for label in labels):
        return None
    return keras.tree.pack_sequence_as(evaluation.prediction, labels)


def why_no_labels(evaluation: Evaluation, y: Any, y_pred: Any) -> str:
    """Returns why no labels can stand in for the prediction, in words."""
    labels = evaluation.targets if y is None else y
    if labels is None:
        return "no labels were given"
    outputs = {id(output) for output in keras.tree.flatten(y_pred)}
    if y is not None and any(
        id(t) not in outputs for t in keras.tree.flatten(evaluation.prediction)
    ):
        return "its physics takes as prediction what is no output of the model"
    return (
        "the labels do not have the structure of the prediction that its physics takes "
        f"(got {_shapes(labels)}, needs {_shapes(evaluation.prediction)})"
    )


def _shapes(structure: Any) -> Any:
    return keras.tree.map_structure(lambda tensor: str(tuple(tensor.shape)), structure)


def _matching_labels(wanted: list[Any], y: Any, y_pred: Any) -> list[Any]:
    outputs, labels = keras.tree.flatten(y_pred), keras.tree.flatten(y)
    if len(outputs) != len(labels) or (len(labels) > 1 and not _same_keys(y, y_pred)):
        return []
    # The layer returns the prediction itself, so that the model's output is the same object.
    by_output = {id(output): label for output, label in zip(outputs, labels, strict=True)}
    return [by_output.get(id(tensor)) for tensor in wanted]


def _labels_by_column(
    wanted: list[Any], columns: list[list[tuple[int, int]]], y: Any, y_pred: Any
) -> list[Any]:
    outputs, labels = keras.tree.flatten(y_pred), keras.tree.flatten(y)
    if len(outputs) != len(labels) or (len(labels) > 1 and not _same_keys(y, y_pred)):
        return []
    shaped = [_shaped_like(label, out) for label, out in zip(labels, outputs, strict=True)]
    if any(label is None for label in shaped):
        return []
    flat = [ops.reshape(label, (ops.shape(label)[0], -1)) for label in shaped]
    found = []
    for tensor, places in zip(wanted, columns, strict=True):
        values = ops.stack([flat[output][:, column] for output, column in places], axis=-1)
        found.append(ops.squeeze(values, -1) if len(tensor.shape) == 1 else values)
    return found


def _same_keys(a: Any, b: Any) -> bool:
    if isinstance(a, dict) or isinstance(b, dict):
        return isinstance(a, dict) and isinstance(b, dict) and set(a) == set(b)
    return True


def _shaped_like(label: Any, tensor: Any) -> Any:
    if label is None:
        return None
    label = ops.convert_to_tensor(label)
    if len(label.shape) == len(tensor.shape) - 1 and tensor.shape[-1] == 1:
        label = ops.expand_dims(label, -1)
    if len(label.shape) == len(tensor.shape) + 1 and label.shape[-1] == 1:
        label = ops.squeeze(label, -1)
    pairs = zip(label.shape[1:], tensor.shape[1:], strict=False)
    fits = len(label.shape) == len(tensor.shape) and all(
        a == b or a is None or b is None for a, b in pairs
    )
    return ops.cast(label, tensor.dtype) if fits else None
