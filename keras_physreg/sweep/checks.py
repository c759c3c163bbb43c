"""Checks of what `sanity_sweep` is given, before any time is spent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_physreg.inspection import check_known, find_terms
from keras_physreg.sweep.replicas import preparation
from keras_physreg.terms import check_weight

# The names of Keras metrics of which more is better end so, and with a number if there are several.
LARGER_IS_BETTER = re.compile(
    r"(.*_)?(acc|accuracy|auc|precision|recall|f1_score|fbeta_score|r2_score|iou|io_u|specificity|"
    r"sensitivity|true_positives|true_negatives|cosine_similarity|pearson_correlation|"
    r"concordance_correlation)(_\d+)?"
)


def checked_terms(model: keras.Model, terms: Any) -> list[str]:
    """Returns the names of the terms to sweep, or raises if there are none or one is unknown."""
    known = list(find_terms(model))
    if not known:
        raise ValueError(
            f"Model '{model.name}' has no physics terms to sweep. Call a "
            "`keras_physreg.PhysicsRegularization` layer in it, or use `keras_physreg.regularize`."
        )
    if terms is None:
        return known
    if isinstance(terms, (str, Mapping)) or not list(terms) or len(set(terms)) < len(list(terms)):
        raise ValueError(
            f"`terms` must be None or a list of different term names, at least one; there are "
            f"{known}. Received: terms={terms!r}"
        )
    for name in terms:
        check_known(model, name, known)
    return list(terms)


def checked_weights(weights: Any) -> list[float]:
    """Returns the weights as floats, or raises unless they are ascending numbers above 0."""
    error = ValueError(
        "`weights` must be ascending numbers above 0, for all terms the same; the baseline 0 is "
        f"always tried. Received: weights={weights!r}"
    )
    if isinstance(weights, (str, Mapping)) or np.ndim(weights) != 1:
        raise error
    try:
        values = [check_weight("weights", weight) for weight in weights]
    except (TypeError, ValueError):
        raise error from None
    if not values or values[0] <= 0 or sorted(set(values)) != values:
        raise error
    return values


def checked_seeds(seeds: Any) -> list[int]:
    """Returns the seeds as a list, or raises unless they differ."""
    values = list(range(seeds)) if _is_whole(seeds) else seeds
    if (
        np.ndim(values) != 1
        or not len(values)
        or not all(_is_whole(seed) and seed >= 0 for seed in values)
        or len(set(values)) < len(values)
    ):
        raise ValueError(
            "`seeds` must be a number of seeds, at least 1, or a list of different whole numbers "
            f">= 0. Received: seeds={seeds!r}"
        )
    return [int(seed) for seed in values]


def prepare(model: keras.Model, training_data: Any, validation_data: Any) -> None:
    """Builds the model, or raises unless it is compiled and the data are in memory."""
    preparation.check_model(model)
    training = preparation.as_batches("x, y, sample_weight", training_data, None)
    preparation.as_batches("validation_data", validation_data, None)
    preparation.build(model, training)


def check_arguments(
    validation_data: Any,
    others: str,
    score: str,
    monitor: str,
    min_effect: float,
    confidence: float,
) -> None:
    """Raises if an argument of `sanity_sweep` has no meaning."""
    if monitor.removeprefix("val_") in ("loss", "physics_loss"):
        raise ValueError(
            f"The log {monitor!r} contains the weighted terms: it differs between weights whatever "
            "they do. Monitor `val_data_loss` of a `PhysicsModel`, or a compiled metric."
        )
    if LARGER_IS_BETTER.fullmatch(monitor):
        raise ValueError(
            f"Of the log {monitor!r} more is better, and a sweep compares what is to be small. "
            "Monitor `val_data_loss` of a `PhysicsModel`, or a compiled metric such as `val_mae`."
        )
    _check_between("min_effect", min_effect, np.inf)
    _check_between("confidence", confidence, 1.0)
    if validation_data is None:
        raise ValueError(
            "`sanity_sweep` needs `validation_data=(x, y)`: on training rows a term that merely "
            "keeps the model from memorising them would seem to hurt."
        )
    if others not in ("zero", "best"):
        raise ValueError(f"`others` must be 'zero' or 'best'. Received: others={others!r}")
    if score not in ("best", "last"):
        raise ValueError(f"`score` must be 'best' or 'last'. Received: score={score!r}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _check_between(name: str, value: Any, upper: float) -> None:
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not 0 < value < upper:
        limits = f"between 0 and {upper:g}" if np.isfinite(upper) else "above 0"
        raise ValueError(f"`{name}` must be a number {limits}. Received: {name}={value!r}")
