"""The total loss of one batch, exactly as a training step computes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_physreg.layers.step import open_step
from keras_physreg.models.physics_losses import check_counted
from keras_physreg.models.run_step import own_methods
from keras_physreg.unlabelled.checks import check_label_free_terms, check_model_called
from keras_physreg.unlabelled.joined_rows import join_points


@dataclass(frozen=True)
class Rows:
    """The rows of a batch.

    Args:
        x: Inputs of the labelled rows; `None` if there are points alone.
        y: Labels, or `None`.
        sample_weight: Weights of the labelled rows, or `None`.
        unlabelled: Inputs of the unlabelled rows, or `None`.
        points: Inputs of point sets by term, in the model's order.
    """

    x: Any = None
    y: Any = None
    sample_weight: Any = None
    unlabelled: Any = None
    points: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TotalLoss:
    """The total loss of a batch, and its parts.

    Args:
        total: Data loss, weighted term losses, and the losses of regularizers and layers.
        parts: By the names under which `fit` logs them, the data loss and the unweighted term
            losses.
    """

    total: Any
    parts: dict[str, Any]


def total_loss(model: keras.Model, rows: Rows, unlabelled_share: float | None = None) -> TotalLoss:
    """Calls a `PhysicsModel` in training mode, and returns what a training step would minimise.

    The logged means of the model are updated: call it in a `keras.StatelessScope` to keep them.

    Args:
        model: A compiled `PhysicsModel` without a `train_step` of its own.
        rows: The batch.
        unlabelled_share: As in `PhysicsModel.fit`.
    """
    x, more = rows.x, {"unlabelled": rows.unlabelled, "points": rows.points}
    if x is None:
        x, more["joined"] = join_points(rows.points)
    with open_step(model, "labelled", unlabelled_share=unlabelled_share, **more) as step:
        y_pred = model(x, training=True)
        total = model.compute_loss(x, rows.y, y_pred, rows.sample_weight, training=True)
    if rows.unlabelled is not None:
        check_model_called(model, step.call.kinds)
        check_label_free_terms(model, tuple(rows.points))
    if rows.points:
        check_model_called(model, step.call.points, "points")
    check_counted(step, own_methods(model))
    data = {} if step.data_loss is None else {"data_loss": step.data_loss}
    return TotalLoss(total, data | {f"{name}_loss": loss for name, loss in step.losses.items()})
