"""Saves and loads the weights of a trial's model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_physreg.tuner.search.atomic_files import read_json, replacing, write_json

CHECKPOINT = "checkpoint.weights.h5"
INPUTS = "inputs.json"


def save(model: keras.Model, x: Any, folder: Path) -> None:
    """Writes the weights of a model, and the shapes and dtypes of its inputs.

    Args:
        model: The model.
        x: Inputs that it was trained with.
        folder: The trial's folder.
    """
    write_json(folder / INPUTS, keras.tree.map_structure(_described, x))
    with replacing(folder / CHECKPOINT) as new:
        model.save_weights(new)


def load(model: keras.Model, folder: Path) -> None:
    """Reads the weights into a model; a model that is not built is called once."""
    if not model.built:
        model(_zeros(read_json(folder / INPUTS)))
    if model.optimizer is not None:
        model.optimizer.build(model.trainable_variables)  # The checkpoint has its variables.
    model.load_weights(folder / CHECKPOINT)


def _described(array: Any) -> dict[str, Any]:
    dtype = np.asarray(array[:1]).dtype
    floating = dtype.kind == "f"
    return {
        "shape": list(array.shape[1:]),
        "dtype": keras.config.floatx() if floating else str(dtype),
    }


def _zeros(described: Any) -> Any:
    if isinstance(described, list):
        return [_zeros(part) for part in described]
    if set(described) == {"shape", "dtype"}:
        return np.zeros((1, *described["shape"]), described["dtype"])
    return {name: _zeros(part) for name, part in described.items()}
