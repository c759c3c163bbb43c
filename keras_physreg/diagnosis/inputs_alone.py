"""Rows of inputs without labels: unlabelled rows, and the points of terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from keras_physreg.diagnosis.probe_rows import Rows, check_rows, choose_rows
from keras_physreg.unlabelled.point_sources import check_terms

SAMPLED_ROWS = 1024


def rows_of_points(
    owner: str, model: keras.Model, points: Mapping[str, Any] | None, max_samples: int | None
) -> dict[str, Rows]:
    """Returns the rows to look at of each point set, by term; raises if the model has no use.

    Args:
        owner: Who took the points, for messages.
        model: Any Keras model with physics layers.
        points: Arrays, dataset of inputs or sampler by term; `None`: no points.
        max_samples: Most rows to take of each set; `None` for all.
    """
    if points is None:
        return {}
    if not hasattr(model, "layers_with_shielded_inputs"):  # This room cannot import the class.
        raise TypeError(
            "`points` needs a `keras_physreg.PhysicsModel`. Received: a model of type "
            f"{type(model)}"
        )
    return {
        term: dataclasses.replace(
            inputs_alone(owner, model, points[term], max_samples, f"points[{term!r}]"),
            at_once=True,
        )
        for term in check_terms(model, points, "points")
    }


def inputs_alone(
    owner: str, model: keras.Model, inputs: Any, max_samples: int | None, name: str
) -> Rows:
    """Returns the rows to look at of inputs without labels.

    Args:
        owner: Who took the inputs, for messages.
        model: Any Keras model with physics layers.
        inputs: Arrays, a dataset of inputs, or a sampler, of which `SAMPLED_ROWS` are taken.
        max_samples: Most rows to take; `None` for all.
        name: What the user calls the inputs, for messages.
    """
    if callable(inputs) and not hasattr(inputs, "element_spec"):
        inputs = inputs(0, min(SAMPLED_ROWS, max_samples or SAMPLED_ROWS))
    rows = choose_rows(inputs, max_samples=max_samples, name=name)
    if rows.y is not None:
        raise ValueError(
            f"`{name}` takes inputs alone, and the dataset has labels, too: take its inputs by "
            f"`dataset.map(lambda x, y: x)`. Received: {name}={inputs}"
        )
    check_rows(f"{owner}: `{name}`", model, rows)
    return rows
