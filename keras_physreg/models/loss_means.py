"""Logged means of the data loss, the physics loss and their total."""

from typing import Any

import keras
from keras import ops

from keras_physreg.layers.metrics import NamedMeans
from keras_physreg.layers.step import Step
from keras_physreg.models.distribution import replica_count
from keras_physreg.models.physics_losses import Counted, sum_weighted

# No term has a name with spaces, so this name cannot collide with a log.
TOTAL = "total of compute_loss"


class LossMeans(NamedMeans):
    """Means of the data loss, of the physics loss, and of the total that `compute_loss` returns.

    A value that is never known is not logged, such as the data loss of a user's own `compute_loss`.
    """

    def __init__(self) -> None:
        super().__init__(["data_loss", "physics_loss", TOTAL], "losses")
        self._known: frozenset[str] = frozenset()

    def log(self, counted: Counted, rows: Any, known: dict[str, Any]) -> None:
        """Adds one batch.

        Args:
            counted: The terms of the batch.
            rows: Number of rows of the batch.
            known: Other losses by name, divided by the number of replicas as Keras does.
        """
        physics = {"physics_loss": sum_weighted(counted.new)}
        known = {name: loss * replica_count() for name, loss in known.items()}
        self._known |= {*physics, *known}
        if not counted.again:
            self.update_state({**physics, **known}, rows)
            return
        self.update_state(physics, rows, again=True)
        if known:
            self.update_state(known, rows)

    def complete(
        self, logs: dict[str, Any], model: keras.Model, step: Step | None = None
    ) -> dict[str, Any]:
        """Returns the logs of a model without unknown values, and with the total as `loss`.

        Args:
            logs: The logs of Keras.
            model: The model.
            step: The present step, or `None`.
        """
        hidden = {TOTAL, *self.names} - (self._known - {TOTAL})
        if model.loss is None or (step is not None and step.joined is not None):
            hidden.add("data_loss")
        if step is not None:
            hidden |= {f"{name}_loss" for name in step.skipped}
        kept = {name: value for name, value in logs.items() if name not in hidden}
        if TOTAL in self._known and {"loss", TOTAL} <= set(logs):
            # A user's own `train_step` may not update the `loss` metric of Keras.
            metric = next(metric for metric in model.metrics if metric.name == "loss")
            kept["loss"] = ops.where(metric.count > 0, logs["loss"], logs[TOTAL])
        return kept
