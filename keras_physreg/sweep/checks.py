"""Checks of what `sanity_sweep` is given, before any time is spent."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_physreg.inspection import check_known, find_terms
from keras_physreg.terms import check_weight


def checked_terms(model: keras.Model, terms: Any) -> list[str]:
    """Returns the names of the terms to sweep, or raises if there are none or one is unknown."""
    known = list(find_terms(model))
    if not known:
        raise ValueError(
            f"Model '{model.name}' has no physics terms to sweep. Call a "
            "`keras_physreg.PhysicsRegularization` layer in it, or use `keras_physreg.regularize`."
        )
    for name in known if terms is None else terms:
        check_known(model, name, known)
    return known if terms is None else list(terms)


def checked_weights(weights: Any) -> list[float]:
    """Returns the weights as floats, or raises unless they are ascending numbers above 0."""
    values = [check_weight("weights", w) for w in np.asarray(weights, dtype=object).ravel()]
    if not values or values[0] <= 0 or sorted(set(values)) != values:
        raise ValueError(
            "`weights` must be ascending numbers above 0; the baseline 0 is always tried. "
            f"Received: weights={weights!r}"
        )
    return values


def checked_seeds(seeds: Any) -> list[int]:
    """Returns the seeds as a list, or raises unless they differ."""
    values = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not values or len(set(values)) < len(values):
        raise ValueError(
            "`seeds` must be a number of seeds, at least 1, or a list of different ones. "
            f"Received: seeds={seeds!r}"
        )
    return values


def check_arguments(validation_data: Any, others: str, score: str, monitor: str) -> None:
    """Raises if an argument of `sanity_sweep` has no meaning."""
    if monitor.removeprefix("val_") in ("loss", "physics_loss"):
        raise ValueError(
            f"The log {monitor!r} contains the weighted terms: it differs between weights whatever "
            "they do. Monitor `val_data_loss` of a `PhysicsModel`, or a compiled metric."
        )
    if validation_data is None:
        raise ValueError(
            "`sanity_sweep` needs `validation_data=(x, y)`: on training rows a term that merely "
            "keeps the model from memorising them would seem to hurt."
        )
    if others not in ("zero", "best"):
        raise ValueError(f"`others` must be 'zero' or 'best'. Received: others={others!r}")
    if score not in ("best", "last"):
        raise ValueError(f"`score` must be 'best' or 'last'. Received: score={score!r}")
