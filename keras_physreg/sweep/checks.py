"""Checks of the arguments of `sanity_sweep`, made before any training."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.errors import is_whole, received
from keras_physreg._utils.owners import stateful_layers
from keras_physreg.inspection import check_known, find_terms
from keras_physreg.replicas import preparation
from keras_physreg.replicas.first_points import FirstPoints
from keras_physreg.sweep.splits import Splits, checked_splits
from keras_physreg.terms.term import check_weight

DEFAULT_FOLDS = 5

# How the names of Keras metrics end for which larger is better; equal names get a number.
LARGER_IS_BETTER = re.compile(
    r"(.*_)?(acc|accuracy|auc|precision|recall|f1_score|fbeta_score|r2_score|iou|io_u|specificity|"
    r"sensitivity|true_positives|true_negatives|cosine_similarity|pearson_correlation|"
    r"concordance_correlation)(_\d+)?"
)


def built_model(model: Any) -> tuple[keras.Model, Callable[[], keras.Model] | None]:
    """Returns a model, and the function that builds it; `None` if the model itself is given."""
    if isinstance(model, keras.Model) or not callable(model):
        preparation.check_model(model)
        return model, None
    _check_takes_nothing(model)
    built = model()
    if not isinstance(built, keras.Model):
        raise TypeError(
            "`model` is a function, which must return a compiled Keras model. Received: a function "
            f"that returned {built!r} (of type {type(built)})"
        )
    preparation.check_model(built)
    return built, model


def _check_takes_nothing(build: Callable) -> None:
    """Raises if a function needs arguments."""
    try:
        # A wrapper may give the function that it wraps its arguments.
        signature = inspect.signature(build, follow_wrapped=False)
    except (TypeError, ValueError):  # Some built-in functions have none.
        return
    try:
        signature.bind()
    except TypeError as error:
        raise TypeError(
            "`model` is a function, which must build a compiled Keras model without arguments: "
            f"wrap it, as in `lambda: build(hp)`. {received('model', build)}"
        ) from error


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
    names = [] if isinstance(terms, (str, Mapping)) or not np.iterable(terms) else list(terms)
    if not names or len(set(names)) < len(names):
        raise ValueError(
            "`terms` must be None, or a list of different term names with at least one of them. "
            f"The model has {known}. {received('terms', terms)}"
        )
    for name in names:
        check_known(model, name, known)
    return names


def checked_weights(weights: Any) -> list[float]:
    """Returns the weights as floats, or raises unless they are ascending numbers above 0."""
    error = ValueError(
        "`weights` must be ascending numbers above 0, the same for all terms. Leave out 0: it is "
        f"always trained, as the baseline. {received('weights', weights)}"
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
    values = list(range(seeds)) if not np.ndim(seeds) and is_whole(seeds) else seeds
    if (
        np.ndim(values) != 1
        or not len(values)
        or not all(is_whole(seed) and seed >= 0 for seed in values)
        or len(set(values)) < len(values)
    ):
        raise ValueError(
            "`seeds` must be a number of seeds, at least 1, or a list of different whole numbers "
            f">= 0. {received('seeds', seeds)}"
        )
    return [int(seed) for seed in values]


def checked_cv(
    validation_data: Any, cv: Any, repeats: Any, groups: Any, x: Any, y: Any, seed: int
) -> Splits | None:
    """Returns the splits of the labelled rows; `None` if there are none, or validation data."""
    if x is None:
        return None
    if validation_data is None:
        return checked_splits(DEFAULT_FOLDS if cv is None else cv, repeats, groups, x, y, seed)
    for name, value in {"cv": cv, "repeats": repeats, "groups": groups}.items():
        if value is not None:
            raise ValueError(
                f"`{name}` is for splitting the rows of `x` and `y`, in place of "
                f"`validation_data`: give one or the other. {received(name, value)}"
            )
    return None


def prepare(
    model: keras.Model,
    training_data: Any,
    validation_data: Any,
    verbose: str | int,
    points: FirstPoints,
) -> tuple[int, int | None]:
    """Builds the model, or raises unless it is compiled and the data are in memory.

    Args:
        model: The model.
        training_data: Tuple `(x, y, sample_weight)`, with points as `x` if there are no rows.
        validation_data: Held-out data, or `None`.
        verbose: Whether to say what automatic scales are; 0 for silence.
        points: The points of a first step.

    Returns:
        The number of training rows, and that of rows of validation data, or `None`.
    """
    preparation.check_model(model)
    _check_stateless(model)
    training = preparation.as_batches("x, y, sample_weight", training_data, None)
    held_out = None
    if validation_data is not None:
        held_out = preparation.as_batches("validation_data", validation_data, None).size
    preparation.build(model, training, verbose, points)
    return training.size, held_out


def _check_stateless(model: keras.Model) -> None:
    """Raises if a layer carries state from one batch to the next."""
    for layer in stateful_layers(model):
        raise ValueError(
            f"Layer '{layer.name}' of model '{model.name}' is stateful: it carries its state from "
            "one batch to the next, so that its output for a row depends on the rows before. A "
            "sweep shuffles and splits the rows. Build the model with `stateful=False`; or train "
            "in the order of the rows, one replica after the other, by "
            "`ReplicaTrainer.fit(..., shuffle=False)`."
        )


def check_choices(score: Any, keep: Any) -> None:
    """Raises unless these arguments have one of their values."""
    if score not in ("best", "last"):
        raise ValueError(f"`score` must be 'best' or 'last'. {received('score', score)}")
    if keep not in (None, "recommended"):
        raise ValueError(f"`keep` must be None or 'recommended'. {received('keep', keep)}")


def check_numbers(extend_to: Any, min_effect: Any, confidence: Any) -> None:
    """Raises unless these are numbers in their ranges."""
    if not _is_number(extend_to) or not extend_to >= 0:
        raise ValueError(
            "`extend_to` must be a number >= 0, where 0 means no extension. "
            f"{received('extend_to', extend_to)}"
        )
    if not _is_number(min_effect) or not 0 < min_effect < np.inf:
        raise ValueError(
            "`min_effect` must be a number above 0, such as 0.01 for 1 %. "
            f"{received('min_effect', min_effect)}"
        )
    if not _is_number(confidence) or not 0 < confidence < 1:
        raise ValueError(
            "`confidence` must be a number between 0 and 1, such as 0.95. "
            f"{received('confidence', confidence)}"
        )


def check_monitor(model: keras.Model, monitor: Any) -> None:
    """Raises unless `monitor` is a log on held-out rows that is smaller for a better model.

    Args:
        model: A built model.
        monitor: Key of the log.
    """
    name = str(monitor).removeprefix("val_")
    if name in ("loss", "physics_loss"):
        raise ValueError(
            f"The log {monitor!r} contains the weighted terms: it changes with a weight even where "
            "the predictions do not. Monitor `val_data_loss` of a `PhysicsModel`, or a compiled "
            "metric."
        )
    if not str(monitor).startswith("val_"):
        raise ValueError(
            "`monitor` must be a log on held-out rows, such as `val_data_loss` or `val_mae`: on "
            "training rows, a term that keeps the model from memorising them would seem to hurt. "
            f"{received('monitor', monitor)}"
        )
    preparation.choose_monitor(monitor, preparation.log_names(model, validation=True))
    if any(LARGER_IS_BETTER.fullmatch(known) for known in (name, _class_of_metric(model, name))):
        raise ValueError(
            f"For the log {monitor!r} more is better, but a sweep needs a log for which less is "
            "better. Monitor `val_data_loss` of a `PhysicsModel`, or a compiled metric such as "
            "`val_mae`."
        )


def _class_of_metric(model: keras.Model, name: str) -> str:
    """Returns the class of a compiled metric in snake case, as in logs: `r2_score`."""
    metrics = [m for group in model.metrics for m in getattr(group, "metrics", [group])]
    class_name = next((type(m).__name__ for m in metrics if name.endswith(m.name)), "")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
