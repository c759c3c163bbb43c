"""Builds a model with its physics by calls on few rows."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_physreg.layers.build_physics import is_built
from keras_physreg.layers.step import open_step
from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.joined_rows import join_points


def build_network(model: keras.Model, x: Any) -> None:
    """Builds a model by a call on one row, without its physics.

    Args:
        model: Any model.
        x: Tensors of its inputs.
    """
    if not model.built:
        with open_step(model, "skip"):
            model(arrays.gather(x, [0]), training=False)


def build_physics_on(
    model: keras.Model,
    x: Any,
    points: Mapping[str, Any],
    skipped: frozenset[str] = frozenset(),
) -> None:
    """Builds the physics of a model by a call on one row, and on the points of each term.

    Args:
        model: A model whose network is built.
        x: Tensors of its inputs, or `None`.
        points: Tensors of the points of terms, by term.
        skipped: Terms that are not computed.
    """
    if is_built(model):
        return
    more: dict[str, Any] = {"points": points, "skipped": skipped}
    if x is None:
        rows, more["joined"] = join_points(points, skipped)
    else:
        rows = arrays.gather(x, [0])
    with open_step(model, "labelled", **more):
        model(rows, training=False)
