"""Checks before a `PhysicsModel` is saved, and before weights are loaded into it."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.errors import received
from keras_physreg.layers.physics_regularization import PhysicsRegularization, physics_layers
from keras_physreg.layers.stored_weights import (
    checked_weights,
    message_without_terms,
    stored_weight,
    weight_keys,
)

KERAS_2_SUFFIXES = (".h5", ".hdf5")
# The scalars of a file: by group, then by key.
Groups = dict[str, dict[str, np.ndarray]]


def check_savable(model: keras.Model, filepath: Any, zipped: bool | None) -> None:
    """Raises if Keras could not load the saved model, before a file is written.

    Args:
        model: The model.
        filepath: As in `keras.Model.save`.
        zipped: As in `keras.Model.save`.
    """
    if str(filepath).endswith(KERAS_2_SUFFIXES) and zipped is not False:
        raise ValueError(
            "Keras cannot load models with physics from its old HDF5 format. Save the model as "
            "`.keras`, or only its weights with `save_weights('....weights.h5')`. "
            + received("filepath", filepath)
        )
    for layer in physics_layers(model):
        layer.get_config()  # Raises if the physics could not be loaded.


def check_weights_file(
    model: keras.Model, filepath: Any, skip_mismatch: bool, objects_to_skip: Any = None
) -> None:
    """Raises if a file of weights does not match the terms, before any layer is loaded.

    `load_own_variables` would raise only after other layers are loaded, and `skip_mismatch` would
    turn the error into a warning.

    Args:
        model: The model to load into.
        filepath: File of weights, model file or shard index. A file that cannot be read is left to
            Keras.
        skip_mismatch: As in `keras.Model.load_weights`.
        objects_to_skip: Layers that are not loaded, as in `keras.Model.load_weights`.

    Raises:
        ValueError: If a term weight in the file is NaN, negative or infinite; or, unless
            `skip_mismatch`, if the file does not have the weights of these terms.
    """
    skipped = {id(layer) for layer in objects_to_skip or ()}
    layers = [layer for layer in physics_layers(model) if id(layer) not in skipped]
    is_path = isinstance(filepath, str | os.PathLike)
    groups = _scalars(Path(filepath)) if layers and is_path else None
    if groups is None:
        return
    for layer in layers:
        _check_values(layer, groups)
    if not skip_mismatch and not _is_keras_2_file(filepath):
        for layer in layers:
            _check_terms(layer, groups)


def _check_values(layer: PhysicsRegularization, groups: Groups) -> None:
    keys = weight_keys(layer.term_names)
    for stored in groups.values():
        if set(keys.values()) <= set(stored):
            for name, key in keys.items():
                stored_weight(name, stored[key])


def _check_terms(layer: PhysicsRegularization, groups: Groups) -> None:
    wanted = sorted(weight_keys(layer.term_names).values())
    weights = [g for g in groups.values() if g and all(key.endswith("_weight") for key in g)]
    if not weights:
        raise ValueError(message_without_terms(layer.name, layer.term_names))
    if not any(sorted(group) == wanted for group in weights):
        checked_weights(layer.name, layer.term_names, weights[0])


def _scalars(path: Path) -> Groups | None:
    """Returns the scalars of a file of weights by group, or `None` if it cannot be read."""
    import h5py  # Slow to import, so that Keras imports it on first use, too.

    groups: Groups = {}

    def collect(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape == () and item.dtype.kind == "f":
            group, _, key = path.rpartition("/")
            groups.setdefault(group, {})[key] = item[()]

    try:
        for source in _sources(path):
            with h5py.File(source, "r") as file:
                file.visititems(collect)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # Keras raises a better error.
    return groups


def _sources(path: Path) -> list[Any]:
    """Returns what `h5py` opens: a file, the files of all shards, or that in a `.keras` archive."""
    if path.suffix == ".json":
        shards = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
        names = {
            name for shard in shards for name in ([shard] if isinstance(shard, str) else shard)
        }
        return [path.with_name(name) for name in sorted(names)]
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return [io.BytesIO(archive.read("model.weights.h5"))]
    return [path]


def _is_keras_2_file(filepath: Any) -> bool:
    name = str(filepath)
    return name.endswith(KERAS_2_SUFFIXES) and not name.endswith(".weights.h5")
