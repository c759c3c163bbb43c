"""ReplicaStep: the train and test step of one replica, as pure functions of its state."""

from __future__ import annotations

import contextlib
import inspect
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.layers.step import open_step
from keras_physreg.models.physics_model import PhysicsModel
from keras_physreg.models.run_step import rows_of_step
from keras_physreg.replicas.faster.layers import faster_layers
from keras_physreg.replicas.optimizers import own_gradients


@dataclass(frozen=True)
class Variables:
    """The variables of a model, grouped by how a step updates them.

    Args:
        trainable: The variables that the optimizer updates.
        state: The variables that the step itself may update: term weights, moving averages, seeds.
        metrics: The variables of the metrics, which are reset in every epoch.
    """

    trainable: list[keras.Variable]
    state: list[keras.Variable]
    metrics: list[keras.Variable]

    @classmethod
    def of(cls, model: keras.Model) -> Variables:
        """Returns the variables of a built model."""
        trainable = list(model.trainable_variables)
        metrics = list(model.metrics_variables)
        known = {id(variable) for variable in [*trainable, *metrics]}
        if model.optimizer is not None:
            known |= {id(variable) for variable in model.optimizer.variables}
        state = {id(v): v for v in model.variables if id(v) not in known}
        return cls(trainable, list(state.values()), metrics)

    @property
    def weights(self) -> list[keras.Variable]:
        """All variables except the metrics': these make up a replica."""
        return [*self.trainable, *self.state]


@dataclass(frozen=True)
class Updates:
    """The result of a step: gradients and new values, by the position of the variable."""

    gradients: dict[int, tf.Tensor]
    state: dict[int, tf.Tensor]
    metrics: dict[int, tf.Tensor]


class ReplicaStep:
    """The train and test step of `keras.Model`, on given values instead of its variables.

    Args:
        model: A built and compiled model.
        unlabelled_share: As in `PhysicsModel.fit`.
        unscored: Logs that the validation lacks.
        unshielded: As in `Step`: for graphs that are read and never run.
        only_random: As in `faster_layers`.
    """

    def __init__(
        self,
        model: keras.Model,
        unlabelled_share: float | None = None,
        unscored: frozenset[str] = frozenset(),
        unshielded: bool = False,
        only_random: bool = False,
    ) -> None:
        self.model, self.unlabelled_share, self.unscored = model, unlabelled_share, unscored
        self.unshielded, self.only_random = unshielded, only_random
        self.variables = Variables.of(model)
        self._takes_training = "training" in inspect.signature(model.call).parameters
        self._loss_metric = next(m for m in model.metrics if m.name == "loss")

    def with_kernels_of_fit(self) -> ReplicaStep:
        """Returns the same step, for programs whose layers have the kernels of TensorFlow."""
        return ReplicaStep(
            self.model, self.unlabelled_share, self.unscored, self.unshielded, only_random=True
        )

    def train(self, values: list[Any], state: list[Any], metrics: list[Any], batch: Any) -> Updates:
        """Computes gradients and updates of one batch."""
        with self._scope(values, state, metrics) as scope:
            with tf.GradientTape() as tape:
                tape.watch(values)
                loss = self.model.optimizer.scale_loss(self._run(batch, training=True))
            gradients = tape.gradient(loss, values)
        gradients = own_gradients(self.model.optimizer, gradients)
        dense = {i: tf.convert_to_tensor(g) for i, g in enumerate(gradients) if g is not None}
        return Updates(
            dense,
            _changed(scope, self.variables.state, state),
            _changed(scope, self.variables.metrics, metrics),
        )

    def test(self, values: list[Any], state: list[Any], metrics: list[Any], batch: Any) -> Updates:
        """Computes the metrics' updates of one batch of validation data."""
        with self._scope(values, state, metrics) as scope:
            self._run(batch, training=False)
        return Updates(
            {},
            _changed(scope, self.variables.state, state),
            _changed(scope, self.variables.metrics, metrics),
        )

    def logs(self, metrics: list[Any]) -> dict[str, tf.Tensor]:
        """Returns the logs of `fit`, from the values of the metrics' variables."""
        mapping = list(zip(self.variables.metrics, metrics, strict=True))
        with keras.StatelessScope(mapping, initialize_variables=False):
            logs = self.model.get_metrics_result()
        return {key: tf.convert_to_tensor(value) for key, value in logs.items()}

    def _scope(self, values: list[Any], state: list[Any], metrics: list[Any]) -> Any:
        variables = [*self.variables.weights, *self.variables.metrics]
        mapping = list(zip(variables, [*values, *state, *metrics], strict=True))
        return keras.StatelessScope(mapping, collect_losses=True, initialize_variables=False)

    def _run(self, batch: Any, training: bool) -> Any:
        rows: dict[str, Any] = {}
        if isinstance(self.model, PhysicsModel):
            batch, rows = rows_of_step(self.model, batch, training)
        x, y, sample_weight = batch
        arguments = {"training": training} if self._takes_training else {}
        more = {"unlabelled_share": self.unlabelled_share, "unshielded": self.unshielded, **rows}
        with labelled(self.model, **more), faster_layers(self.model, self.only_random):
            y_pred = self.model(x, **arguments)
            loss = self.model.compute_loss(x, y, y_pred, sample_weight, training=training)
            size = keras.ops.shape(keras.tree.flatten(x)[0])[0]
            self._loss_metric.update_state(loss, sample_weight=size)
            self.model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
        return loss


def labelled(model: keras.Model, **more: Any) -> AbstractContextManager:
    """Opens a step in which a `PhysicsModel` compares terms with the labels.

    Args:
        model: Any model.
        **more: Further fields of `Step`.
    """
    if isinstance(model, PhysicsModel):
        return open_step(model, "labelled", **more)
    return contextlib.nullcontext()


def _changed(scope: Any, variables: list[keras.Variable], values: list[Any]) -> dict[int, Any]:
    current = [scope.get_current_value(variable) for variable in variables]
    return {
        i: tf.cast(new, old.dtype)
        for i, (new, old) in enumerate(zip(current, values, strict=True))
        if new is not old
    }
