"""What is looked at before a `PhysicsModel` is saved, or weights are loaded into it."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_physreg.layers.physics_regularization import PhysicsRegularization, physics_layers
from keras_physreg.layers.stored_weights import (
    checked_weights,
    message_without_terms,
    stored_weight,
    weight_keys,
)

OF_KERAS_2 = (".h5", ".hdf5")
# Scalars by key, by the group of the file that holds them.
Groups = dict[str, dict[str, np.ndarray]]


def check_savable(model: keras.Model, filepath: Any, zipped: bool | None) -> None:
    """Raises where Keras could not load the saved model again, before a file is touched.

    Args:
        model: The model.
        filepath: Where it is to be saved.
        zipped: As in `keras.Model.save`.
    """
    if str(filepath).endswith(OF_KERAS_2) and zipped is not False:
        raise ValueError(
            "Keras cannot load models with physics from its old HDF5 format again: save the model "
            "as `.keras`, or its weights alone by `save_weights('....weights.h5')`. "
            f"Received: filepath='{filepath}'"
        )
    for layer in physics_layers(model):
        layer.get_config()  # Raises where the physics could not be loaded again.


def check_weights_file(
    model: keras.Model, filepath: Any, skip_mismatch: bool, objects_to_skip: Any = None
) -> None:
    """Raises where a file of weights does not fit the terms, before any layer is loaded.

    In `load_own_variables` an error would come once other layers are loaded, and `skip_mismatch`
    would make a warning of it.

    Args:
        model: The model to load into.
        filepath: File of weights, of a model or of shards; what cannot be read is left to Keras.
        skip_mismatch: As in `keras.Model.load_weights`.
        objects_to_skip: Layers that are not loaded, as in `keras.Model.load_weights`.

    Raises:
        ValueError: If a term weight in it is NaN, negative or infinite; or, unless
            `skip_mismatch`, if it has no weights of these terms.
    """
    skipped = {id(layer) for layer in objects_to_skip or ()}
    layers = [layer for layer in physics_layers(model) if id(layer) not in skipped]
    is_path = isinstance(filepath, str | os.PathLike)
    groups = _scalars(Path(filepath)) if layers and is_path else None
    if groups is None:
        return
    for layer in layers:
        _check_values(layer, groups)
    if not skip_mismatch and not _is_of_keras_2(filepath):
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
    """Returns the scalars of a file of weights by group, or `None` where it cannot be read."""
    import h5py  # It takes long to load, as Keras knows.

    groups: Groups = {}

    def note(place: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape == () and item.dtype.kind == "f":
            group, _, key = place.rpartition("/")
            groups.setdefault(group, {})[key] = item[()]

    try:
        for source in _sources(path):
            with h5py.File(source, "r") as file:
                file.visititems(note)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # Keras says it better.
    return groups


def _sources(path: Path) -> list[Any]:
    """Returns what `h5py` opens: a file, those of the shards, or the one in a `.keras` archive."""
    if path.suffix == ".json":
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
        names = {
            name for place in places for name in ([place] if isinstance(place, str) else place)
        }
        return [path.with_name(name) for name in sorted(names)]
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return [io.BytesIO(archive.read("model.weights.h5"))]
    return [path]


def _is_of_keras_2(filepath: Any) -> bool:
    name = str(filepath)
    return name.endswith(OF_KERAS_2) and not name.endswith(".weights.h5")
