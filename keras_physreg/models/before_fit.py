"""What a model does with its data before it trains: scales of terms, rows that do not count."""

from typing import Any

import keras

from keras_physreg.models.auto_scale import check_no_points, resolve_scales
from keras_physreg.models.left_out_rows import check_left_out_rows


def before_fit(
    model: keras.Model, fit: dict[str, Any], unlabelled: Any, points: Any = None
) -> None:
    """Prepares the terms of a compiled model for its first training.

    Args:
        model: The model.
        fit: Arguments of `keras.Model.fit`.
        unlabelled: Inputs without labels, or `None`.
        points: Point sets by term, or `None`.
    """
    if not model.compiled:  # Keras raises for it.
        return
    check_no_points(model, points)
    resolve_scales(model, fit["x"], fit["y"], fit["verbose"])
    check_left_out_rows(model, fit["x"], fit["y"], fit["sample_weight"], unlabelled, points)
