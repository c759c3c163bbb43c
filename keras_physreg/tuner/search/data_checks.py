"""Checks of the data of a search, before the first trial is trained."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_physreg.replicas.preparation import as_batches


def check_data(model: keras.Model, fit: dict[str, Any]) -> None:
    """Raises for data on which no trial can be trained.

    Args:
        model: The model of some trial.
        fit: Arguments of `ReplicaTrainer.fit`.

    Raises:
        TypeError: If an array holds text or rows of different lengths.
        ValueError: If data are not arrays, or have a wrong number of rows or columns.
    """
    takes_text = any(is_text(tensor) for tensor in _tensors(model, "inputs"))
    for name in ("y", "sample_weight", *([] if takes_text else ["x", "unlabelled"])):
        check_numbers(name, fit[name])
    if fit["x"] is not None:  # Else `ReplicaTrainer` checks the points.
        labelled = fit["x"], fit["y"], fit["sample_weight"]
        as_batches("x, y, sample_weight", labelled, fit["batch_size"])
        _check_inputs(model, "x", fit["x"])
    validation = fit["validation_data"]
    if validation is None:
        return
    as_batches("validation_data", validation, fit["validation_batch_size"])
    check_numbers("validation_data", validation[1:] if takes_text else validation)
    _check_inputs(model, "validation_data", validation[0])
    if len(validation) > 1:
        _check_labels(model, fit["y"], validation[1])


def check_numbers(name: str, arrays: Any) -> None:
    """Raises if an array, or a structure of arrays, holds text or rows of different lengths."""
    for leaf in keras.tree.flatten(arrays):
        if hasattr(leaf, "row_splits"):
            raise TypeError(
                f"`{name}` must have rows of one length: pad it with `{name}.to_tensor()`. "
                f"Received: a ragged tensor of shape {leaf.shape}"
            )
        if is_text(leaf):
            raise TypeError(
                f"`{name}` must hold numbers. Received: text, {_kind(leaf)}. If it holds digits, "
                f"convert it: `{name}.astype('float32')`."
            )


def is_text(array: Any) -> bool:
    """Returns whether an array or tensor holds strings."""
    if isinstance(array, str | bytes):
        return True
    dtype = getattr(array, "dtype", None)
    if not isinstance(dtype, np.dtype):
        return "string" in str(dtype)
    if dtype.kind == "O" and np.size(array):
        return isinstance(np.asarray(array).flat[0], str | bytes)
    return dtype.kind in "US"


def _kind(text: Any) -> str:
    return f"an array of dtype {text.dtype}" if hasattr(text, "dtype") else repr(text)


def _tensors(model: keras.Model, part: str) -> list[Any]:
    """Returns the symbolic inputs or outputs of a model; none if it is not functional."""
    try:
        return list(getattr(model, part, None) or [])
    except (AttributeError, ValueError):
        return []


def _check_inputs(model: keras.Model, name: str, inputs: Any) -> None:
    known, given = _tensors(model, "inputs"), keras.tree.flatten(inputs)
    if len(known) != 1 or len(given) != 1:
        return
    shape, wanted = tuple(given[0].shape[1:]), tuple(known[0].shape[1:])
    if len(shape) == len(wanted):
        fits = all(w in (None, s) for s, w in zip(shape, wanted, strict=True))
    else:  # As Keras does, which adds or drops a last axis of 1.
        longer, shorter = sorted([shape, wanted], key=len, reverse=True)
        fits = len(longer) == len(shorter) + 1 and longer[-1] == 1
    if not fits:
        raise ValueError(
            f"`{name}`: model '{model.name}' takes inputs of shape {('rows', *wanted)}. Received: "
            f"inputs of shape {tuple(given[0].shape)}"
        )


def _check_labels(model: keras.Model, labels: Any, held_out: Any) -> None:
    known = _tensors(model, "outputs")
    leaves = [keras.tree.flatten(part) for part in (labels, held_out)]
    if len(known) != 1 or any(len(part) != 1 or part[0] is None for part in leaves):
        return
    shapes = [tuple(part[0].shape) for part in leaves]
    of_sequences = len(shapes[0]) != len(known[0].shape) or known[0].shape[-1] is None
    if len(shapes[0]) != len(shapes[1]) or (shapes[0][-1] != shapes[1][-1] and not of_sequences):
        raise ValueError(
            "The labels in `validation_data` must have as many columns as `y`, of shape "
            f"{shapes[0]}. Received: labels of shape {shapes[1]}"
        )
