"""ScaledLoss: a Keras loss of labels and predictions in units of a scale."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_physreg._utils import serialization
from keras_physreg.terms.loss_argument import check_loss
from keras_physreg.terms.scale import divided, numbers_of_scale

OWNER = "`ScaledLoss`"


@keras.saving.register_keras_serializable(package="keras_physreg")
class ScaledLoss(keras.losses.Loss):
    """The loss of labels and predictions that are divided by a scale.

    Use it in `compile` where the model predicts in physical units: `ScaledLoss("mse",
    x.std(axis=0))` is the mean squared error in standard deviations. The data loss, and with it
    every term weight, then does not depend on the unit, and each output counts alike. It is the
    counterpart of `PhysicsTerm(scale=...)`.

    Args:
        loss: A Keras loss: its name, a `keras.losses.Loss`, or a function `(y_true, y_pred)`.
            Reduction, sample weights and masks work as in this loss.
        scale: What a deviation of 1 means, in the unit of the label: a number above 0, or one per
            component on the last axis.
        name: Name of the loss; that of `loss` by default.

    Raises:
        TypeError: If `loss` is no loss, or `scale` does not hold numbers.
        ValueError: If `loss` is not known to Keras, or a number is not above 0 and within float32.
            At the first call, if the scale has another length than the last axis, or the shapes of
            label and prediction differ.

    Example:
    >>> import keras, numpy as np, keras_physreg as kp
    >>> x = np.array([[1000.0, 0.1], [3000.0, 0.3]])  # W and kg/s
    >>> loss = kp.ScaledLoss("mse", scale=x.std(axis=0))
    >>> round(float(loss(x, x + [1000.0, 0.0])), 6)
    0.5
    """

    def __init__(
        self, loss: str | keras.losses.Loss | Callable, scale: Any, name: str | None = None
    ) -> None:
        check_loss(loss, f"of {OWNER}")
        self.scale = numbers_of_scale(OWNER, scale)
        self.loss = loss
        self._found = found = keras.losses.get(loss)
        of_class = isinstance(found, keras.losses.Loss)
        if of_class and type(found).__call__ is not keras.losses.Loss.__call__:
            raise TypeError(
                f"`loss` of {OWNER} must not have its own `__call__`, as it divides what `call` "
                f"gets. Override `call` in `{type(found).__name__}` instead."
            )
        known = serialization.display_name(found)
        super().__init__(
            name=name or (known if known.isidentifier() else None),
            reduction=found.reduction if of_class else "sum_over_batch_size",
            dtype=found.dtype if of_class else None,
        )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the losses before they are reduced, of shape `(batch, ...)`."""
        y_true, y_pred = _same_rank(y_true, y_pred)
        y_pred = divided(OWNER, self.scale, y_pred, "prediction")
        y_true = divided(OWNER, self.scale, y_true, "label")
        if isinstance(self._found, keras.losses.Loss):
            return self._found.call(y_true, y_pred)
        return self._found(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration; raises `ValueError` if the loss could not be loaded."""
        scale = list(self.scale) if isinstance(self.scale, tuple) else self.scale
        loss = serialization.serialize(self.loss, f"the loss of {OWNER}")
        return {"loss": loss, "scale": scale, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ScaledLoss":
        """Rebuilds the loss from its configuration."""
        loss = config["loss"]
        if isinstance(loss, dict):
            loss = keras.losses.deserialize(loss)
        return cls(**{**config, "loss": loss})


def _same_rank(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Returns both with as many axes, as Keras aligns them; raises if their shapes differ."""
    label, prediction = len(y_true.shape), len(y_pred.shape)
    if label + 1 == prediction and y_pred.shape[-1] == 1:
        if label == 1:
            y_true = ops.expand_dims(y_true, -1)
        else:
            y_pred = ops.squeeze(y_pred, -1)
    elif prediction + 1 == label and y_true.shape[-1] == 1:
        if prediction == 1:
            y_pred = ops.expand_dims(y_pred, -1)
        else:
            y_true = ops.squeeze(y_true, -1)
    shapes = tuple(y_true.shape), tuple(y_pred.shape)
    pairs = zip(*shapes, strict=False)
    if len(shapes[0]) != len(shapes[1]) or any(a != b and None not in (a, b) for a, b in pairs):
        raise ValueError(
            f"{OWNER} divides label and prediction by the same scale, so their shapes must be the "
            f"same. Received: a label of shape {shapes[0]} and a prediction of shape {shapes[1]}"
        )
    return y_true, y_pred
