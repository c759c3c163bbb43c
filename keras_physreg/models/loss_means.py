"""The losses of a model as its logs have them: the data loss, the physics loss and their total."""

from typing import Any

import keras
from keras import ops

from keras_physreg.layers.metrics import NamedMeans
from keras_physreg.models.distribution import replica_count
from keras_physreg.models.physics_losses import Counted, sum_weighted

# No term can have a name with spaces, so that no log has this one.
TOTAL = "total of compute_loss"


class LossMeans(NamedMeans):
    """Means of the data loss, of the physics loss, and of the total that `compute_loss` returns.

    What is never known is not logged: the data loss of a `compute_loss` that the user wrote.
    """

    def __init__(self) -> None:
        super().__init__(["data_loss", "physics_loss", TOTAL], "losses")
        self._known: frozenset[str] = frozenset()

    def log(self, counted: Counted, rows: Any, known: dict[str, Any]) -> None:
        """Adds what the terms add to the total, and other losses, scaled as Keras scales them."""
        physics = {"physics_loss": sum_weighted(counted.new)}
        known = {name: loss * replica_count() for name, loss in known.items()}
        self._known |= {*physics, *known}
        if not counted.again:
            self.update_state({**physics, **known}, rows)
            return
        self.update_state(physics, rows, again=True)
        if known:
            self.update_state(known, rows)

    def complete(self, logs: dict[str, Any], model: keras.Model) -> dict[str, Any]:
        """Returns the logs of a model without what is unknown, and with its total."""
        hidden = {TOTAL, *self.names} - (self._known - {TOTAL})
        if model.loss is None:
            hidden.add("data_loss")
        kept = {name: value for name, value in logs.items() if name not in hidden}
        if TOTAL in self._known and {"loss", TOTAL} <= set(logs):
            # A `train_step` of the user's own need not update the metric of Keras.
            metric = next(metric for metric in model.metrics if metric.name == "loss")
            kept["loss"] = ops.where(metric.count > 0, logs["loss"], logs[TOTAL])
        return kept
