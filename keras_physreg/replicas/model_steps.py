"""ModelSteps: some steps of a model's own `train_step`, with which replicas are compared."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras.ops import convert_to_numpy

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.variables import assign, values_of
from keras_physreg.models.physics_model import PhysicsModel
from keras_physreg.replicas.faster.layers import faster_layers
from keras_physreg.replicas.optimizers import batch_count, without_reduction
from keras_physreg.replicas.replica_step import ReplicaStep
from keras_physreg.unlabelled.input_rows import without_nones

LOG_PREFIX = "log "  # of the names of logs


class ModelSteps:
    """Runs the same steps of `model.train_step` from any start.

    Args:
        step: The step of one replica, with the model, whose variables change.
        batches: The batches `(x, y, sample_weight)`, one per step.
    """

    def __init__(self, step: ReplicaStep, batches: list[Any]) -> None:
        self._model = step.model
        self._batches = [without_nones(batch) for batch in batches]
        run = step.model.train_step
        self._run = tf.function(lambda data: without_reduction(lambda: run(data)), autograph=False)
        self._weights, self._optimizer = step.variables.weights, step.model.optimizer.variables
        self.variables = [*self._weights, *self._optimizer, *step.variables.metrics]
        self.names = [f"{variable.path} ({i})" for i, variable in enumerate(self.variables)]

    def take(
        self, weights: list[np.ndarray], optimizer: list[np.ndarray], batches_before: int
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Runs the steps.

        Args:
            weights: Values of the model's weights and state at the start.
            optimizer: Values of the optimizer's variables at the start.
            batches_before: Number of batches that the optimizer counts as seen before.

        Returns:
            The values of all `variables` before the steps, by name; and those after, with the logs.
        """
        assign(self._weights, weights)
        assign(self._optimizer, optimizer)
        batch_count(self._model.optimizer).assign(batches_before)
        self._model.reset_metrics()
        before = self.named(values_of(self.variables), {})
        logs: Any = {}
        with faster_layers(self._model, only_random=True):  # To draw the same numbers.
            for batch in self._batches:
                logs = self._run(batch)
        return before, self.named(values_of(self.variables), logs)

    def named(self, values: list[np.ndarray], logs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Returns the values of the `variables`, and the logs, by name."""
        found = dict(zip(self.names, values, strict=True))
        return found | {
            f"{LOG_PREFIX}'{key}'": convert_to_numpy(value) for key, value in logs.items()
        }


@contextlib.contextmanager
def unlabelled_share(step: ReplicaStep) -> Iterator[None]:
    """Sets the share of unlabelled rows in a model's own steps to that of its replicas."""
    model = step.model
    if not isinstance(model, PhysicsModel):
        yield
        return
    kept = model.unlabelled_share
    model.set_unlabelled_share(step.unlabelled_share)
    try:
        yield
    finally:
        model.set_unlabelled_share(kept)
