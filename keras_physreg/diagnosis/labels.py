"""The labels, in the structure of what a physics layer takes as the prediction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from keras_physreg.layers.evaluation import Evaluation
from keras_physreg.layers.label_as_prediction import entries_of, label_like

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
        labels = entries_of(wanted, y, y_pred)
        columns = _columns.get({}).get(id(evaluation.layer))
        if columns is not None and any(label is None for label in labels):
            labels = _labels_by_column(wanted, columns, y, y_pred)
    else:
        labels = keras.tree.flatten(evaluation.targets)
    labels = [None] * len(wanted) if len(labels) != len(wanted) else labels
    labels = [label_like(label, tensor) for label, tensor in zip(labels, wanted, strict=True)]
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


def _labels_by_column(
    wanted: list[Any], columns: list[list[tuple[int, int]]], y: Any, y_pred: Any
) -> list[Any]:
    outputs = keras.tree.flatten(y_pred)
    labels = entries_of(outputs, y, y_pred)
    shaped = [label_like(label, out) for label, out in zip(labels, outputs, strict=True)]
    if any(label is None for label in shaped):
        return []
    flat = [ops.reshape(label, (ops.shape(label)[0], -1)) for label in shaped]
    found = []
    for tensor, places in zip(wanted, columns, strict=True):
        values = ops.stack([flat[output][:, column] for output, column in places], axis=-1)
        found.append(ops.squeeze(values, -1) if len(tensor.shape) == 1 else values)
    return found
