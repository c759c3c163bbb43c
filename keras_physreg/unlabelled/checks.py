"""Checks of the `unlabelled` arguments of `fit`, before training."""

from collections.abc import Collection
from typing import Any

import keras

from keras_physreg._utils.errors import received, whole_number
from keras_physreg.layers.physics_regularization import physics_layers


def check_label_free_terms(model: keras.Model, with_points: Collection[str] = ()) -> None:
    """Raises unless a model has a term that needs no label and has no points of its own."""
    layers = physics_layers(model)
    terms = [term for layer in layers for term in layer.terms if term.name not in with_points]
    if not terms and with_points:
        raise ValueError(
            f"`unlabelled` has no effect: all physics terms of model '{model.name}' have `points`. "
            "Leave `unlabelled` out."
        )
    if not terms and not model.built:
        return  # Its first call may create physics layers.
    if not terms:
        raise ValueError(
            f"`unlabelled` has no effect: model '{model.name}' has no physics terms. Call a "
            "`keras_physreg.PhysicsRegularization` layer in it, or leave `unlabelled` out."
        )
    if all(term.needs_label for term in terms):
        references = {t.name: t.reference if t.at == "prediction" else "at labels" for t in terms}
        raise ValueError(
            f"`unlabelled` has no effect: all physics terms of model '{model.name}' need the "
            f"label. Received: references {references}. Add a term that needs no label, such as "
            "`reference='input'` or a residual, or leave `unlabelled` out."
        )


def check_no_options(of: str = "unlabelled", **options: Any) -> None:
    """Raises if options of an argument, by default of `unlabelled`, are given without it."""
    given = {name: value for name, value in options.items() if value is not None}
    if given:
        raise ValueError(
            f"These arguments need `{of}`: leave them out, or give `{of}`. Received: {given}"
        )


def check_batch_size(batch_size: Any) -> None:
    """Raises unless the number of unlabelled rows per step is `None` or an integer >= 1."""
    whole_number("unlabelled_batch_size", batch_size, optional=True)


def check_share(share: Any) -> None:
    """Raises unless the share of the unlabelled rows is `None` or in (0, 1]."""
    number = isinstance(share, (int, float)) and not isinstance(share, bool)
    if share is not None and not (number and 0 < share <= 1):
        raise ValueError(
            "`unlabelled_share` must be None (all rows count alike), or a number above 0 and up "
            f"to 1. {received('unlabelled_share', share)}"
        )


def check_model_called(model: keras.Model, rows: Any, argument: str = "unlabelled") -> None:
    """Raises if a `train_step` did not call the model on the unlabelled rows, or on points."""
    if rows is None:
        raise ValueError(
            f"`{argument}` had no effect: the `train_step` of {type(model).__name__} "
            f"'{model.name}' did not call the model. Call `y_pred = self(x, training=True)` there, "
            "or leave `unlabelled` out."
        )
