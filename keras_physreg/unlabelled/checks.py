"""Checks of what `fit` is given about unlabelled rows, before any time is spent."""

from typing import Any

import keras

from keras_physreg._utils.errors import received, whole_number
from keras_physreg.layers.physics_regularization import physics_layers
from keras_physreg.terms.references import root


def check_usable(model: keras.Model) -> None:
    """Raises unless a model has a term that rows without labels can serve."""
    layers = physics_layers(model)
    references = {term.name: term.reference for layer in layers for term in layer.terms}
    if not references and not model.built:
        return  # Its layers may come with its first call.
    if not references:
        raise ValueError(
            f"Model '{model.name}' has no physics terms: `unlabelled` can do nothing. Call a "
            "`keras_physreg.PhysicsRegularization` layer in it, or leave `unlabelled` out."
        )
    if all(root(reference) == "target" for reference in references.values()):
        raise ValueError(
            f"`unlabelled` can do nothing for model '{model.name}': each of its physics terms "
            f"compares with the label. Received: references {references}. Add a term that needs "
            "no label, such as `reference='input'` or a residual, or leave `unlabelled` out."
        )


def check_no_options(**options: Any) -> None:
    """Raises where options of `unlabelled` are given without it."""
    given = {name: value for name, value in options.items() if value is not None}
    if given:
        raise ValueError(f"Without `unlabelled` these mean nothing. Received: {given}")


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


def check_used(model: keras.Model, rows: Any) -> None:
    """Raises where a `train_step` went past the unlabelled rows."""
    if rows is None:
        raise ValueError(
            f"The `train_step` of {type(model).__name__} '{model.name}' did not call the model "
            "itself, `y_pred = self(x, training=True)`, so that the rows given as `unlabelled` "
            "met no physics. Call the model there, or leave `unlabelled` out."
        )
